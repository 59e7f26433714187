/** Messages to the person: read out by screen readers, or shown in a notice. */

import { bringToFront, byId, h, icon } from "./dom.js";
import { t } from "./language.js";

const GATHER_MS = 700;

/** @typedef {(subjects: string[]) => string} Sentence */

/** @type {Map<Sentence, string[]>} */
const gathered = new Map();
let timer = 0;

/** @type {Sentence} */
const asTheyAre = (texts) => texts.join(" ");

/**
 * Announce to screen readers. Subjects of the same sentence that arrive together are combined.
 * @param {string} subject
 * @param {Sentence} [sentence]
 */
export function announce(subject, sentence = asTheyAre) {
  bringToFront(byId("announcer"));
  gathered.set(sentence, [...(gathered.get(sentence) ?? []), subject]);
  if (timer === 0) timer = setTimeout(speak, GATHER_MS);
}

function speak() {
  timer = 0;
  const texts = [...gathered].map(([sentence, subjects]) => sentence(subjects));
  gathered.clear();
  byId("announcer").textContent = texts.join(" ");
}

/** Take back what was announced, and what is about to be. */
export function hush() {
  gathered.clear();
  clearTimeout(timer);
  speak();
}

/** How long a passing notice stays; longer while it is hovered or has the focus. */
const PASSING_MS = 7_000;
/** What may be at the bottom of the window, too. */
const BELOW = ["batch", "tray"];

let isPassing = false;
let leaving = 0;

/**
 * Show a notice at the bottom of the page.
 * @param {string} text
 * @param {object} [options]
 * @param {{label: string, act: () => void}} [options.offer] a button for it
 * @param {boolean} [options.passing] it disappears by itself, or with a click anywhere on it
 */
export function showNotice(text, { offer, passing = false } = {}) {
  const notice = byId("notice");
  bringToFront(notice);
  const accept = () => {
    hideNotice();
    offer?.act();
  };
  notice.replaceChildren(
    h("p", {}, text),
    offer ? h("button", { type: "button", class: "button small", onclick: accept }, offer.label) : "",
    h("button", { class: "button icon-only", "aria-label": t.common.dismiss, onclick: hideNotice }, icon("close")),
  );
  notice.hidden = false;
  notice.dataset.tone = passing ? "plain" : "warning";
  place();
  isPassing = passing;
  leaveSoon();
}

/** Put the notice above what else is at the bottom of the window, where that would be covered. */
function place() {
  const notice = byId("notice");
  if (notice.hidden) return;
  const { left, right } = notice.getBoundingClientRect();
  // Over an open dialog, nothing else is in the way.
  const others = notice.parentElement === document.body ? BELOW.map(byId) : [];
  const tops = others
    .map((element) => element.getBoundingClientRect())
    .filter((other) => other.height > 0 && other.left < right && left < other.right)
    .map(({ top }) => top);
  notice.style.bottom = tops.length === 0 ? "" : `${innerHeight - Math.min(...tops) + 8}px`;
}

export function hideNotice() {
  stay();
  byId("notice").hidden = true;
}

/** Keep notices in sight, and make passing ones disappear; call once, when the page starts. */
export function initNotices() {
  const notice = byId("notice");
  const moving = new ResizeObserver(place);
  for (const id of BELOW) moving.observe(byId(id));
  notice.addEventListener("click", () => isPassing && hideNotice());
  for (const type of ["pointerenter", "focusin"]) notice.addEventListener(type, stay);
  for (const type of ["pointerleave", "focusout"]) notice.addEventListener(type, leaveSoon);
}

function stay() {
  clearTimeout(leaving);
}

function leaveSoon() {
  stay();
  if (isPassing) leaving = setTimeout(hideNotice, PASSING_MS);
}

/**
 * @param {{question: string, detail: string, yes: string, no: string, harmless?: boolean}} words
 *   `harmless`: saying yes loses nothing
 * @returns {Promise<boolean>} false also if the dialog is closed with Escape
 */
export function ask({ question, detail, yes, no, harmless = false }) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  byId("confirm-question").textContent = question;
  byId("confirm-detail").textContent = detail;
  byId("confirm-yes").textContent = yes;
  byId("confirm-yes").className = `button ${harmless ? "primary" : "danger"}`;
  byId("confirm-no").textContent = no;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Answer an open question with no. */
export function cancelAsk() {
  /** @type {HTMLDialogElement} */ (byId("confirm")).close();
}
