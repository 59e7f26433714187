/** One photo in the grid, from the moment its file is chosen. */

import { h, icon } from "./dom.js";
import * as format from "./format.js";
import { isRunning } from "./photo.js";
import { Picture } from "./picture.js";
import { marks } from "./stages.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./uploads.js").Upload} Upload
 * @typedef {{retry: () => void, dismiss: () => void, jump: (photoId: string) => void}} UploadActions
 */

/**
 * @param {string} label
 * @param {() => void} onclick
 */
function smallButton(label, onclick) {
  return h("button", { type: "button", class: "button small", onclick }, label);
}

export class Card {
  /** @type {string | null} */
  photoId = null;

  constructor() {
    this.link = h("a", { class: "frame", tabIndex: -1, draggable: false });
    this.#name = h("span", { class: "name" });
    this.#line = h("div", { class: "line" });
    const onclick = (/** @type {MouseEvent} */ event) => this.#openBy(event);
    const caption = h("div", { class: "caption", onclick }, this.#name, this.#line);
    this.element = h("li", { class: "card" }, this.link, caption);
    this.#picture = new Picture(this.link);
  }

  #name;
  #line;
  #picture;
  /** @type {HTMLElement | null} */
  #over = null;

  /**
   * Open the link for a click beside its picture; pass the event on, so that Ctrl opens a new tab.
   * @param {MouseEvent} event
   */
  #openBy(event) {
    if (this.photoId !== null) this.link.dispatchEvent(new MouseEvent("click", event));
  }

  approach() {
    this.#picture.approach();
  }

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
   * @param {Upload} upload
   * @param {UploadActions} actions
   */
  showUpload(upload, actions) {
    const { file, state, fraction, problem } = upload;
    if (this.#name.textContent === "") {
      this.#setName(file.name);
      this.#picture.preview(file);
    }
    if (this.photoId !== null) return;
    this.element.dataset.status = state;
    switch (state) {
      case "waiting":
        this.#cover(null);
        this.#line.replaceChildren("Waiting to upload");
        break;
      case "sending":
        this.#showProgress(fraction);
        break;
      case "held":
        this.#showTrouble("Waiting to upload", "It will be uploaded when the server is back.", [
          smallButton("Try now", actions.retry),
          smallButton("Dismiss", actions.dismiss),
        ]);
        break;
      case "failed":
        this.#showTrouble(h("span", { class: "bad" }, "Not uploaded"), problem?.words ?? "", [
          problem?.mayPass ? smallButton("Try again", actions.retry) : null,
          smallButton("Dismiss", actions.dismiss),
        ]);
        break;
      case "duplicate": {
        const photoId = upload.photoId ?? "";
        const jump = () => actions.jump(photoId);
        this.#showTrouble("Already uploaded", "You have uploaded this photo before.", [
          smallButton("Show photo", jump),
          smallButton("Dismiss", actions.dismiss),
        ]);
        break;
      }
      case "done":
        this.#cover(null);
        this.#line.replaceChildren("Uploaded");
    }
  }

  /** @param {Photo} photo */
  showPhoto(photo) {
    const { photoId, originalFilename, processingStatus, damaged } = photo;
    this.photoId = photoId;
    Object.assign(this.element.dataset, {
      photoId,
      status: processingStatus,
      version: photo.version,
      order: `${photo.uploadedAt} ${photoId}`, // the order of lists
    });
    this.link.href = `#photo/${photoId}`;
    this.#setName(originalFilename);
    this.#picture.show(photo);
    const [words, line] = this.#stateOf(photo);
    this.link.setAttribute("aria-label", `${originalFilename}. ${words}`);
    this.#line.replaceChildren(line);
    if (processingStatus === "failed") this.#showFailure(format.plain(photo.processingError));
    else if (damaged) this.#cover(h("span", { class: "badge" }, icon("warning"), "Damaged"));
    else this.#cover(null);
  }

  /**
   * @param {Photo} photo
   * @returns {[string, Node | string]} the words for the label and the caption
   */
  #stateOf(photo) {
    const { processingStatus, stages, damaged, takenAt, width, height } = photo;
    if (isRunning(photo)) {
      const words = processingStatus === "queued" ? "Waiting" : "Processing";
      return [words, h("div", { class: "running" }, words, stages ? marks(stages) : null)];
    }
    if (processingStatus === "failed") {
      const words = "Could not be processed";
      return [`${words}: ${format.plain(photo.processingError)}`, h("span", { class: "bad" }, words)];
    }
    const day = format.taken(takenAt, false);
    const words = day === "" ? format.dimensions(width, height) : `Taken ${day}`;
    return [damaged ? `The file is damaged. ${words}` : words, words];
  }

  /** @param {string} name */
  #setName(name) {
    this.#name.textContent = name;
    this.#name.title = name;
  }

  /** @param {number} fraction */
  #showProgress(fraction) {
    const percent = Math.round(fraction * 100);
    const bar = this.#over?.querySelector("progress");
    this.#line.replaceChildren(fraction < 1 ? `Uploading, ${percent}%` : "Uploaded, waiting for the server");
    if (bar) bar.value = fraction;
    else this.#cover(h("progress", { max: 1, value: fraction, "aria-label": "Upload" }));
  }

  /**
   * @param {Node | string} title an element if it is a failure
   * @param {string} words
   * @param {(HTMLElement | null)[]} buttons
   */
  #showTrouble(title, words, buttons) {
    this.#line.replaceChildren(title);
    const sign = typeof title === "string" ? null : icon("warning");
    const text = h("p", { class: "trouble-text" }, words);
    const actions = h("div", { class: "trouble-actions" }, ...buttons);
    this.#cover(h("div", { class: "trouble" }, sign, text, actions));
  }

  /** @param {string} words */
  #showFailure(words) {
    // Screen readers read it with the link's label.
    const text = h("p", { class: "trouble-text" }, words);
    this.#cover(h("div", { class: "trouble failure", "aria-hidden": "true" }, icon("warning"), text));
  }

  /** @param {HTMLElement | null} over covers the picture */
  #cover(over) {
    if (this.#over?.outerHTML === over?.outerHTML) return;
    this.#over?.remove();
    this.#over = over;
    if (over) this.link.after(over);
  }
}
