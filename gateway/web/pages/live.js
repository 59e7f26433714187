/**
 * Receive the events of one client's room, each once and in order, across lost connections.
 *
 * Browsers differ in how they reconnect, and stop for good after a status other than 200. So a
 * broken stream is closed, and a new one resumes after the last event.
 */

import { isAfter } from "./position.js";

/**
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {"connecting" | "live" | "late" | "reconnecting"} Connection `late`: open, but silent for
 *   longer than the server said it would be
 * @typedef {{recovered: boolean, position: string, pingIntervalMs: number}} Ready
 */

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 10_000;
/** A page hidden for longer may have missed the end of its connection. */
const LONG_HIDDEN_MS = 60_000;
/** How much longer than the interval of two pings the server may be silent. */
const TOLERANCE_MS = 2_500;
/** A connection that has been silent for so long may be dead. */
const GIVE_UP_MS = 45_000;
/** A timer that comes so late did so because the machine or the page was asleep. */
const ASLEEP_MS = 2_000;

export class Live {
  /**
   * @param {object} handlers
   * @param {(event: PhotoEvent) => void} handlers.onEvent
   * @param {(continuous: boolean) => void} handlers.onReady the stream is open; `continuous` when
   *   nothing was missed since the last event; otherwise the page must reload its photos
   * @param {(state: Connection) => void} handlers.onState
   * @param {() => Promise<boolean>} handlers.mayConnect called after a rejection; false stops reconnecting
   */
  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener("online", () => this.#reopen());
    addEventListener("pageshow", (event) => event.persisted && this.#reopen());
    document.addEventListener("visibilitychange", () => this.#seen());
  }

  #handlers;
  /** @type {EventSource | null} */
  #source = null;
  /** @type {string | null} */
  #last = null;
  #wait = FIRST_WAIT_MS;
  #timer = 0;
  #hiddenAt = 0;
  #running = false;
  #room = "client";
  #isLate = false;
  #pingMs = 0;
  #watch = 0;
  /** When the last message arrived. */
  #heardAt = 0;

  /** @param {string | null} clientId whose events to receive; null for one's own */
  start(clientId = null) {
    this.stop();
    this.#room = clientId === null ? "client" : `client:${clientId}`;
    this.#last = null;
    this.#running = true;
    this.#handlers.onState("connecting");
    this.#open();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    clearTimeout(this.#timer);
    const query = new URLSearchParams({ room: this.#room });
    if (this.#last !== null) query.set("lastEventId", this.#last);
    const source = new EventSource(`/api/events?${query}`);
    this.#source = source;
    source.onmessage = (message) => this.#receive(message);
    source.addEventListener("ready", (message) => this.#receive(message));
    source.addEventListener("ping", () => this.#heard());
    source.onerror = () => this.#lost(source);
  }

  /** @param {MessageEvent<string>} message */
  #receive(message) {
    /** @type {Ready | PhotoEvent} */
    const data = JSON.parse(message.data);
    if ("recovered" in data) {
      this.#pingMs = data.pingIntervalMs;
      this.#isLate = false;
      this.#heard();
      const continuous = this.#last !== null && data.recovered;
      if (!continuous) this.#last = data.position;
      this.#wait = FIRST_WAIT_MS;
      this.#handlers.onState("live");
      this.#handlers.onReady(continuous);
    } else if (isAfter(data.id, this.#last)) {
      this.#last = data.id;
      this.#heard();
      // Those of sessions are about no photo.
      if ("photoId" in data.data) this.#handlers.onEvent(data);
    }
  }

  /** The server has sent something. */
  #heard() {
    this.#heardAt = performance.now();
    if (this.#isLate) this.#handlers.onState("live");
    this.#isLate = false;
    this.#watchFor(this.#pingMs + TOLERANCE_MS);
  }

  /** @param {number} waitMs until the silence is too long */
  #watchFor(waitMs) {
    clearTimeout(this.#watch);
    const due = performance.now() + waitMs;
    this.#watch = setTimeout(() => {
      if (performance.now() - due > ASLEEP_MS) this.#watchFor(this.#pingMs + TOLERANCE_MS);
      else this.#missed();
    }, waitMs);
  }

  #missed() {
    if (this.#source === null) return;
    if (performance.now() - this.#heardAt >= GIVE_UP_MS) {
      this.#reopen();
      this.#heardAt = performance.now();
    }
    this.#isLate = true;
    this.#handlers.onState("late");
    this.#watchFor(this.#pingMs + TOLERANCE_MS);
  }

  /** @param {EventSource} source */
  async #lost(source) {
    if (source !== this.#source) return;
    const refused = source.readyState === EventSource.CLOSED;
    source.close();
    clearTimeout(this.#watch);
    this.#isLate = false;
    this.#source = null;
    this.#handlers.onState("reconnecting");
    if (refused && !(await this.#handlers.mayConnect())) return;
    if (!this.#running || this.#source !== null) return;
    // Add jitter, so that not all pages reconnect to a restarted gateway at once.
    this.#timer = setTimeout(() => this.#open(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(LONGEST_WAIT_MS, this.#wait * 2);
  }

  #reopen() {
    if (!this.#running) return;
    this.#source?.close();
    this.#wait = FIRST_WAIT_MS;
    this.#open();
  }

  #seen() {
    if (document.hidden) this.#hiddenAt = Date.now();
    else if (Date.now() - this.#hiddenAt > LONG_HIDDEN_MS) this.#reopen();
  }
}
