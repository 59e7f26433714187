/** The gateway's HTTP API. The browser adds the session cookie. */

import { plain } from "./format.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {import("./photo.js").StageState} StageState
 * @typedef {{clientId: string, role: "client" | "operator" | "auditor", scopes: string[]}} Login
 * @typedef {{token: string} | {ticket: string}} Credential
 * @typedef {{photoId: string, duplicate: boolean}} Uploaded
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

function unreachable() {
  return new Problem(
    0,
    "unreachable",
    "Photolog does not respond.",
    "Check that it is running and that you are online, then try again.",
  );
}

/**
 * @param {number} status
 * @param {string} body a problem document, if it comes from the gateway
 * @param {string | null} retryAfter the header Retry-After, in seconds
 */
function problemFrom(status, body, retryAfter) {
  if (status === 401) signedOut();
  try {
    /** @type {ProblemDocument} */
    const { code, title, detail, advice } = JSON.parse(body);
    const waitMs = 1_000 * (Number(retryAfter) || 0);
    return new Problem(status, String(code), String(detail ?? title), String(advice ?? ""), waitMs);
  } catch {
    return new Problem(status, "unexpected", `The server returned an error (${status}).`, "Try again.");
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
async function request(method, path, headers = {}, body = undefined) {
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
  try {
    response = await fetch(path, {
      method,
      headers: { Accept: "application/json", ...(sent && { "Content-Type": "application/json" }), ...headers },
      body: sent,
    });
    text = await response.text();
  } catch {
    throw unreachable();
  }
  if (!response.ok) throw problemFrom(response.status, text, response.headers.get("Retry-After"));
  return /** @type {T} */ (text === "" ? null : JSON.parse(text));
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
  /** @type {{current: Login | null}} */
  const { current } = await request("GET", "/api/login/current");
  if (current !== null) return current;
  signedOut();
  throw new Problem(401, "missing-token", "You are not signed in.", "Sign in.");
}

/** @returns {Promise<null>} */
export function logout() {
  return request("DELETE", "/api/login");
}

/**
 * @param {string} clientId
 * @param {string | null} cursor
 * @param {number} limit
 * @returns {Promise<{items: Photo[], nextCursor: string | null}>} newest first
 */
export function list(clientId, cursor, limit) {
  const query = new URLSearchParams({ clientId, limit: String(limit) });
  if (cursor !== null) query.set("cursor", cursor);
  return request("GET", `/api/photos?${query}`);
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

/** @param {string} photoId */
export function originalUrl(photoId) {
  return `${photoPath(photoId)}/original?download=true`;
}

/** The years 1 to 9999, in milliseconds since 1970. */
const FIRST_MODIFIED = -62_135_596_800_000;
const LAST_MODIFIED = 253_402_300_799_999;

/**
 * Upload one file. With the same `key`, a repeated attempt has no further effect.
 * @param {File} file
 * @param {string} key
 * @param {(fraction: number) => void} onProgress
 * @returns {{done: Promise<Uploaded>, abort: () => void}}
 */
export function upload(file, key, onProgress) {
  const form = new FormData();
  const { lastModified } = file;
  if (FIRST_MODIFIED <= lastModified && lastModified <= LAST_MODIFIED) {
    form.append("lastModified", String(lastModified));
  }
  form.append("file", file, file.name);
  // fetch does not report upload progress.
  const sending = new XMLHttpRequest();
  /** @type {Promise<Uploaded>} */
  const done = new Promise((resolve, reject) => {
    sending.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    sending.onload = () => {
      if (sending.status >= 200 && sending.status < 300) resolve(JSON.parse(sending.responseText));
      else {
        const retryAfter = sending.getResponseHeader("Retry-After");
        reject(problemFrom(sending.status, sending.responseText, retryAfter));
      }
    };
    sending.onerror = () => reject(unreachable());
    sending.onabort = () => reject(new Problem(0, "aborted", "The upload was cancelled.", ""));
  });
  sending.open("POST", "/api/photos/upload");
  sending.setRequestHeader("Idempotency-Key", key);
  sending.setRequestHeader("Accept", "application/json");
  sending.send(form);
  return { done, abort: () => sending.abort() };
}
