/** The gateway's HTTP API. The session's cookie goes along by itself. */

import { plain } from "./format.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {import("./photo.js").StageState} StageState
 * @typedef {{clientId: string, role: "client" | "operator" | "auditor", scopes: string[]}} Login
 * @typedef {{token: string} | {ticket: string}} Credential
 * @typedef {{photoId: string, duplicate: boolean}} Uploaded
 */

/** What went wrong and what to do about it, in words for a person. */
export class Problem extends Error {
  /**
   * @param {number} status 0 when no answer came
   * @param {string} code stable, for code to decide by
   * @param {string} message a sentence
   * @param {string} advice what to do next; may be empty
   * @param {number} [waitMs] how long the server asks to wait before the next try; 0 if it does not
   */
  constructor(status, code, message, advice, waitMs = 0) {
    super(plain(message));
    this.status = status;
    this.code = code;
    this.advice = plain(advice);
    this.waitMs = waitMs;
  }

  /** Whether a rate limit refused it: it is as good as never sent, and may be sent later. */
  get isLimited() {
    return this.status === 429 && this.waitMs > 0;
  }

  /** The whole of it, for showing. */
  get words() {
    return [this.message, this.advice].filter(Boolean).join(" ");
  }

  get signedOut() {
    return this.status === 401;
  }

  /** Whether the same again may succeed. */
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

/** @param {() => void} handler told whenever an answer says that we are not signed in */
export function onSignedOut(handler) {
  signedOut = handler;
}

function unreachable() {
  return new Problem(
    0,
    "unreachable",
    "Photolog does not answer.",
    "Check that it runs and that you are connected, then try again.",
  );
}

/**
 * @param {number} status
 * @param {string} body a problem document, if the gateway wrote it
 * @param {string | null} retryAfter the header Retry-After, in seconds
 */
function problemFrom(status, body, retryAfter) {
  if (status === 401) signedOut();
  try {
    const { code, title, detail, advice } = JSON.parse(body);
    const waitMs = 1_000 * (Number(retryAfter) || 0);
    return new Problem(status, String(code), String(detail ?? title), String(advice ?? ""), waitMs);
  } catch {
    return new Problem(status, "unexpected", `The server answered ${status}.`, "Try again.");
  }
}

/** A rate limit may refuse so often in a row, and ask to wait so long, before a person is told. */
const LIMITED = { tries: 8, longestMs: 30_000 };

/**
 * Wait as a rate limit asks, and go on.
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} [headers]
 * @param {object} [body] sent as JSON
 * @returns {Promise<any>} the JSON answer, or null when it has none
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
 * @param {string} method
 * @param {string} path
 * @param {Record<string, string>} headers
 * @param {object} [body]
 * @returns {Promise<any>} as `request`
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
  return text === "" ? null : JSON.parse(text);
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
 * @param {Credential} credential it is not used up
 * @returns {Promise<Login & {current: Login | null}>} whom it would sign in, and who is now
 */
export function previewLogin(credential) {
  return offer("/api/login/preview", credential);
}

/**
 * @param {string} path
 * @param {Credential} credential
 */
function offer(path, credential) {
  if ("ticket" in credential) return request("POST", path, {}, credential);
  return request("POST", path, { Authorization: `Bearer ${credential.token}` });
}

/**
 * An answer that nobody is signed in is no failed request: a browser would log that as an error.
 * @returns {Promise<Login>} whom the session is for
 * @throws {Problem} 401 without a session
 */
export async function whoAmI() {
  const { current } = await request("GET", "/api/login/current");
  if (current !== null) return current;
  signedOut();
  throw new Problem(401, "missing-token", "Nobody is signed in.", "Sign in.");
}

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
 * @param {string | null} [after] the position that the answer has to include
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

/** @param {string} photoId */
export function remove(photoId) {
  return request("DELETE", photoPath(photoId));
}

/** @param {string} photoId */
export function reprocess(photoId) {
  return request("POST", `${photoPath(photoId)}/reprocess`);
}

/** @param {string} photoId */
export function originalUrl(photoId) {
  return `${photoPath(photoId)}/original?download=true`;
}

/**
 * Send one file. `key` makes a second attempt of the same upload harmless.
 * @param {File} file
 * @param {string} key
 * @param {(fraction: number) => void} onProgress
 * @returns {{done: Promise<Uploaded>, abort: () => void}}
 */
export function upload(file, key, onProgress) {
  const form = new FormData();
  form.append("file", file, file.name);
  // fetch tells nothing of the bytes already sent.
  const sending = new XMLHttpRequest();
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
    sending.onabort = () => reject(new Problem(0, "aborted", "The upload was stopped.", ""));
  });
  sending.open("POST", "/api/photos/upload");
  sending.setRequestHeader("Idempotency-Key", key);
  sending.setRequestHeader("Accept", "application/json");
  sending.send(form);
  return { done, abort: () => sending.abort() };
}
