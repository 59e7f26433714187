/**
 * The picture of a card in three layers: a preview of the file while it is uploaded, the BlurHash,
 * the thumbnail. The frame's size does not depend on them, so nothing moves when one loads.
 */

import { paint } from "./blurhash.js";
import { h } from "./dom.js";

/** @typedef {import("./photo.js").Photo} Photo */

const FADE_MS = 220;
/** Maximum width of a frame in CSS pixels; used only to choose the thumbnail. */
const FRAME_PX = 240;

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
  #near = false;
  /** @type {Photo | null} */
  #photo = null;
  /** @type {HTMLImageElement | null} */
  #preview = null;
  /** @type {HTMLCanvasElement | null} */
  #placeholder = null;
  /** @type {HTMLImageElement | null} */
  #thumbnail = null;
  #failures = 0;
  #timer = 0;

  /** @param {File} file */
  preview(file) {
    const url = URL.createObjectURL(file);
    const image = this.#image({ class: "preview", loading: "lazy", src: url });
    // Photolog reads formats that the browser cannot show.
    image.addEventListener("error", () => this.#dropPreview());
    this.#preview = image;
    this.#frame.prepend(image);
  }

  /** @param {Photo} photo */
  show(photo) {
    this.#photo = photo;
    if (!this.#near) return;
    if (photo.thumbnails.length > 0) this.#showThumbnail(photo);
    else if (photo.blurhash !== null) this.#showPlaceholder(photo);
  }

  /** The card is close to the visible area: load its picture. */
  approach() {
    this.#near = true;
    if (this.#photo) this.show(this.#photo);
  }

  /** Release what the browser would keep. */
  discard() {
    clearTimeout(this.#timer);
    this.#dropPreview();
  }

  /** @param {Record<string, string>} props */
  #image(props) {
    return h("img", { alt: "", decoding: "async", draggable: false, ...props });
  }

  /** @param {Photo} photo */
  #showPlaceholder({ blurhash, width, height }) {
    if (this.#placeholder || this.#preview || blurhash === null) return;
    this.#placeholder = paint(blurhash, width && height ? width / height : 1);
    if (this.#placeholder) this.#frame.prepend(this.#placeholder);
  }

  /** @param {Photo} photo */
  #showThumbnail(photo) {
    const { thumbnails, width, height } = photo;
    const sources = thumbnails.map((one) => `${one.url} ${one.width}w`).join(", ");
    if (this.#thumbnail?.srcset === sources) return;
    if (this.#thumbnail) {
      this.#thumbnail.srcset = sources;
      return;
    }
    this.#showPlaceholder(photo);
    // The picture fills its frame, so a landscape picture is wider than the frame.
    const ratio = width && height ? Math.max(1, width / height) : 1;
    const sizes = `${Math.round(FRAME_PX * ratio)}px`;
    const image = this.#image({ class: "thumbnail", sizes, srcset: sources });
    image.addEventListener("load", () => this.#reveal(image), { once: true });
    image.addEventListener("error", () => this.#withdraw(image));
    this.#thumbnail = image;
    this.#frame.append(image);
  }

  /** @param {HTMLImageElement} image */
  async #reveal(image) {
    this.#failures = 0;
    image.classList.add("shown");
    const fade = [{ opacity: 0 }, { opacity: 1 }];
    await image.animate(fade, { duration: calm.matches ? 0 : FADE_MS }).finished;
    this.#dropPreview();
    this.#placeholder?.remove();
    this.#placeholder = null;
  }

  /**
   * Retry a few times, with increasing delays: the browser does not say why a picture did not load.
   * The next event of the photo, or the next approach, retries as well.
   * @param {HTMLImageElement} image
   */
  #withdraw(image) {
    image.remove();
    if (this.#thumbnail !== image) return;
    this.#thumbnail = null;
    this.#failures += 1;
    if (this.#failures >= TRIES) return;
    const wait = FIRST_WAIT_MS * 2 ** (this.#failures - 1) * (0.75 + Math.random() / 2);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#photo && this.show(this.#photo), wait);
  }

  #dropPreview() {
    if (this.#preview === null) return;
    URL.revokeObjectURL(this.#preview.src);
    this.#preview.remove();
    this.#preview = null;
  }
}
