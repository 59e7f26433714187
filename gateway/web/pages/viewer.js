/** One photo, large, with its details and history. */

import * as api from "./api.js";
import { details } from "./details.js";
import { byId, h, icon } from "./dom.js";
import * as format from "./format.js";
import { t } from "./language.js";
import { isOfTheFile, isRunning } from "./photo.js";
import { LargePicture } from "./large-picture.js";
import { marks } from "./stages.js";
import { HistoryList } from "./history.js";
import { announce } from "./notices.js";
import { Zoom } from "./zoom.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 */

/**
 * @typedef {object} Options
 * @property {(photoId: string) => Photo | undefined} known
 * @property {(photoId: string) => Promise<Photo>} find fetches it if it is not known
 * @property {() => boolean} mayChange whether the person may change the photo
 * @property {(step: 1 | -1) => Promise<boolean>} onStep whether there was such a photo
 * @property {() => void} onLeave
 * @property {(photo: Photo) => void} onDelete
 * @property {(photo: Photo) => Promise<void>} onReprocess
 */

/** How long the slide show shows a photo. */
const SLIDE_MS = 5_000;
const STORED_PANEL = "photolog-information";

/** @returns {boolean} whether information is shown: as in the last visit, else if there is space */
function storedPanel() {
  try {
    const stored = localStorage.getItem(STORED_PANEL);
    return stored === null ? innerWidth > 860 : stored === "shown";
  } catch {
    return innerWidth > 860;
  }
}

/**
 * @param {Parameters<typeof icon>[0]} shape
 * @param {string} label
 * @param {() => void} onclick
 */
function iconButton(shape, label, onclick) {
  const props = { type: "button", class: `button icon-only ${shape}`, "aria-label": label, title: label };
  return h("button", { ...props, onclick }, icon(shape));
}

export class Viewer {
  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#build();
  }

  #options;
  #dialog = /** @type {HTMLDialogElement} */ (byId("viewer"));
  #name = h("h2", { id: "viewer-name", dir: "auto", tabIndex: -1, autofocus: true, "aria-live": "polite" });
  #state = h("div", { class: "viewer-state", "aria-live": "polite" });
  #details = h("dl", { class: "details" });
  #further = h("dl", { class: "details" });
  #smaller = h("a", { class: "button" }, icon("download"), t.viewer.downloadSmaller);
  #play = iconButton("play", t.viewer.play, () => this.#setPlaying(!this.#isPlaying));
  #info = iconButton("info", t.viewer.information, () => this.#setPanel(!this.#hasPanel));
  #close = iconButton("close", t.common.close, () => this.#options.onLeave());
  #hasPanel = true;
  #isPlaying = false;
  #isAsking = false;
  #slide = 0;
  #historyNote = h("p", { class: "problem", role: "alert" });
  #download = h("a", { class: "button" }, icon("download"), t.viewer.download);
  #again = h("button", { type: "button", class: "button" }, icon("again"), t.viewer.again);
  #remove = h("button", { type: "button", class: "button" }, icon("remove"), t.viewer.remove);
  #picture = new LargePicture();
  #zoom = new Zoom(this.#picture.element, this.#picture.canvas, {
    onSwipe: (step) => this.#step(step),
    onPullDown: () => this.#options.onLeave(),
    onScale: (scale) => this.#photo && this.#picture.sharpen(this.#photo, scale),
  });
  #list = h("ol", { class: "story", "aria-label": t.viewer.history });
  #history = new HistoryList(this.#list);
  /** The failure that ends the history. @type {{category: string} | null} */
  #failure = null;
  /** @type {string | null} */
  #photoId = null;
  /** @type {Photo | null} */
  #photo = null;
  /** Events that arrived before the history. @type {PhotoEvent[] | null} */
  #early = null;

  /** @param {string} photoId */
  async open(photoId) {
    this.#photoId = photoId;
    this.#photo = null;
    this.#failure = null;
    this.#picture.clear();
    this.#zoom.reset();
    this.#name.textContent = t.common.loading;
    this.#dialog.classList.add("unknown");
    this.#dialog.classList.remove("missing");
    const known = this.#options.known(photoId);
    if (known) this.show(known);
    if (!this.#dialog.open) {
      this.#showPanel(storedPanel());
      this.#dialog.showModal();
      if (!this.#hasPanel) this.#close.focus();
    }
    await this.reload();
  }

  /** Reload the photo and its history. */
  async reload() {
    const photoId = this.#photoId;
    if (photoId === null) return;
    this.#history.clear();
    this.#failure = null;
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
      if (!this.#photo) return;
    this.#state.replaceChildren(...this.#stateOf(this.#photo));
    this.#offerAgain(this.#photo);
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
    const { main, further } = details(photo);
    this.#details.replaceChildren(...main);
    this.#further.replaceChildren(...further);
    this.#smaller.hidden = photo.optimized === null;
    if (photo.optimized) {
      this.#smaller.href = `${photo.optimized.url}?download=true`;
      this.#smaller.download = "";
    }
    this.#download.href = api.originalUrl(photo.photoId);
    this.#download.download = photo.originalFilename;
    this.#offerAgain(photo);
    this.#remove.hidden = !this.#options.mayChange();
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
    if (event.type === "photo.processing.failed") this.#failure = event.data;
    else if (event.type === "photo.processing.requested") this.#failure = null;
    else return;
    if (!this.#photo) return;
    this.#state.replaceChildren(...this.#stateOf(this.#photo));
    this.#offerAgain(this.#photo);
  }

  /** Whether the photo failed because of the file itself, according to its history. */
  get #isOfFile() {
    return isOfTheFile(this.#failure?.category ?? null);
  }

  /** @param {Photo} photo */
  #offerAgain(photo) {
    const isOver = !isRunning(photo);
    const isFailed = photo.processingStatus === "failed";
    const isOfUse = isOver && !(isFailed && (this.#early !== null || this.#isOfFile));
    // A hidden button would lose the focus.
    if (!isOfUse && document.activeElement === this.#again) this.#name.focus();
    this.#again.hidden = !(this.#options.mayChange() && isOfUse);
  }

  close() {
    this.#photoId = null;
    this.#photo = null;
    this.#picture.clear();
    this.#setPlaying(false);
    document.title = "Photolog";
    if (this.#dialog.open) this.#dialog.close();
  }

  /** @param {Photo} photo */
  #stateOf(photo) {
    if (isRunning(photo)) {
      const words = photo.processingStatus === "queued" ? t.viewer.waiting : t.card.processing;
      return [h("p", {}, words), photo.stages ? marks(photo.stages) : null].filter((one) => one !== null);
    }
    if (photo.processingStatus === "failed") {
      return [
        h("p", { class: "bad" }, t.viewer.failed(format.failureOf(photo))),
        this.#isOfFile ? h("p", {}, t.viewer.ofTheFile) : null,
        h("p", {}, t.viewer.originalKept),
      ].filter((one) => one !== null);
    }
    if (photo.damaged) {
      return [h("p", { class: "warn" }, icon("warning"), t.viewer.damaged)];
    }
    return [];
  }

  /** @param {unknown} error */
  #failed(error) {
    const gone = error instanceof api.Problem && (error.status === 404 || error.status === 410);
    if (this.#photo) {
      this.#historyNote.textContent = t.viewer.historyNotLoaded(api.wordsOf(error));
      return;
    }
    this.#name.textContent = gone ? t.viewer.notFound : t.viewer.notLoaded;
    this.#dialog.classList.replace("unknown", "missing");
    const words = gone ? t.viewer.gone : api.wordsOf(error);
    const onclick = () => this.#options.onLeave();
    const out = h("button", { type: "button", class: "button", onclick }, t.viewer.showAll);
    this.#state.replaceChildren(h("p", {}, words), out);
  }

  #build() {
    const previous = iconButton("previous", t.viewer.previous, () => this.#step(-1));
    const next = iconButton("next", t.viewer.next, () => this.#step(1));
    this.#remove.addEventListener("click", () => this.#photo && this.#options.onDelete(this.#photo));
    this.#again.addEventListener("click", () => this.#askAgain());
    this.#picture.element.append(
      previous,
      next,
      h("div", { class: "wall-tools" }, this.#play, this.#info, this.#close),
    );
    this.#dialog.append(
      this.#picture.element,
      h(
        "div",
        { class: "panel" },
        h("header", { class: "panel-head" }, this.#name),
        this.#state,
        h("div", { class: "panel-actions" }, this.#download, this.#again, this.#remove),
        this.#details,
        h("h3", {}, t.viewer.history),
        this.#historyNote,
        this.#list,
        h("details", { class: "further" }, h("summary", {}, t.viewer.more), this.#further, this.#smaller),
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
    // A disabled button would lose the focus.
    if (!this.#photo || this.#isAsking) return;
    this.#isAsking = true;
    await this.#options.onReprocess(this.#photo).finally(() => (this.#isAsking = false));
  }

  /** @param {1 | -1} direction */
  #step(direction) {
    this.#setPlaying(false);
    return this.#move(direction);
  }

  /** @param {1 | -1} direction */
  async #move(direction) {
    const moved = await this.#options.onStep(direction);
    if (moved && !this.#hasPanel) announce(this.#name.textContent ?? "");
    return moved;
  }

  /** @param {boolean} isShown */
  #showPanel(isShown) {
    this.#hasPanel = isShown;
    // What has the focus in the panel disappears with it.
    if (!isShown && document.activeElement?.closest(".panel")) this.#info.focus();
    this.#dialog.classList.toggle("plain", !isShown);
    this.#info.setAttribute("aria-pressed", String(isShown));
  }

  /** @param {boolean} isShown as the person chose */
  #setPanel(isShown) {
    this.#showPanel(isShown);
    try {
      localStorage.setItem(STORED_PANEL, isShown ? "shown" : "hidden");
    } catch {
      // The browser keeps nothing for this page: the choice lasts until it is closed.
    }
  }

  /** @param {boolean} isPlaying the slide show */
  #setPlaying(isPlaying) {
    if (isPlaying === this.#isPlaying) return;
    this.#isPlaying = isPlaying;
    clearInterval(this.#slide);
    const label = isPlaying ? t.viewer.pause : t.viewer.play;
    this.#play.replaceChildren(icon(isPlaying ? "pause" : "play"));
    this.#play.setAttribute("aria-label", label);
    this.#play.title = label;
    this.#dialog.classList.toggle("playing", isPlaying);
    if (!isPlaying) return;
    this.#slide = setInterval(async () => {
      if (!(await this.#move(1))) this.#setPlaying(false);
    }, SLIDE_MS);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isOnControl = /** @type {Element} */ (event.target).matches("button, a, summary");
    /** @type {Record<string, () => void>} */
    const acts = {
      ArrowRight: () => this.#step(1),
      ArrowLeft: () => this.#step(-1),
      "+": () => this.#zoom.step(1),
      "=": () => this.#zoom.step(1),
      "-": () => this.#zoom.step(-1),
      0: () => this.#zoom.reset(),
      i: () => this.#setPanel(!this.#hasPanel),
    };
    if (!isOnControl) acts[" "] = () => this.#setPlaying(!this.#isPlaying);
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}
