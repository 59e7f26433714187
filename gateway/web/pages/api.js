/** The gateway's HTTP API. The browser adds the session cookie. */

import { WHO, listPath, queryOf, take } from "./begun.js";
import { plain } from "./format.js";
import { t } from "./language.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {import("./photo.js").StageState} StageState
 * @typedef {{clientId: string, name: string | null, role: "client" | "operator" | "auditor", scopes: string[], provider: string | null}} Login
 * @typedef {{name: string, url: string}} Provider at which people can sign in
 * @typedef {{token: string} | {ticket: string}} Credential
 * @typedef {import("./begun.js").Query} Query
 * @typedef {{code?: string, title?: string, detail?: string, advice?: string}} ProblemDocument
 */

/** What went wrong and what to do about it, in plain words. */
export class Problem extends Error {
  /**
   * @param {number} status 0 without a response
   * @param {string} code stable, for use in code
   * @param {string} message a sentence
   * @param {string} advice what to do next; may be empty
   * @param {number} [waitMs] how long the server asks to wait before a retry; 0 if it does not
   */
  constructor(status, code, message, advice, waitMs = 0) {
    super(plain(message));
    this.status = status;
    this.code = code;
    this.advice = plain(advice);
    this.waitMs = waitMs;
  }

  /** Whether a rate limit rejected the request: it had no effect and can be sent again later. */
  get isLimited() {
    return this.status === 429 && this.waitMs > 0;
  }

  /** The message and the advice, for display. */
  get words() {
    return [this.message, this.advice].filter(Boolean).join(" ");
  }

  get signedOut() {
    return this.status === 401;
  }

  /** Whether a retry may succeed. */
  get mayPass() {
    const passing = [408, 429].includes(this.status) || this.status >= 500;
    return this.signedOut || this.status < 400 || passing;
  }
}

/** @param {unknown} error anything thrown by this module */
export function wordsOf(error) {
  return error instanceof Problem ? error.words : String(error);
}

/** @param {unknown} error */
export function isSignedOut(error) {
  return error instanceof Problem && error.signedOut;
}

/** @type {() => void} */
let signedOut = () => {};

/** @param {() => void} handler called whenever a response says that nobody is signed in */
export function onSignedOut(handler) {
  signedOut = handler;
}

/** Counts the sessions of this page: late answers to requests of an earlier one end no other. */
let sessions = 0;

/** @returns {number} the session of the requests that are sent now */
export function currentSession() {
  return sessions;
}

/** Somebody has signed in: requests from here on are theirs. */
export function beginSession() {
  sessions += 1;
}

/** @param {number} of the session that a request was sent in, whose answer is a 401 */
function unauthorized(of) {
  if (of === sessions) signedOut();
}

/** @type {(provider: Provider | null) => void} */
let offered = () => {};

/** @param {(provider: Provider | null) => void} handler called with each response to `whoAmI` */
export function onProvider(handler) {
  offered = handler;
}

export function unreachable() {
  const { message, advice } = t.problems.unreachable;
  return new Problem(0, "unreachable", message, advice);
}

/**
 * @param {number} status
 * @param {string} body a problem document, if it comes from the gateway
 * @param {string | null} retryAfter the header Retry-After, in seconds
 * @param {number} sentIn the session of the request
 */
export function problemFrom(status, body, retryAfter, sentIn) {
  if (status === 401) unauthorized(sentIn);
  try {
    /** @type {ProblemDocument} */
    const { code, title, detail, advice } = JSON.parse(body);
    const waitMs = 1_000 * (Number(retryAfter) || 0);
    const own = t.serverProblems[String(code)];
    const message = own?.message ?? detail ?? title;
    return new Problem(status, String(code), String(message), String(own?.advice ?? advice ?? ""), waitMs);
  } catch {
    const { message, advice } = t.problems.unexpected;
    return new Problem(status, "unexpected", message(status), advice);
  }
}

/** How often a rate limit may reject a request, and how long a wait may be, before an error shows. */
const LIMITED = { tries: 8, longestMs: 30_000 };

/**
 * Send a request; if a rate limit rejects it, wait as long as asked and retry.
 * @template T
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} [headers]
 * @param {object} [body] sent as JSON
 * @returns {Promise<T>} the JSON response, or null if it is empty
 * @throws {Problem}
 */
export async function request(method, path, headers = {}, body = undefined) {
  for (let refusals = 1; ; refusals += 1) {
    try {
      return await requestOnce(method, path, headers, body);
    } catch (error) {
      if (!(error instanceof Problem) || !error.isLimited) throw error;
      if (refusals > LIMITED.tries || error.waitMs > LIMITED.longestMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, error.waitMs));
    }
  }
}

/**
 * @template T
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} headers
 * @param {object} [body]
 * @returns {Promise<T>} as `request`
 * @throws {Problem}
 */
async function requestOnce(method, path, headers, body) {
  /** @type {Response} */
  let response;
  /** @type {string} */
  let text;
  const sent = body && JSON.stringify(body);
  const begun = method === "GET" ? take(path) : undefined;
  const sentIn = sessions;
  try {
    response = await (begun ?? fetch(path, {
      method,
      headers: { Accept: "application/json", ...(sent && { "Content-Type": "application/json" }), ...headers },
      body: sent,
    }));
    text = await response.text();
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw problemFrom(response.status, text, response.headers.get("Retry-After"), sentIn);
  return /** @type {T} */ (text === "" ? null : JSON.parse(text));
}

/**
 * @template T
 * @param {string} path
 * @returns {Promise<T>} the JSON response
 * @throws {Problem}
 */
export function ask(path) {
  return request("GET", path);
}

/**
 * Send an operator's command.
 * @template T
 * @param {"POST" | "PUT"} method
 * @param {string} path
 * @param {object} [body] sent as JSON
 * @returns {Promise<T>} the JSON response
 * @throws {Problem}
 */
export function change(method, path, body) {
  return request(method, path, {}, body);
}

const photoPath = (/** @type {string} */ photoId) => `/api/photos/${encodeURIComponent(photoId)}`;

/**
 * @param {Credential} credential
 * @returns {Promise<Login>}
 */
export function login(credential) {
  return offer("/api/login", credential);
}

/**
 * @param {Credential} credential stays valid
 * @returns {Promise<Login & {current: Login | null}>} whom it would sign in, and who is signed in now
 */
export function previewLogin(credential) {
  return offer("/api/login/preview", credential);
}

/**
 * @template T
 * @param {string} path
 * @param {Credential} credential
 * @returns {Promise<T>}
 */
function offer(path, credential) {
  if ("ticket" in credential) return request("POST", path, {}, credential);
  return request("POST", path, { Authorization: `Bearer ${credential.token}` });
}

/**
 * Ask without a 401 if nobody is signed in: a browser would log a failed request as an error.
 * @returns {Promise<Login>} who is signed in
 * @throws {Problem} 401 without a session
 */
export async function whoAmI() {
  const sentIn = sessions;
  /** @type {{current: Login | null, provider: Provider | null}} */
  const { current, provider } = await request("GET", WHO);
  offered(provider);
  if (current !== null) return current;
  unauthorized(sentIn);
  const { message, advice } = t.problems.notSignedIn;
  throw new Problem(401, "missing-token", message, advice);
}

/** The address that signs out at the provider; visit it after `logout`. */
export const SIGN_OUT = "/api/login/oidc/sign-out";

/** @returns {Promise<null>} */
export function logout() {
  return request("DELETE", "/api/login");
}

/**
 * @param {Query} query
 * @returns {Promise<{items: Photo[], nextCursor: string | null}>} newest first
 */
export function list(query) {
  return request("GET", listPath(query));
}

/**
 * Count the photos of each day by date taken.
 * @param {string} clientId
 * @param {string | null} after a position that the response must include
 * @returns {Promise<{bucket: string, photos: number}[]>} the latest day first
 */
export async function timeline(clientId, after) {
  /** @type {{bucket: string, photos: number}[]} */
  const buckets = [];
  /** @type {string | null} */
  let cursor = null;
  do {
    const query = queryOf({ by: "day", clientId, cursor, after });
    /** @type {{items: {bucket: string, photos: number}[], nextCursor: string | null}} */
    const { items, nextCursor } = await request("GET", `/api/photos/timeline?${query}`);
    buckets.push(...items);
    cursor = nextCursor;
  } while (cursor !== null);
  return buckets;
}

/**
 * @param {string} photoId
 * @param {string | null} [after] a position that the response must include
 * @returns {Promise<Photo>}
 */
export function photo(photoId, after = null) {
  const query = after === null ? "" : `?${new URLSearchParams({ after })}`;
  return request("GET", photoPath(photoId) + query);
}

/**
 * @param {string} photoId
 * @returns {Promise<PhotoEvent[]>} all of them, oldest first
 */
export async function history(photoId) {
  /** @type {PhotoEvent[]} */
  const events = [];
  let query = "";
  for (;;) {
    /** @type {{items: PhotoEvent[], nextCursor: string | null}} */
    const { items, nextCursor } = await request("GET", `${photoPath(photoId)}/history${query}`);
    events.push(...items);
    if (nextCursor === null) return events;
    query = `?${new URLSearchParams({ cursor: nextCursor })}`;
  }
}

/**
 * @param {string} jobId
 * @returns {Promise<{stages: {stage: string, status: StageState}[]}>}
 */
export function job(jobId) {
  return request("GET", `/api/jobs/${encodeURIComponent(jobId)}`);
}

/**
 * @param {string} photoId
 * @returns {Promise<null>}
 */
export function remove(photoId) {
  return request("DELETE", photoPath(photoId));
}

/**
 * @param {string} photoId
 * @returns {Promise<{jobId: string}>}
 */
export function reprocess(photoId) {
  return request("POST", `${photoPath(photoId)}/reprocess`);
}

/**
 * @param {string} photoId
 * @param {boolean} [isDownload]
 */
export function originalUrl(photoId, isDownload = true) {
  return `${photoPath(photoId)}/original${isDownload ? "?download=true" : ""}`;
}
