/** The tray of uploads: what is being uploaded, and what needs a decision, grouped by its reason. */

import { byId, h, icon } from "./dom.js";
import * as format from "./format.js";
import { t } from "./language.js";
import { SessionTotals } from "./session-totals.js";

/**
 * @typedef {import("./uploads.js").Upload} Upload
 * @typedef {string | ((count: number) => string)} Wording
 * @typedef {{title: Wording, reason: Wording, kind: string, uploads: Upload[], retry: string | null}} Group
 *   `retry` is the label of the button that uploads them again, if that may help
 */

/** Rows of a group; the others are counted. */
const ROWS = 6;
const DONE_MS = 12_000;

/**
 * @param {string} label
 * @param {() => void} onclick
 */
function smallButton(label, onclick) {
  return h("button", { type: "button", class: "button small", onclick }, label);
}

/** One upload in progress, with a preview of its file. */
class Row {
  /** @param {Upload} upload */
  constructor({ file }) {
    const preview = h("img", { class: "preview", alt: "", src: URL.createObjectURL(file) });
    // Photolog reads formats that the browser cannot show.
    preview.addEventListener("error", () => preview.classList.add("unknown"));
    this.#preview = preview;
    const words = h("div", { class: "upload-words" }, h("bdi", { class: "name" }, file.name), this.#line, this.#bar);
    this.element = h("li", { class: "upload" }, preview, words);
  }

  #preview;
  #line = h("span", { class: "line" });
  #bar = h("progress", { max: 1, value: 0, "aria-label": t.uploads.upload });

  /** @param {Upload} upload */
  show({ state, fraction }) {
    this.element.dataset.state = state;
    this.#bar.value = fraction;
    const words = fraction < 1 ? t.uploads.uploading(format.percent(fraction)) : t.uploads.waitingForServer;
    this.#line.textContent = words;
  }

  discard() {
    URL.revokeObjectURL(this.#preview.src);
    this.element.remove();
  }
}

export class Tray {
  /**
   * @param {import("./uploads.js").Uploads} uploads
   * @param {import("./upload-session.js").UploadSession} session
   * @param {object} handlers
   * @param {(photoId: string) => void} handlers.onJump
   * @param {() => boolean} handlers.isByDate whether the page shows photos by date taken
   * @param {() => void} handlers.onShow show what was added last
   * @param {() => void} handlers.onEmptied the tray had the focus, and has disappeared
   */
  constructor(uploads, session, handlers) {
    this.#uploads = uploads;
    this.#totals = new SessionTotals(session);
    this.#handlers = handlers;
    this.#sorted.append(
      h("p", { class: "reason" }, t.uploads.sortedIn),
      smallButton(t.uploads.showThem, () => {
        this.#dismissDone();
        handlers.onShow();
      }),
    );
    for (const type of ["pointerenter", "focusin"]) this.#element.addEventListener(type, () => clearTimeout(this.#leaving));
    for (const type of ["pointerleave", "focusout"]) this.#element.addEventListener(type, () => this.#leaveSoon());
    const label = { type: "button", class: "button icon-only quiet", "aria-label": t.common.close };
    this.#close = h("button", { ...label, onclick: () => this.#dismissAll() }, icon("close"));
    this.#element.append(
      h("header", { class: "tray-head" }, this.#title, this.#close),
      this.#active,
      this.#more,
      this.#totals.element,
      this.#sorted,
      this.#groups,
    );
  }

  #uploads;
  #totals;
  #handlers;
  #element = byId("tray");
  #title = h("h2", { class: "tray-title" });
  #close;
  #active = h("ul", { class: "tray-active" });
  #more = h("p", { class: "line tray-more" });
  /** Where the photos went that were uploaded. */
  #sorted = h("div", { class: "upload-group tray-sorted", hidden: true });
  #groups = h("div", { class: "tray-groups" });
  #bar = /** @type {HTMLProgressElement} */ (byId("sending-bar"));
  /** @type {Map<Upload, Row>} */
  #rows = new Map();
  #drawn = "";
  #frame = 0;
  #leaving = 0;

  /** Draw the tray with the next frame, once for any number of changes. */
  changed() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    const hadFocus = this.#element.contains(document.activeElement);
    const { open, all, fraction } = this.#uploads.progress;
    this.#bar.hidden = open === 0;
    this.#bar.value = fraction;
    const done = this.#uploads.all.filter(({ state }) => state === "done").length;
    const groups = this.#grouped();
    this.#drawActive();
    this.#drawGroups(groups);
    const words = open > 0 ? t.uploads.progress(all - open + 1, all) : "";
    const finished = done > 0 ? t.uploads.done(done) : "";
    this.#title.textContent = words || finished || t.uploads.title;
    this.#close.hidden = open > 0;
    this.#totals.show(open);
    const isWanted = open > 0 || done > 0 || groups.length > 0 || this.#totals.isWanted;
    this.#element.hidden = !isWanted;
    document.body.classList.toggle("with-tray", !this.#element.hidden);
    this.#sorted.hidden = open > 0 || done === 0 || !this.#handlers.isByDate();
    if (hadFocus) this.#keepFocus();
    this.#leaveSoon();
  }

  /** What had the focus may have disappeared: it goes to what is left, or to the photos. */
  #keepFocus() {
    const focused = document.activeElement;
    if (this.#element.contains(focused) && focused?.checkVisibility()) return;
    const left = [...this.#element.querySelectorAll("button")].find((button) => button.checkVisibility());
    if (left) left.focus({ preventScroll: true });
    else this.#handlers.onEmptied();
  }

  /** Dismiss what is done, but not while a person may be about to use it. */
  #leaveSoon() {
    clearTimeout(this.#leaving);
    const { open } = this.#uploads.progress;
    const isUsed = this.#element.matches(":hover, :focus-within");
    if (open === 0 && !isUsed) this.#leaving = setTimeout(() => this.#dismissDone(), DONE_MS);
  }

  #drawActive() {
    const sending = this.#uploads.all.filter(({ state }) => state === "sending");
    for (const [upload, row] of this.#rows) {
      if (sending.includes(upload)) continue;
      row.discard();
      this.#rows.delete(upload);
    }
    for (const upload of sending) {
      const row = this.#rows.get(upload) ?? new Row(upload);
      if (!this.#rows.has(upload)) this.#active.append(row.element);
      this.#rows.set(upload, row);
      row.show(upload);
    }
    const waiting = this.#uploads.all.filter(({ state }) => state === "waiting").length;
    this.#more.textContent = waiting > 0 ? t.uploads.waiting(waiting) : "";
    this.#more.hidden = waiting === 0;
  }

  /** @returns {Group[]} what needs a decision */
  #grouped() {
    /** @type {Map<string, Group>} */
    const groups = new Map();
    for (const upload of this.#uploads.all) {
      const group = groupOf(upload);
      if (!group) continue;
      const key = `${group.kind} ${group.reason}`;
      const known = groups.get(key) ?? { ...group, uploads: [] };
      known.uploads.push(upload);
      groups.set(key, known);
    }
    return [...groups.values()];
  }

  /** @param {Group[]} groups */
  #drawGroups(groups) {
    const drawn = JSON.stringify(groups.map(({ kind, reason, uploads }) => [kind, reason, uploads.map(({ id }) => id)]));
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#groups.replaceChildren(...groups.map((group) => this.#section(group)));
  }

  /** @param {Group} group */
  #section({ title: titleOf, reason: reasonOf, kind, uploads, retry }) {
    const [title, reason] = [titleOf, reasonOf].map((words) => (typeof words === "string" ? words : words(uploads.length)));
    const rows = uploads.slice(0, ROWS).map((upload) => this.#item(upload, uploads.length > 1));
    const more = uploads.length - rows.length;
    return h(
      "section",
      { class: "upload-group", "data-kind": kind },
      h("h3", { class: kind === "failed" ? "bad" : "" }, kind === "failed" ? icon("warning") : null, title),
      h("p", { class: "reason" }, reason),
      h("ul", { class: "upload-names" }, ...rows),
      more > 0 ? h("p", { class: "line" }, t.uploads.andMore(more)) : null,
      h(
        "div",
        { class: "group-actions" },
        retry === null ? null : smallButton(retry, () => uploads.forEach((upload) => this.#uploads.retry(upload))),
        uploads.length === 1 && uploads[0]?.state === "duplicate" ? this.#jumpButton(uploads[0]) : null,
        smallButton(uploads.length > 1 ? t.uploads.dismissAll : t.common.dismiss, () => this.#dismiss(uploads)),
      ),
    );
  }

  /** @param {Upload} upload */
  #jumpButton(upload) {
    return smallButton(t.uploads.showPhoto, () => {
      this.#dismiss([upload]);
      this.#handlers.onJump(upload.photoId ?? "");
    });
  }

  /**
   * @param {Upload} upload
   * @param {boolean} isOneOfMany
   */
  #item(upload, isOneOfMany) {
    const jump = isOneOfMany && upload.state === "duplicate" ? this.#jumpButton(upload) : null;
    const name = h("bdi", { class: "name", title: upload.file.name }, upload.file.name);
    return h("li", { class: "upload", "data-state": upload.state }, name, jump);
  }

  #dismissAll() {
    this.#totals.dismiss();
    this.#dismiss(this.#left());
    this.changed();
  }

  #left() {
    return this.#uploads.all.filter(({ state }) => state !== "sending" && state !== "waiting");
  }

  #dismissDone() {
    this.#dismiss(this.#uploads.all.filter(({ state }) => state === "done"));
  }

  /** @param {Upload[]} uploads */
  #dismiss(uploads) {
    for (const upload of [...uploads]) this.#uploads.forget(upload);
  }
}

/**
 * @param {Upload} upload
 * @returns {Omit<Group, "uploads"> | null} the group that it belongs to, if it needs a decision
 */
function groupOf({ state, problem }) {
  if (state === "held") {
    return { kind: "held", title: t.uploads.notYet, reason: t.uploads.later, retry: t.common.tryNow };
  }
  if (state === "duplicate") {
    return { kind: "duplicate", title: t.uploads.alreadyUploaded, reason: t.uploads.uploadedBefore, retry: null };
  }
  if (state === "lost") {
    return { kind: "lost", title: t.uploads.chooseAgain, reason: t.uploads.lost, retry: null };
  }
  if (state !== "failed") return null;
  const retry = problem?.mayPass ? t.common.tryAgain : null;
  return { kind: "failed", title: t.uploads.notUploaded, reason: problem?.words ?? "", retry };
}
