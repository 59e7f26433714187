/** The upload session of this page: what the server has received, and what became of it. */

import { Problem } from "./api.js";
import { isAfter } from "./position.js";
import { randomKey } from "./random.js";
import { closeSession, retrySession, session } from "./upload-api.js";

/**
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {{received: number, duplicates: number, queued: number, processing: number, completed: number, failed: number,
 *   failures: {category: string | null}[]}} Totals `failures` are the first of those that failed; without a category, an
 *   operator has discarded the failure
 */

/** Events come in bursts; look once after several of them. */
const GATHER_MS = 500;
/** After a failure that may pass, such as a read model that is behind. */
const AGAIN_MS = 3_000;

export class UploadSession {
  /** @param {() => void} onChange the totals have changed */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  #onChange;
  /** @type {string | null} */
  #id = null;
  /** What the server counted last. @type {Totals | null} */
  totals = null;
  /** The last event that the totals must include. @type {string | null} */
  #after = null;
  #timer = 0;

  /** @returns {string} the id for further uploads; the first one opens the session */
  begin() {
    return (this.#id ??= `page-${randomKey()}`);
  }

  /**
   * Go on with the session of an earlier page.
   * @param {string} id
   */
  adopt(id) {
    this.#id ??= id;
  }

  /** Show nothing of it any more; the next upload begins another one. */
  forget() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#id = this.#after = this.totals = null;
    this.#onChange();
  }

  /** @param {PhotoEvent} event */
  receive({ id, metadata }) {
    if (this.#id !== null && metadata.sessionId === this.#id) this.changed(id);
  }

  /** @param {string | null} position of what has changed the session */
  changed(position) {
    if (position !== null && isAfter(position, this.#after)) this.#after = position;
    this.#lookIn(GATHER_MS);
  }

  /** The page may have missed events. */
  reload() {
    if (this.totals !== null) this.#lookIn(0);
  }

  /** @param {number} delayMs */
  #lookIn(delayMs) {
    if (this.#timer === 0) this.#timer = setTimeout(() => void this.#look(), delayMs);
  }

  async #look() {
    const id = this.#id;
    const after = this.#after;
    let isAgain = false;
    try {
      const totals = id === null ? null : await session(id, after);
      if (id !== this.#id) return;
      this.totals = totals;
      this.#onChange();
    } catch (error) {
      // Without any photo, the server knows no session.
      if (!(error instanceof Problem)) throw error;
      isAgain = error.mayPass && !error.signedOut;
    }
    if (id !== this.#id) return;
    this.#timer = 0;
    if (after !== this.#after) this.changed(null);
    else if (isAgain) this.#lookIn(AGAIN_MS);
  }

  /**
   * Process again what has failed, and may not fail again.
   * @throws {import("./api.js").Problem}
   */
  async retryFailed() {
    if (this.#id !== null) this.changed(await retrySession(this.#id));
  }

  /**
   * Let no more photos join the session.
   * @throws {import("./api.js").Problem}
   */
  async close() {
    const id = this.#id;
    if (id === null) return;
    await closeSession(id);
    if (id === this.#id) this.forget();
  }
}
