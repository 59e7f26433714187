/** Select photos by click, with Shift, by a long press or by day, for an action on all of them. */

import * as api from "./api.js";
import { byId, h, icon } from "./dom.js";
import { t } from "./language.js";
import { between } from "./walk.js";

const LONG_PRESS_MS = 500;
/** The most photos that Ctrl+A selects, and those of one request for them. */
const MOST = 10_000;
const PAGE = 100;

export class Selection {
  /**
   * @param {import("./grid.js").Grid} grid
   * @param {import("./timeline.js").Timeline} timeline
   * @param {object} handlers
   * @param {() => boolean} handlers.mayChange whether the person may change photos
   * @param {(photoIds: string[]) => void} handlers.onDownload
   * @param {(photoIds: string[]) => void} handlers.onReprocess
   * @param {(photoIds: string[]) => void} handlers.onDelete
   * @param {() => string | null} handlers.library the client whose photos the page shows, if it does
   * @param {(error: unknown) => void} handlers.onFailed
   */
  constructor(grid, timeline, handlers) {
    this.#grid = grid;
    this.#timeline = timeline;
    this.#handlers = handlers;
    const act = (/** @type {(photoIds: string[]) => void} */ handler) => () => handler([...this.#chosen]);
    const button = { type: "button", class: "button" };
    const { clear, download, reprocess, delete: remove, keys } = t.selection;
    this.#bar.append(
      h("button", { ...button, class: "button icon-only quiet", "aria-label": clear, "aria-keyshortcuts": "Escape", title: `${clear} (${keys.escape})`, onclick: () => this.clear() }, icon("close")),
      this.#count,
      h("button", { ...button, onclick: act(handlers.onDownload) }, icon("download"), h("span", {}, download)),
      this.#reprocess = h("button", { ...button, onclick: act(handlers.onReprocess) }, icon("again"), h("span", {}, reprocess)),
      this.#delete = h("button", { ...button, "aria-keyshortcuts": "Delete", title: `${remove} (${keys.delete})`, onclick: act(handlers.onDelete) }, icon("remove"), h("span", {}, remove)),
    );
    this.#count.title = keys.all;
    document.addEventListener("keydown", (event) => this.#pressedAnywhere(event));
    grid.element.addEventListener("click", (event) => this.#clicked(event), { capture: true });
    grid.element.addEventListener("keydown", (event) => this.#pressed(event));
    grid.element.addEventListener("pointerdown", (event) => this.#held(event));
    for (const type of ["pointerup", "pointercancel", "pointermove", "scroll"]) {
      addEventListener(type, () => clearTimeout(this.#holding), { passive: true });
    }
    grid.element.addEventListener("contextmenu", (event) => this.#wasLong && event.preventDefault());
  }

  #grid;
  #timeline;
  #handlers;
  #bar = byId("selection");
  /** What the bar of the selection covers. */
  #covered = byId("bar");
  #count = h("p", { class: "selection-count", role: "status" });
  #reprocess;
  #delete;
  /** @type {Set<string>} */
  #chosen = new Set();
  /** Where a range begins. @type {string | null} */
  #last = null;
  #holding = 0;
  #wasLong = false;
  /** Counts what was begun, so that the late pages of "all photos" are dropped. */
  #generation = 0;

  clear() {
    this.#generation += 1;
    this.#chosen.clear();
    this.#last = null;
    this.#changed();
  }

  /** @param {string} photoId that no longer exists */
  drop(photoId) {
    if (this.#chosen.delete(photoId)) this.#changed();
  }

  /** @param {import("./card.js").Card} card whose photo may have changed */
  decorate(card) {
    const isChosen = this.#chosen.has(card.element.dataset.photoId ?? "");
    card.element.classList.toggle("chosen", isChosen);
    card.pick.setAttribute("aria-checked", String(isChosen));
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const pickDay = target.closest(".pick-day");
    if (pickDay) {
      this.#toggleDay(target.closest(".day")?.getAttribute("data-day") ?? "");
      return;
    }
    const photoId = target.closest(".card")?.getAttribute("data-photo-id");
    if (!photoId || event.ctrlKey || event.metaKey) return;
    const isPick = target.closest(".pick") !== null;
    if (!isPick && this.#chosen.size === 0 && !event.shiftKey && !this.#wasLong) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.#wasLong) this.#wasLong = false;
    else if (event.shiftKey && this.#last !== null) this.#addRange(this.#last, photoId);
    else this.#toggle(photoId);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const target = /** @type {Element} */ (event.target);
    const photoId = target.closest(".card")?.getAttribute("data-photo-id");
    if (event.key !== " " || !photoId || !target.matches(".frame")) return;
    else if (event.shiftKey && this.#last !== null) this.#addRange(this.#last, photoId);
    else this.#toggle(photoId);
    event.preventDefault();
  }

  /** @param {KeyboardEvent} event anywhere on the page of photos */
  #pressedAnywhere(event) {
    const target = /** @type {Element} */ (event.target);
    const isAside = target.closest("dialog, input, textarea, select") !== null || document.querySelector("dialog[open]") !== null;
    if (event.defaultPrevented || isAside || this.#handlers.library() === null) return;
    const isPlain = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
    const isAll = event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
    if (isAll) this.#addAll();
    else if (this.#chosen.size === 0 || !isPlain) return;
    else if (event.key === "Escape") this.clear();
    else if (event.key === "Delete" && this.#handlers.mayChange()) this.#handlers.onDelete([...this.#chosen]);
    else return;
    event.preventDefault();
  }

  /** Select all photos, those that are not loaded, too: only their ids are needed. */
  async #addAll() {
    const generation = ++this.#generation;
    const clientId = this.#handlers.library();
    const before = [...this.#chosen];
    /** @type {string | null} */
    let cursor = null;
    try {
      do {
        /** @type {{items: import("./photo.js").Photo[], nextCursor: string | null}} */
        const page = await api.list({ clientId, sort: this.#timeline.order, limit: PAGE, cursor });
        if (generation !== this.#generation) return;
        for (const { photoId } of page.items) if (this.#chosen.size < MOST) this.#chosen.add(photoId);
        cursor = page.nextCursor;
        this.#changed(cursor !== null && this.#chosen.size >= MOST);
      } while (cursor !== null && this.#chosen.size < MOST);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#chosen = new Set(before);
      this.#changed();
      this.#handlers.onFailed(error);
    }
  }

  /** @param {PointerEvent} event */
  #held(event) {
    this.#wasLong = false;
    clearTimeout(this.#holding);
    const photoId = /** @type {Element} */ (event.target).closest(".card")?.getAttribute("data-photo-id");
    if (event.pointerType === "mouse" || !photoId) return;
    this.#holding = setTimeout(() => {
      this.#wasLong = true;
      this.#toggle(photoId);
    }, LONG_PRESS_MS);
  }

  /** @param {string} photoId */
  #toggle(photoId) {
    if (!this.#chosen.delete(photoId)) this.#chosen.add(photoId);
    this.#last = photoId;
    this.#changed();
  }

  /** @param {string} key */
  async #toggleDay(key) {
    const section = this.#timeline.sections.find((one) => one.key === key);
    if (!section) return;
    await this.#timeline.ensure(section, true);
    const isWhole = section.ids.every((photoId) => this.#chosen.has(photoId));
    for (const photoId of section.ids) {
      if (isWhole) this.#chosen.delete(photoId);
      else this.#chosen.add(photoId);
    }
    this.#changed();
  }

  /**
   * @param {string} from
   * @param {string} to
   */
  async #addRange(from, to) {
    for (const photoId of await between(this.#timeline, from, to)) this.#chosen.add(photoId);
    this.#last = to;
    this.#changed();
  }

  /** @param {boolean} [isFirstOnly] whether more photos match than can be selected */
  #changed(isFirstOnly = false) {
    const count = this.#chosen.size;
    const hadFocus = this.#bar.contains(document.activeElement);
    this.#bar.hidden = count === 0;
    this.#covered.inert = count > 0;
    this.#reprocess.hidden = this.#delete.hidden = !this.#handlers.mayChange();
    this.#count.textContent = count === 0 ? "" : isFirstOnly ? t.selection.first(count) : t.selection.count(count);
    document.body.classList.toggle("selecting", count > 0);
    for (const card of this.#grid.cards) this.decorate(card);
    if (count === 0 && hadFocus && this.#grid.current !== null) this.#grid.focus(this.#grid.current);
  }
}
