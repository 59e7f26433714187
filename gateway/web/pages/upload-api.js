/** Uploads over HTTP, and their sessions. */

import { currentSession, Problem, problemFrom, request, unreachable } from "./api.js";
import { queryOf } from "./begun.js";
import { t } from "./language.js";

/**
 * @typedef {{photoId: string, duplicate: boolean, position: string | null}} Uploaded
 * @typedef {import("./upload-session.js").Totals} Totals
 */

const sessionPath = (/** @type {string} */ sessionId) => `/api/sessions/${encodeURIComponent(sessionId)}`;

/**
 * @param {string} sessionId
 * @param {string | null} after a position that the response must include
 * @returns {Promise<Totals>}
 */
export function session(sessionId, after) {
  return request("GET", `${sessionPath(sessionId)}?${queryOf({ after })}`);
}

/**
 * @param {string} sessionId which takes no more uploads from then on
 * @returns {Promise<null>}
 */
export function closeSession(sessionId) {
  return request("PUT", sessionPath(sessionId), {}, { status: "closed" });
}

/**
 * Process again the failed photos of a session, except those whose file itself is the problem.
 * @param {string} sessionId
 * @returns {Promise<null>}
 */
export async function retrySession(sessionId) {
  /** @type {string | null} */
  let cursor = null;
  do {
    /** @type {{nextCursor: string | null}} */
    const answer = await request("POST", "/api/photos/retry", {}, { sessionId, skipLasting: true, cursor });
    cursor = answer.nextCursor;
  } while (cursor !== null);
  return null;
}

/** The years 1 to 9999, in milliseconds since 1970. */
const FIRST_MODIFIED = -62_135_596_800_000;
const LAST_MODIFIED = 253_402_300_799_999;

/**
 * Upload one file. With the same `key`, a repeated attempt has no further effect.
 * @param {{file: File, key: string, sessionId: string | null}} upload
 * @param {(fraction: number) => void} onProgress
 * @returns {{done: Promise<Uploaded>, abort: () => void}}
 */
export function sendFile({ file, key, sessionId }, onProgress) {
  const form = new FormData();
  // Its fields come first: the server checks them before the file arrives.
  if (sessionId !== null) form.append("sessionId", sessionId);
  const { lastModified } = file;
  if (FIRST_MODIFIED <= lastModified && lastModified <= LAST_MODIFIED) {
    form.append("lastModified", String(lastModified));
  }
  form.append("file", file, file.name);
  const sentIn = currentSession();
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
        reject(problemFrom(sending.status, sending.responseText, retryAfter, sentIn));
      }
    };
    sending.onerror = () => reject(unreachable());
    sending.onabort = () => reject(new Problem(0, "aborted", t.problems.aborted, ""));
  });
  sending.open("POST", "/api/photos/upload");
  sending.setRequestHeader("Idempotency-Key", key);
  sending.setRequestHeader("Accept", "application/json");
  sending.send(form);
  return { done, abort: () => sending.abort() };
}
