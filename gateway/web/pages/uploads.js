/** Upload files to Photolog, a few at once, in the order they were chosen. */

import * as api from "./api.js";

/**
 * @typedef {object} Upload
 * @property {number} id
 * @property {File} file
 * @property {string} key idempotency key, the same for every attempt
 * @property {"waiting" | "sending" | "held" | "failed" | "duplicate" | "done"} state `held` until the
 *   server is back
 * @property {number} fraction uploaded so far
 * @property {number} attempts
 * @property {api.Problem | null} problem why it failed
 * @property {string | null} photoId its photo, or the existing photo with the same bytes
 */

const AT_ONCE = 4;
/** If the gateway is busy or the connection breaks: retries before the person is asked. */
const PATIENCE = { attempts: 4, waitMs: 2_500 };
/** For a rate limit, which says how long to wait: nothing was uploaded, so more retries are fine. */
const LIMITED = { attempts: 30, longestMs: 60_000 };

function randomKey() {
  // randomUUID is missing without TLS, except on localhost.
  const numbers = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(numbers, (number) => number.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {api.Problem} error
 * @returns {api.Problem} worded for a file that was not uploaded
 */
function reasonFor(error) {
  if (error.signedOut) {
    const words = "You were signed out before it was uploaded.";
    return new api.Problem(401, error.code, words, "Sign in again.");
  }
  if (error.code !== "unreachable") return error;
  // The browser gives no reason; it also ends the upload when it can no longer read the file.
  const words = "The upload was interrupted every time.";
  return new api.Problem(0, error.code, words, "Check the file, then try again.");
}

export class Uploads {
  /**
   * @param {object} handlers
   * @param {(upload: Upload) => void} handlers.onChange
   * @param {() => void} handlers.onSettled after each upload ends, in whatever way
   * @param {() => boolean} handlers.isConnected whether the server is known to be reachable
   */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  #handlers;
  #count = 0;
  #paused = false;
  #resting = 0;
  /** @type {Upload[]} */
  #all = [];
  /** @type {Map<Upload, () => void>} */
  #aborts = new Map();

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) {
      this.#count += 1;
      /** @type {Upload} */
      const upload = {
        id: this.#count,
        file,
        key: randomKey(),
        state: "waiting",
        fraction: 0,
        attempts: 0,
        problem: null,
        photoId: null,
      };
      this.#all.push(upload);
      this.#handlers.onChange(upload);
    }
    this.#fill();
  }

  /** @param {Upload} upload */
  retry(upload) {
    if (upload.state !== "failed" && upload.state !== "held") return;
    this.#change(upload, { state: "waiting", attempts: 0, problem: null });
    this.#fill();
  }

  /** The server is back: retry the uploads that wait for it. */
  retryHeld() {
    for (const upload of this.#all) if (upload.state === "held") this.retry(upload);
  }

  /** @param {Upload} upload */
  forget(upload) {
    this.#all = this.#all.filter((other) => other !== upload);
    this.#aborts.get(upload)?.();
  }

  /** Start no upload until `resume`. */
  pause() {
    this.#paused = true;
  }

  resume() {
    this.#paused = false;
    for (const upload of this.#all) if (upload.problem?.signedOut) this.retry(upload);
    this.#fill();
  }

  forgetAll() {
    for (const upload of this.#all) this.forget(upload);
  }

  /** @param {number} size bytes */
  isAwaited(size) {
    return this.#all.some(({ state, file }) => state === "sending" && file.size === size);
  }

  /** The uploads in progress, and the fraction of their bytes that is uploaded. */
  get progress() {
    const all = this.#all.filter(({ state }) => state !== "failed" && state !== "held");
    const open = all.filter(({ state }) => state === "waiting" || state === "sending");
    const total = all.reduce((sum, { file }) => sum + file.size, 0);
    const sent = all.reduce((sum, { file, fraction }) => sum + file.size * fraction, 0);
    return { open: open.length, all: all.length, fraction: total === 0 ? 0 : sent / total };
  }

  /** How many are in progress or will start without a further click. */
  get pending() {
    return this.progress.open + this.#all.filter(({ state }) => state === "held").length;
  }

  /** How many a sign-out keeps from being uploaded. */
  get unsent() {
    return this.pending + this.#all.filter(({ problem }) => problem?.signedOut).length;
  }

  /**
   * @param {Upload} upload
   * @param {Partial<Upload>} change
   */
  #change(upload, change) {
    Object.assign(upload, change);
    this.#handlers.onChange(upload);
  }

  /**
   * Start no upload for a while.
   * @param {number} waitMs
   */
  #rest(waitMs) {
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => {
      this.#resting = 0;
      this.#fill();
    }, waitMs);
  }

  #fill() {
    for (const upload of this.#all) {
      if (this.#paused || this.#resting !== 0 || this.#aborts.size >= AT_ONCE) break;
      if (upload.state === "waiting") this.#send(upload);
    }
    // The next uploads start counting from zero.
    if (this.progress.open === 0) {
      this.#all = this.#all.filter(({ state }) => state === "failed" || state === "held");
    }
  }

  /** @param {Upload} upload */
  async #send(upload) {
    const { done, abort } = api.upload(upload.file, upload.key, (fraction) =>
      this.#change(upload, { fraction }),
    );
    this.#aborts.set(upload, abort);
    this.#change(upload, { state: "sending", attempts: upload.attempts + 1 });
    try {
      const { photoId, duplicate } = await done;
      const state = duplicate ? "duplicate" : "done";
      this.#change(upload, { state, photoId, fraction: 1 });
    } catch (error) {
      this.#failed(upload, error);
    } finally {
      this.#aborts.delete(upload);
      this.#handlers.onSettled();
      this.#fill();
    }
  }

  /**
   * @param {Upload} upload
   * @param {api.Problem} error
   */
  #mayRetry(upload, error) {
    if (error.isLimited) {
      return upload.attempts < LIMITED.attempts && error.waitMs <= LIMITED.longestMs;
    }
    const passing = error.code === "unreachable" || error.status === 503;
    return passing && upload.attempts < PATIENCE.attempts;
  }

  /**
   * @param {Upload} upload
   * @param {unknown} error
   */
  #failed(upload, error) {
    if (!(error instanceof api.Problem)) throw error;
    if (error.code === "aborted") return;
    const brokeOff = error.code === "unreachable";
    if (brokeOff && !this.#handlers.isConnected()) {
      this.#change(upload, { state: "held", fraction: 0 });
    } else if (this.#mayRetry(upload, error)) {
      this.#change(upload, { state: "waiting", fraction: 0 });
      this.#rest(error.isLimited ? error.waitMs : PATIENCE.waitMs);
    } else {
      this.#change(upload, { state: "failed", fraction: 0, problem: reasonFor(error) });
    }
  }
}
