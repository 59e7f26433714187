/** One photo in the grid: its picture, and what is to be known about it. */

import { h, icon } from "./dom.js";
import * as format from "./format.js";
import { t } from "./language.js";
import { isRunning } from "./photo.js";
import { Picture } from "./picture.js";
import { marks } from "./stages.js";

/** @typedef {import("./photo.js").Photo} Photo */

export class Card {
  constructor() {
    this.#name = h("span", { class: "name", dir: "auto" });
    this.#line = h("span", { class: "line" });
    const caption = h("span", { class: "caption" }, this.#name, this.#line);
    this.link = h("a", { class: "frame", tabIndex: -1, draggable: false }, caption);
    const props = { type: "button", class: "pick", role: "checkbox", tabIndex: -1, "aria-checked": "false" };
    this.pick = h("button", props, icon("check"));
    this.element = h("li", { class: "card" }, this.link, this.pick);
    this.#picture = new Picture(this.link);
  }

  #name;
  #line;
  #picture;
  /** @type {HTMLElement | null} */
  #over = null;
  /** @type {Photo | null} */
  #photo = null;

  discard() {
    this.#picture.discard();
    this.element.remove();
  }

  /** Highlight the card for a moment. */
  point() {
    this.element.classList.remove("pointed");
    void this.element.offsetWidth; // Without this layout, the animation would not restart.
    this.element.classList.add("pointed");
  }

  /**
   * @param {{x: number, y: number, width: number, height: number}} place in its day, CSS pixels
   */
  move({ x, y, width, height }) {
    const { style } = this.element;
    style.transform = `translate(${x}px, ${y}px)`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    this.#picture.fit(width, height);
  }

  /** @param {Photo} photo */
  show(photo) {
    if (this.#photo === photo) return;
    this.#photo = photo;
    const { photoId, originalFilename, processingStatus, damaged, version } = photo;
    Object.assign(this.element.dataset, { photoId, status: processingStatus, version });
    this.link.href = `#photo/${photoId}`;
    this.#name.textContent = originalFilename;
    this.pick.setAttribute("aria-label", t.selection.pick(originalFilename));
    this.#picture.show(photo);
    const [words, line] = stateOf(photo);
    this.link.setAttribute("aria-label", `${originalFilename}. ${words}`);
    this.#line.replaceChildren(line);
    if (processingStatus === "failed") this.#showFailure(originalFilename, photo);
    else if (damaged) this.#cover(h("span", { class: "badge" }, icon("warning"), t.card.damaged));
    else this.#cover(null);
  }

  /**
   * @param {string} name
   * @param {Photo} photo
   */
  #showFailure(name, photo) {
    // Screen readers read it with the link's label. The title has what the server says, word for word.
    const [file, text] = [
      h("p", { class: "trouble-name", dir: "auto", title: name }, name),
      h("p", { class: "trouble-text", title: format.plain(photo.processingError) }, format.failureOf(photo)),
    ];
    this.#cover(h("div", { class: "trouble failure", "aria-hidden": "true" }, icon("warning"), file, text));
  }

  /** @param {HTMLElement | null} over covers the picture */
  #cover(over) {
    if (this.#over?.outerHTML === over?.outerHTML) return;
    this.#over?.remove();
    this.#over = over;
    if (over) this.link.after(over);
  }
}

/**
 * @param {Photo} photo
 * @returns {[string, Node | string]} the words for the label and the caption
 */
function stateOf(photo) {
  const { processingStatus, stages, damaged, width, height } = photo;
  if (isRunning(photo)) {
    const words = processingStatus === "queued" ? t.card.waiting : t.card.processing;
    return [words, h("span", { class: "running" }, words, stages ? marks(stages) : null)];
  }
  if (processingStatus === "failed") {
    const words = t.card.failed;
    return [`${words}: ${format.failureOf(photo)}`, h("span", { class: "bad" }, words)];
  }
  const words = takenWords(photo) || format.dimensions(width, height);
  return [damaged ? `${t.card.fileDamaged} ${words}` : words, words];
}

/** Dates that are not from the picture itself. @type {Record<string, (day: string) => string>} */
const OTHER_SOURCES = t.card.takenBy;

/** @param {Photo} photo */
function takenWords({ takenAt, takenAtSource }) {
  const day = format.taken(takenAt, false);
  return day === "" ? "" : (OTHER_SOURCES[takenAtSource ?? ""] ?? t.card.taken)(day);
}
