/** Open the photo that the address names: `#photo/<id>` can be linked, and Back closes it. */

import { byId } from "./dom.js";
import { t } from "./language.js";
import { announce } from "./notices.js";

/** @typedef {import("./viewer.js").Viewer} Viewer */

export class Navigation {
  /**
   * @param {object} parts
   * @param {() => Promise<Viewer>} parts.loadViewer
   * @param {import("./grid.js").Grid} parts.grid
   * @param {import("./timeline.js").Timeline} parts.timeline
   */
  constructor({ loadViewer, grid, timeline }) {
    this.#loadViewer = loadViewer;
    this.#grid = grid;
    this.#timeline = timeline;
  }

  #loadViewer;
  #grid;
  #timeline;
  /** @type {string | null} */
  #photoId = null;
  /** Whether Back returns to the grid. */
  #cameFromGrid = false;

  /** The photo that is open, or will be once the viewer is loaded. */
  get photoId() {
    return this.#photoId;
  }

  /** Whether the address names a photo. */
  get isAtPhoto() {
    return addressed() !== undefined;
  }

  /** The address has changed. */
  changed() {
    this.#cameFromGrid = this.#photoId === null;
    this.follow();
  }

  /** Open the photo that the address names, or close the viewer. */
  follow() {
    const photoId = addressed();
    if (photoId !== undefined) void this.#open(photoId);
    else void this.#close();
  }

  /** @param {string} photoId */
  async #open(photoId) {
    this.#photoId = photoId;
    const viewer = await this.#loadViewer();
    if (this.#photoId === photoId) await viewer.open(photoId);
  }

  /** Nobody is signed in any more. */
  clear() {
    if (this.#photoId === null) return;
    this.#photoId = null;
    void this.#loadViewer().then((viewer) => this.#photoId === null && viewer.close());
  }

  /**
   * Go to the photo's card, or to the photo itself if it is not loaded.
   * @param {string} photoId
   */
  jump(photoId) {
    if (this.#timeline.sectionOf(photoId)) {
      this.#grid.focus(photoId);
      this.#grid.cardOf(photoId)?.point();
    } else {
      location.hash = `#photo/${photoId}`;
    }
  }

  leave() {
    if (this.#cameFromGrid) {
      this.#cameFromGrid = false;
      history.back();
    } else {
      history.replaceState(history.state, "", location.pathname + location.search);
      void this.#close();
    }
  }

  /**
   * Open the photo next to the open one.
   * @param {1 | -1} direction
   * @returns {Promise<boolean>} whether there is one
   */
  async step(direction) {
    const from = this.#photoId;
    if (from === null || !(await this.#timeline.reveal(from))) return false;
    const next = await this.#timeline.neighbour(from, direction);
    if (this.#photoId !== from) return false;
    if (next === null) announce(direction === 1 ? t.announced.lastPhoto : t.announced.firstPhoto);
    else this.#openInstead(next);
    return next !== null;
  }

  /** The open photo is about to disappear: open its neighbour instead. */
  async leaveDeleted() {
    const from = this.#photoId;
    if (from === null) return;
    const [after, before] = [this.#timeline.neighbour(from, 1), this.#timeline.neighbour(from, -1)];
    const next = (await after) ?? (await before);
    if (this.#photoId !== from) return;
    if (next === null) this.leave();
    else this.#openInstead(next);
  }

  /** @param {string} photoId */
  #openInstead(photoId) {
    history.replaceState(history.state, "", `#photo/${photoId}`);
    void this.#open(photoId);
  }

  async #close() {
    const photoId = this.#photoId;
    if (photoId === null) return;
    this.#photoId = null;
    const viewer = await this.#loadViewer();
    if (this.#photoId !== null) return;
    viewer.close();
    if (await this.#timeline.reveal(photoId)) {
      if (this.#photoId !== null) return;
      this.#grid.focus(photoId);
      return;
    }
    // Without a card, focus a button; a hidden element takes no focus.
    const add = byId("add");
    (add.hidden ? byId("sign-out") : add).focus({ preventScroll: true });
  }
}

/** @returns {string | undefined} the photo that the address names */
function addressed() {
  return /^#photo\/([\w-]+)$/.exec(location.hash)?.[1];
}
