/** The large picture: the colours at once, the thumbnail next, the optimized picture when it is there. */

import { paint } from "./blurhash.js";
import { h } from "./dom.js";

/** @typedef {import("./photo.js").Photo} Photo */

/**
 * As large as the wall allows, and never larger than the picture is.
 * @param {HTMLElement} element
 * @param {{width: number, height: number}} size
 */
function fit(element, { width, height }) {
  element.style.maxWidth = `${width}px`;
  element.style.maxHeight = `${height}px`;
}

export class Wall {
  element = h("div", { class: "wall" });
  #canvas = h("div", { class: "wall-picture" });
  #note = h("p", { class: "wall-note", role: "status" });
  /** @type {string | null} */
  #shown = null;

  constructor() {
    this.element.append(this.#canvas, this.#note);
  }

  clear() {
    this.#shown = null;
    this.#canvas.replaceChildren();
    this.#note.textContent = "";
  }

  /** @param {string} words */
  say(words) {
    this.#note.textContent = words;
  }

  /** @param {Photo} photo */
  show(photo) {
    const { optimized, thumbnails, originalFilename, blurhash } = photo;
    const best = optimized ?? thumbnails.at(-1) ?? null;
    this.say(best === null ? this.#wordsWithout(photo) : "");
    if (best === null || best.url === this.#shown) return;
    const first = this.#shown === null;
    this.#shown = best.url;
    const image = h("img", { class: "large", alt: originalFilename });
    image.dataset.kind = optimized ? "optimized" : "thumbnail";
    fit(image, best);
    const small = thumbnails.at(-1);
    if (first && optimized && small) this.#under(small.url, best);
    else if (first && blurhash !== null) this.#underPaint(blurhash, best);
    image.addEventListener("load", () => this.#canvas.replaceChildren(image), { once: true });
    image.addEventListener("error", () => this.#lost(best.url), { once: true });
    image.src = best.url;
  }

  /**
   * @param {string} url of something small, most likely known to the browser already
   * @param {{width: number, height: number}} size it is shown in
   */
  #under(url, size) {
    const image = h("img", { class: "large", alt: "", src: url });
    fit(image, size);
    this.#canvas.replaceChildren(image);
  }

  /**
   * @param {string} hash
   * @param {{width: number, height: number}} size
   */
  #underPaint(hash, size) {
    const canvas = paint(hash, size.width / size.height);
    if (canvas === null) return;
    canvas.classList.add("large");
    fit(canvas, size);
    this.#canvas.replaceChildren(canvas);
  }

  /** @param {string} url */
  #lost(url) {
    if (this.#shown !== url) return;
    this.#shown = null;
    this.say("The picture could not be loaded. Close it and open it again to try once more.");
  }

  /** @param {Photo} photo */
  #wordsWithout({ processingStatus }) {
    return processingStatus === "failed" ? "There is no picture to show." : "The picture is being made.";
  }
}
