/** Endless scrolling: load the next page before the end of the list is visible. */

import { wordsOf } from "./api.js";
import { h } from "./dom.js";

/** @typedef {import("./photo.js").Photo} Photo */

const PAGE = 60;

export class Paging {
  /**
   * @param {HTMLElement} foot below the cards; shows that the next page is loading or has failed
   * @param {import("./library.js").Library} library
   * @param {object} handlers
   * @param {(photos: Photo[]) => void} handlers.onPhotos
   * @param {() => void} handlers.onState
   */
  constructor(foot, library, handlers) {
    this.#foot = foot;
    this.#library = library;
    this.#handlers = handlers;
    this.#watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && this.more(), {
      rootMargin: "1500px",
    });
  }

  #foot;
  #library;
  #handlers;
  #watch;
  /** @type {string | null} */
  #cursor = null;
  /** @type {Promise<void> | null} */
  #loading = null;
  /** Whether a page was requested since the last stop. */
  begun = false;
  /** Whether all photos are shown. */
  ended = false;

  /** Start over from the first page. */
  restart() {
    this.#cursor = null;
    this.begun = true;
    this.ended = false;
    this.#loading = this.#load();
    return this.#loading;
  }

  stop() {
    this.#watch.disconnect();
    this.#foot.replaceChildren();
    this.#loading = null;
    this.begun = false;
    this.ended = false;
  }

  /** @returns {Promise<void>} resolved when the next page is loaded, or there are no more pages */
  more() {
    if (this.ended || !this.begun) return Promise.resolve();
    this.#loading ??= this.#load();
    return this.#loading;
  }

  async #load() {
    this.#watch.unobserve(this.#foot);
    this.#foot.replaceChildren(h("p", { role: "status" }, "Loading…"));
    try {
      const page = await this.#library.page(this.#cursor, PAGE);
      if (page === null) return;
      this.#cursor = page.nextCursor;
      this.ended = page.nextCursor === null;
      this.#handlers.onPhotos(page.photos);
      this.#loading = null;
      this.#foot.replaceChildren();
      this.#handlers.onState();
      // Observe again, so that a page too short to fill the window loads the next one.
      if (!this.ended) this.#watch.observe(this.#foot);
    } catch (error) {
      if (!this.begun) return;
      this.#loading = null;
      this.#foot.replaceChildren(
        h("p", { role: "alert" }, `The photos could not be loaded. ${wordsOf(error)}`),
        h("button", { type: "button", class: "button", onclick: () => this.more() }, "Try again"),
      );
    }
  }
}
