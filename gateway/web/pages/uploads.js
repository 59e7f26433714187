/** Upload files to Photolog, a few at once, in the order they were chosen. */

import * as api from "./api.js";
import { t } from "./language.js";
import { randomKey } from "./random.js";
import { sendFile } from "./upload-api.js";
import { UploadStore } from "./upload-store.js";

/**
 * @typedef {object} Upload
 * @property {number} id
 * @property {File} file
 * @property {string} key idempotency key, the same for every attempt
 * @property {string | null} sessionId its upload session
 * @property {"waiting" | "sending" | "held" | "failed" | "lost" | "duplicate" | "done"} state `held`
 *   until the server is back; `lost` with the page that it was chosen on: choose it again
 * @property {number} fraction uploaded so far
 * @property {number} attempts
 * @property {api.Problem | null} problem why it failed
 * @property {string | null} photoId its photo, or the existing photo with the same bytes
 * @property {number} size bytes
 * @property {boolean} isStored whether it survives a reload
 * @property {boolean} isCounted whether it belongs to the uploads that the progress counts
 */

const AT_ONCE = 4;
/** If the gateway is busy or the connection breaks: retries before the person is asked. */
const PATIENCE = { attempts: 4, waitMs: 2_500 };
/** For a rate limit, which says how long to wait: nothing was uploaded, so more retries are fine. */
const LIMITED = { attempts: 30, longestMs: 60_000 };

/**
 * @param {api.Problem} error
 * @returns {api.Problem} worded for a file that was not uploaded
 */
function reasonFor(error) {
  if (error.signedOut) {
    const { message, advice } = t.problems.signedOutBefore;
    return new api.Problem(401, error.code, message, advice);
  }
  if (error.code !== "unreachable") return error;
  // The browser gives no reason; it also ends the upload when it can no longer read the file.
  const { message, advice } = t.problems.interrupted;
  return new api.Problem(0, error.code, message, advice);
}

export class Uploads {
  /**
   * @param {import("./upload-session.js").UploadSession} session of what is added here
   * @param {object} handlers
   * @param {(upload: Upload) => void} handlers.onChange
   * @param {() => boolean} handlers.isConnected whether the server is known to be reachable
   */
  constructor(session, handlers) {
    this.#session = session;
    this.#handlers = handlers;
  }

  #session;
  #handlers;
  #store = new UploadStore();
  /** Who chose the files. */
  #clientId = "";
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
      const { name, size, lastModified } = file;
      const lost = this.#all.find(
        (one) =>
          one.state === "lost" &&
          one.size === size &&
          one.file.name === name &&
          one.file.lastModified === lastModified,
      );
      if (lost) this.forget(lost);
      const upload = this.#begin(file, randomKey(), size, this.#session.begin());
      this.#store.keep(this.#clientId, upload, file).then((isStored) => {
        if (upload.state === "done" || upload.state === "duplicate") this.#store.drop(upload.key);
        else upload.isStored = isStored;
      });
    }
    this.#fill();
  }

  /**
   * @param {File} file
   * @param {string} key
   * @param {number} size
   * @param {string | null} sessionId
   */
  #begin(file, key, size, sessionId) {
    this.#count += 1;
    /** @type {Upload} */
    const upload = {
      id: this.#count,
      file,
      key,
      sessionId,
      state: "waiting",
      fraction: 0,
      attempts: 0,
      problem: null,
      photoId: null,
      size,
      isStored: false,
      isCounted: true,
    };
    this.#all.push(upload);
    this.#handlers.onChange(upload);
    return upload;
  }

  /** Continue what earlier pages of the same client have left, and other tabs leave from now on. */
  #continue() {
    const clientId = this.#clientId;
    const isWanted = () => clientId === this.#clientId && !this.#paused;
    this.#store.takeOver(clientId, isWanted, (left) => {
      if (clientId === this.#clientId) this.#adopt(left);
      else for (const { key } of left) this.#store.release(key);
    });
  }

  /** @param {import("./upload-store.js").Remembered[]} left by other tabs */
  #adopt(left) {
    for (const { key, file, name, size, lastModified, sessionId = null } of left) {
      const upload = this.#begin(file ?? new File([], name, { lastModified }), key, size, sessionId);
      if (file && sessionId !== null) this.#session.adopt(sessionId);
      if (file) upload.isStored = true;
      else this.#change(upload, { state: "lost", isCounted: false });
    }
    this.#fill();
  }

  /** @param {Upload} upload */
  retry(upload) {
    if (upload.state !== "failed" && upload.state !== "held") return;
    this.#change(upload, { state: "waiting", attempts: 0, problem: null, isCounted: true });
    this.#fill();
  }

  /** The server is back: retry the uploads that wait for it. */
  retryHeld() {
    for (const upload of this.#all) if (upload.state === "held") this.retry(upload);
  }

  /** @param {Upload} upload */
  forget(upload) {
    this.#store.drop(upload.key);
    this.#withdraw(upload);
  }

  /** @param {Upload} upload which this page no longer shows */
  #withdraw(upload) {
    this.#all = this.#all.filter((other) => other !== upload);
    this.#aborts.get(upload)?.();
    this.#handlers.onChange(upload);
  }

  /** Start no upload until `resume`. */
  pause() {
    this.#paused = true;
  }

  /** @param {string} clientId */
  resume(clientId) {
    // Never upload the files of one person as another; who chose them may come back.
    if (clientId !== this.#clientId) this.#leaveAll();
    this.#clientId = clientId;
    this.#paused = false;
    this.#continue();
    for (const upload of this.#all) if (upload.problem?.signedOut) this.retry(upload);
    this.#fill();
  }

  forgetAll() {
    this.#session.forget();
    for (const upload of this.#all) this.forget(upload);
  }

  /** Leave the files to the next page of who chose them. */
  #leaveAll() {
    this.#session.forget();
    for (const upload of this.#all) {
      if (upload.state !== "done" && upload.state !== "duplicate") this.#store.release(upload.key);
      this.#withdraw(upload);
    }
  }

  /** Those that have not become photos, and those that have since the last pause. */
  get all() {
    return this.#all;
  }

  /** The uploads in progress, and the fraction of their bytes that is uploaded. */
  get progress() {
    const all = this.#all.filter(
      ({ state, isCounted }) => isCounted && state !== "failed" && state !== "held" && state !== "lost",
    );
    const open = all.filter(({ state }) => state === "waiting" || state === "sending");
    const total = all.reduce((sum, { file }) => sum + file.size, 0);
    const sent = all.reduce((sum, { file, fraction }) => sum + file.size * fraction, 0);
    return { open: open.length, all: all.length, fraction: total === 0 ? 0 : sent / total };
  }

  /** How many are in progress or will start without a further click. */
  get pending() {
    return this.progress.open + this.#all.filter(({ state }) => state === "held").length;
  }

  /** Whether a reload would lose files. */
  get wouldLose() {
    const open = ["waiting", "sending", "held"];
    return this.#all.some(({ state, isStored }) => open.includes(state) && !isStored);
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
      for (const upload of this.#all) if (upload.state !== "held") upload.isCounted = false;
    }
  }

  /** @param {Upload} upload */
  async #send(upload) {
    const { done, abort } = sendFile(upload, (fraction) => this.#change(upload, { fraction }));
    this.#aborts.set(upload, abort);
    this.#change(upload, { state: "sending", attempts: upload.attempts + 1 });
    try {
      const { photoId, duplicate, position } = await done;
      const state = duplicate ? "duplicate" : "done";
      this.#store.drop(upload.key);
      this.#change(upload, { state, photoId, fraction: 1 });
      this.#session.changed(position);
    } catch (error) {
      this.#failed(upload, error);
    } finally {
      this.#aborts.delete(upload);
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
    if (error.code === "session-closed") {
      // Somebody else has closed it.
      this.forget(upload);
      this.#session.forget();
      this.add([upload.file]);
      return;
    }
    const brokeOff = error.code === "unreachable";
    if (brokeOff && !this.#handlers.isConnected()) {
      this.#change(upload, { state: "held", fraction: 0 });
    } else if (this.#mayRetry(upload, error)) {
      this.#change(upload, { state: "waiting", fraction: 0 });
      this.#rest(error.isLimited ? error.waitMs : PATIENCE.waitMs);
    } else {
      if (!error.mayPass) this.#store.drop(upload.key);
      this.#change(upload, { state: "failed", fraction: 0, problem: reasonFor(error) });
    }
  }
}
