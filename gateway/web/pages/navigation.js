/** Open the photo that the address names: `#photo/<id>` can be linked, and Back closes it. */

import { byId } from "./dom.js";
import { linkOf, neighbour } from "./keyboard.js";
import { announce } from "./notices.js";

export class Navigation {
  /**
   * @param {object} parts
   * @param {import("./viewer.js").Viewer} parts.viewer
   * @param {import("./grid.js").Grid} parts.grid
   * @param {import("./paging.js").Paging} parts.paging
   */
  constructor({ viewer, grid, paging }) {
    this.#viewer = viewer;
    this.#grid = grid;
    this.#paging = paging;
  }

  #viewer;
  #grid;
  #paging;
  /** Whether Back returns to the grid. */
  #cameFromGrid = false;

  /** The address has changed. */
  changed() {
    this.#cameFromGrid = this.#viewer.photoId === null;
    this.follow();
  }

  /** Open the photo that the address names, or close the viewer. */
  follow() {
    const photoId = /^#photo\/([\w-]+)$/.exec(location.hash)?.[1];
    if (photoId !== undefined) this.#viewer.open(photoId);
    else this.#close();
  }

  /**
   * Go to the photo's card, or to the photo itself if its card is not loaded.
   * @param {string} photoId
   */
  jump(photoId) {
    const card = this.#grid.cardOf(photoId);
    if (card) {
      card.element.scrollIntoView({ block: "center" });
      card.link.focus({ preventScroll: true });
      card.point();
    } else {
      location.hash = `#photo/${photoId}`;
    }
  }

  leave() {
    if (this.#cameFromGrid) {
      this.#cameFromGrid = false;
      history.back();
    } else {
      history.replaceState(null, "", location.pathname);
      this.#close();
    }
  }

  /**
   * Open the photo next to the open one.
   * @param {1 | -1} direction
   */
  async step(direction) {
    const from = this.#viewer.photoId;
    const card = this.#openCard();
    if (!card) return;
    let next = neighbour(card, direction);
    if (next === null && direction === 1) {
      await this.#paging.more();
      if (this.#viewer.photoId !== from) return;
      next = neighbour(card, 1);
    }
    if (next) this.#openInstead(next);
    else announce(direction === 1 ? "This is the last photo." : "This is the first photo.");
  }

  /** The open photo was deleted: open its neighbour instead. */
  leaveDeleted() {
    const card = this.#openCard();
    const next = card && (neighbour(card, 1) ?? neighbour(card, -1));
    if (next) this.#openInstead(next);
    else this.leave();
  }

  #openCard() {
    const photoId = this.#viewer.photoId;
    return photoId === null ? undefined : this.#grid.cardOf(photoId)?.element;
  }

  /** @param {HTMLElement} card */
  #openInstead(card) {
    const photoId = card.dataset.photoId ?? "";
    history.replaceState(null, "", `#photo/${photoId}`);
    this.#viewer.open(photoId);
  }

  #close() {
    if (this.#viewer.photoId === null) return;
    const card = this.#openCard();
    this.#viewer.close();
    card?.scrollIntoView({ block: "nearest" });
    // Without a card, focus a button; a hidden element takes no focus.
    const add = byId("add");
    (card ? linkOf(card) : add.hidden ? byId("sign-out") : add).focus({ preventScroll: true });
  }
}
