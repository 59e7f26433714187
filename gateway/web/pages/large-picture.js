/** The large picture: first its colours, then the thumbnail, then the optimized picture. */

import { originalUrl } from "./api.js";
import { paint } from "./blurhash.js";
import { h } from "./dom.js";
import { failureOf } from "./format.js";
import { t } from "./language.js";

/** @typedef {import("./photo.js").Photo} Photo */

/**
 * Fill the wall, but never enlarge the picture.
 * @param {HTMLElement} element
 * @param {{width: number, height: number}} size
 */
function fit(element, { width, height }) {
  element.style.maxWidth = `${width}px`;
  element.style.maxHeight = `${height}px`;
}

/** Formats that every browser shows. */
const SHOWN = ["image/jpeg", "image/png", "image/webp", "image/gif"];
/** Beyond this scale the original is shown, unless it is too large to load for a look. */
const SHARP_SCALE = 1.4;
const LARGEST_ORIGINAL_BYTES = 30_000_000;

export class LargePicture {
  element = h("div", { class: "wall" });
  #canvas = h("div", { class: "wall-picture" });
  /** The element that zooming moves. */
  get canvas() {
    return this.#canvas;
  }

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

  /**
   * Show the details that a zoomed picture needs.
   * @param {Photo} photo
   * @param {number} scale
   */
  sharpen({ photoId, mimeType, fileSize, width, optimized }, scale) {
    const image = this.#canvas.querySelector("img");
    if (!image || !optimized || scale < SHARP_SCALE || image.dataset.kind !== "optimized") return;
    if (!SHOWN.includes(mimeType) || fileSize > LARGEST_ORIGINAL_BYTES) return;
    if ((width ?? 0) <= optimized.width) return;
    const original = h("img", { alt: "", src: originalUrl(photoId, false) });
    image.dataset.kind = "original";
    original.decode().then(
      () => image.isConnected && image.setAttribute("src", original.src),
      () => {}, // The picture that is shown stays.
    );
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
    const image = h("img", { class: "large", alt: originalFilename, draggable: false });
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
   * @param {string} url of a small picture, most likely cached by the browser
   * @param {{width: number, height: number}} size to show it in
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
    this.say(t.viewer.pictureNotLoaded);
  }

  /** @param {Photo} photo */
  #wordsWithout(photo) {
    if (photo.processingStatus !== "failed") return t.viewer.preparing;
    return `${t.viewer.noPicture} ${t.viewer.failed(failureOf(photo))}`;
  }
}
