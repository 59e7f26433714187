/** One photo, large, with its details and history. */

import * as api from "./api.js";
import { details } from "./details.js";
import { byId, h, icon } from "./dom.js";
import * as format from "./format.js";
import { isRunning } from "./photo.js";
import { LargePicture } from "./large-picture.js";
import { marks } from "./stages.js";
import { HistoryList } from "./history.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 */

/**
 * @typedef {object} Options
 * @property {(photoId: string) => Photo | undefined} known
 * @property {(photoId: string) => Promise<Photo>} find fetches it if it is not known
 * @property {(step: 1 | -1) => void} onStep
 * @property {() => void} onLeave
 * @property {(photo: Photo) => void} onDelete
 * @property {(photo: Photo) => Promise<void>} onReprocess
 */

/** Categories of failures where another attempt on the same file is useless. */
const OF_THE_FILE = ["data", "security"];

export class Viewer {
  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#build();
  }

  #options;
  #dialog = /** @type {HTMLDialogElement} */ (byId("viewer"));
  #name = h("h2", { id: "viewer-name", tabIndex: -1, autofocus: true, "aria-live": "polite" });
  #state = h("div", { class: "viewer-state", "aria-live": "polite" });
  #details = h("dl", { class: "details" });
  #historyNote = h("p", { class: "problem", role: "alert" });
  #download = h("a", { class: "button" }, icon("download"), "Download original");
  #again = h("button", { type: "button", class: "button" }, icon("again"), "Process again");
  #remove = h("button", { type: "button", class: "button" }, icon("remove"), "Delete");
  #picture = new LargePicture();
  #list = h("ol", { class: "story", "aria-label": "History" });
  #history = new HistoryList(this.#list);
  /** The category of the failure that ends the history. @type {string | null} */
  #category = null;
  /** Whether the person may change the photo. */
  mayChange = true;
  /** @type {string | null} */
  #photoId = null;
  /** @type {Photo | null} */
  #photo = null;
  /** Events that arrived before the history. @type {PhotoEvent[] | null} */
  #early = null;

  /** The photo that is open. */
  get photoId() {
    return this.#photoId;
  }

  /** @param {string} photoId */
  async open(photoId) {
    this.#photoId = photoId;
    this.#photo = null;
    this.#category = null;
    this.#picture.clear();
    this.#name.textContent = "Loading…";
    this.#dialog.classList.add("unknown");
    this.#dialog.classList.remove("missing");
    const known = this.#options.known(photoId);
    if (known) this.show(known);
    if (!this.#dialog.open) this.#dialog.showModal();
    await this.reload();
  }

  /** Reload the photo and its history. */
  async reload() {
    const photoId = this.#photoId;
    if (photoId === null) return;
    this.#history.clear();
    this.#category = null;
    this.#historyNote.textContent = "";
    this.#early = [];
    try {
      const finding = this.#options.find(photoId);
      const reading = api.history(photoId);
      // The picture does not wait for the history; a failure is handled below.
      reading.catch(() => {});
      const photo = await finding;
      if (this.#photoId !== photoId) return;
      this.show(photo);
      const events = await reading;
      if (this.#photoId !== photoId) return;
      for (const event of events.concat(this.#early ?? [])) this.#add(event);
      this.#early = null;
      if (this.#photo) this.#offerAgain(this.#photo);
    } catch (error) {
      if (this.#photoId === photoId) this.#failed(error);
    }
  }

  /** @param {Photo} photo the open one, as it is now */
  show(photo) {
    if (photo.photoId !== this.#photoId) return;
    this.#photo = photo;
    this.#dialog.classList.remove("unknown", "missing");
    this.#name.textContent = photo.originalFilename;
    document.title = `${photo.originalFilename} – Photolog`;
    this.#state.replaceChildren(...this.#stateOf(photo));
    this.#details.replaceChildren(...details(photo));
    this.#download.href = api.originalUrl(photo.photoId);
    this.#download.download = photo.originalFilename;
    this.#offerAgain(photo);
    this.#remove.hidden = !this.mayChange;
    this.#picture.show(photo);
  }

  /** @param {PhotoEvent} event */
  receive(event) {
    if (event.data.photoId !== this.#photoId) return;
    if (this.#early) this.#early.push(event);
    else this.#add(event);
  }

  /** @param {PhotoEvent} event */
  #add(event) {
    this.#history.add(event);
    if (event.type === "photo.processing.failed") this.#category = event.data.category;
    else if (event.type === "photo.processing.requested") this.#category = null;
    else return;
    if (!this.#photo) return;
    this.#state.replaceChildren(...this.#stateOf(this.#photo));
    this.#offerAgain(this.#photo);
  }

  /** Whether the photo failed because of the file itself, according to its history. */
  get #isOfFile() {
    return OF_THE_FILE.includes(this.#category ?? "");
  }

  /** @param {Photo} photo */
  #offerAgain(photo) {
    const isOver = !isRunning(photo);
    const isFailed = photo.processingStatus === "failed";
    const isOfUse = isOver && !(isFailed && (this.#early !== null || this.#isOfFile));
    // A hidden button would lose the focus.
    if (!isOfUse && document.activeElement === this.#again) this.#name.focus();
    this.#again.hidden = !(this.mayChange && isOfUse);
  }

  close() {
    this.#photoId = null;
    this.#photo = null;
    this.#picture.clear();
    document.title = "Photolog";
    if (this.#dialog.open) this.#dialog.close();
  }

  /** @param {Photo} photo */
  #stateOf(photo) {
    if (isRunning(photo)) {
      const words = photo.processingStatus === "queued" ? "Waiting to be processed" : "Processing";
      return [h("p", {}, words), photo.stages ? marks(photo.stages) : null].filter((one) => one !== null);
    }
    if (photo.processingStatus === "failed") {
      const reason = "The file itself is the problem: processing it again would fail the same way.";
      return [
        h("p", { class: "bad" }, `Could not be processed: ${format.plain(photo.processingError)}`),
        this.#isOfFile ? h("p", {}, reason) : null,
        h("p", {}, "The original is kept as you uploaded it."),
      ].filter((one) => one !== null);
    }
    if (photo.damaged) {
      const words = "The file is damaged: parts of the picture may be missing.";
      return [h("p", { class: "warn" }, icon("warning"), words)];
    }
    return [];
  }

  /** @param {unknown} error */
  #failed(error) {
    const gone = error instanceof api.Problem && (error.status === 404 || error.status === 410);
    if (this.#photo) {
      this.#historyNote.textContent = `The history could not be loaded. ${api.wordsOf(error)}`;
      return;
    }
    this.#name.textContent = gone ? "Photo not found" : "This photo could not be loaded";
    this.#dialog.classList.replace("unknown", "missing");
    const words = gone ? "It was deleted, or the link is wrong." : api.wordsOf(error);
    const onclick = () => this.#options.onLeave();
    const out = h("button", { type: "button", class: "button", onclick }, "Show all photos");
    this.#state.replaceChildren(h("p", {}, words), out);
  }

  #build() {
    const button = (/** @type {"close" | "previous" | "next"} */ shape, /** @type {string} */ label) =>
      h("button", { type: "button", class: `button icon-only ${shape}`, "aria-label": label }, icon(shape));
    const [previous, next, close] = [
      button("previous", "Previous photo"),
      button("next", "Next photo"),
      button("close", "Close"),
    ];
    previous.addEventListener("click", () => this.#options.onStep(-1));
    next.addEventListener("click", () => this.#options.onStep(1));
    close.addEventListener("click", () => this.#options.onLeave());
    this.#remove.addEventListener("click", () => this.#photo && this.#options.onDelete(this.#photo));
    this.#again.addEventListener("click", () => this.#askAgain());
    this.#picture.element.append(previous, next);
    this.#dialog.append(
      this.#picture.element,
      h(
        "div",
        { class: "panel" },
        h("header", { class: "panel-head" }, this.#name, close),
        this.#state,
        h("div", { class: "panel-actions" }, this.#download, this.#again, this.#remove),
        this.#details,
        h("h3", {}, "History"),
        this.#historyNote,
        this.#list,
      ),
    );
    this.#dialog.addEventListener("keydown", (event) => this.#pressed(event));
    this.#dialog.addEventListener("cancel", (event) => {
      // Close through the address, which decides what is open.
      event.preventDefault();
      this.#options.onLeave();
    });
  }

  async #askAgain() {
    if (!this.#photo) return;
    this.#again.disabled = true;
    await this.#options.onReprocess(this.#photo);
    this.#again.disabled = false;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key === "ArrowRight") this.#options.onStep(1);
    else if (event.key === "ArrowLeft") this.#options.onStep(-1);
    else return;
    event.preventDefault();
  }
}
