/**
 * The picture of a card: first the BlurHash, then the thumbnail that fits its frame. The frame's
 * size does not depend on them, so nothing moves when one loads.
 */

import { paint } from "./blurhash.js";
import { h } from "./dom.js";

/** @typedef {import("./photo.js").Photo} Photo */

const FADE_MS = 180;

/** Attempts to load a picture, for example when a rate limit rejects it. */
const TRIES = 5;
const FIRST_WAIT_MS = 1_500;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Picture {
  /** @param {HTMLElement} frame */
  constructor(frame) {
    this.#frame = frame;
  }

  #frame;
  /** The width of the picture in CSS pixels, to choose a thumbnail. */
  #width = 0;
  /** @type {Photo | null} */
  #photo = null;
  /** @type {HTMLCanvasElement | null} */
  #placeholder = null;
  /** @type {HTMLImageElement | null} */
  #thumbnail = null;
  #failures = 0;
  #timer = 0;

  /** @param {Photo} photo */
  show(photo) {
    this.#photo = photo;
    if (this.#width === 0) return;
    if (photo.thumbnails.length > 0) this.#showThumbnail(photo);
    else if (photo.blurhash !== null) this.#showPlaceholder(photo);
  }

  /**
   * @param {number} width of the frame, CSS pixels
   * @param {number} height
   */
  fit(width, height) {
    const { width: across, height: down } = this.#photo ?? { width: null, height: null };
    const ratio = across && down ? across / down : width / height;
    const shown = Math.round(Math.max(width, height * ratio));
    if (shown === this.#width) return;
    this.#width = shown;
    if (this.#thumbnail) this.#thumbnail.sizes = `${shown}px`;
    else if (this.#photo) this.show(this.#photo);
  }

  /** Release what the browser would keep. */
  discard() {
    clearTimeout(this.#timer);
    this.#photo = null;
    // A request in progress would delay those of the cards that are visible now.
    if (this.#thumbnail && !this.#thumbnail.complete) this.#thumbnail.srcset = "";
  }

  /** @param {Photo} photo */
  #showPlaceholder({ blurhash, width, height }) {
    if (this.#placeholder || this.#thumbnail || blurhash === null) return;
    this.#placeholder = paint(blurhash, width && height ? width / height : 1);
    if (this.#placeholder) this.#frame.prepend(this.#placeholder);
  }

  /** @param {Photo} photo */
  #showThumbnail(photo) {
    const srcset = photo.thumbnails.map((one) => `${one.url} ${one.width}w`).join(", ");
    if (this.#thumbnail?.srcset === srcset) return;
    if (this.#thumbnail) {
      this.#thumbnail.srcset = srcset;
      return;
    }
    this.#showPlaceholder(photo);
    const image = h("img", { class: "thumbnail", alt: "", decoding: "async", draggable: false });
    image.sizes = `${this.#width}px`;
    image.srcset = srcset;
    image.addEventListener("load", () => this.#reveal(image), { once: true });
    image.addEventListener("error", () => this.#withdraw(image));
    this.#thumbnail = image;
    if (this.#placeholder) this.#placeholder.after(image);
    else this.#frame.prepend(image);
  }

  /** @param {HTMLImageElement} image */
  async #reveal(image) {
    this.#failures = 0;
    image.classList.add("shown");
    const fade = [{ opacity: 0 }, { opacity: 1 }];
    await image.animate(fade, { duration: calm.matches ? 0 : FADE_MS }).finished;
    this.#placeholder?.remove();
    this.#placeholder = null;
  }

  /**
   * Retry a few times, with increasing delays: the browser does not say why a picture did not load.
   * The next event of the photo retries as well.
   * @param {HTMLImageElement} image
   */
  #withdraw(image) {
    if (this.#photo === null) return;
    image.remove();
    if (this.#thumbnail !== image) return;
    this.#thumbnail = null;
    this.#failures += 1;
    if (this.#failures >= TRIES) return;
    const wait = FIRST_WAIT_MS * 2 ** (this.#failures - 1) * (0.75 + Math.random() / 2);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#photo && this.show(this.#photo), wait);
  }
}
