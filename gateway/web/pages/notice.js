/** Words to the person: spoken politely, or shown until they are read. */

import { bringToFront, byId, h, icon } from "./dom.js";

const GATHER_MS = 700;

/** @typedef {(subjects: string[]) => string} Sentence */

/** @type {Map<Sentence, string[]>} */
const gathered = new Map();
let timer = 0;

/** @type {Sentence} */
const asTheyAre = (texts) => texts.join(" ");

/**
 * Spoken by a screen reader. What comes close together under the same sentence is said once.
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
  const said = [...gathered].map(([sentence, subjects]) => sentence(subjects));
  gathered.clear();
  byId("announcer").textContent = said.join(" ");
}

/** What is only worth a moment stays so long, and longer while it is pointed at or has the focus. */
const PASSING_MS = 7_000;

let isPassing = false;
let leaving = 0;

/**
 * A bar at the foot of the page.
 * @param {string} text
 * @param {object} [options]
 * @param {{label: string, act: () => void}} [options.offer] what can be done about it
 * @param {boolean} [options.passing] it goes by itself, and with a click anywhere on it
 */
export function tell(text, { offer, passing = false } = {}) {
  const notice = byId("notice");
  bringToFront(notice);
  const accept = () => {
    hush();
    offer?.act();
  };
  notice.replaceChildren(
    h("p", {}, text),
    offer ? h("button", { type: "button", class: "button small", onclick: accept }, offer.label) : "",
    h("button", { class: "button icon-only", "aria-label": "Dismiss", onclick: hush }, icon("close")),
  );
  notice.hidden = false;
  isPassing = passing;
  leaveSoon();
}

export function hush() {
  stay();
  byId("notice").hidden = true;
}

/** Let a passing notice go by itself: once, when the page begins. */
export function letNoticesPass() {
  const notice = byId("notice");
  notice.addEventListener("click", () => isPassing && hush());
  for (const type of ["pointerenter", "focusin"]) notice.addEventListener(type, stay);
  for (const type of ["pointerleave", "focusout"]) notice.addEventListener(type, leaveSoon);
}

function stay() {
  clearTimeout(leaving);
}

function leaveSoon() {
  stay();
  if (isPassing) leaving = setTimeout(hush, PASSING_MS);
}

/**
 * @param {{question: string, detail: string, yes: string, no: string, harmless?: boolean}} words
 *   `harmless`: nothing is lost by a yes
 * @returns {Promise<boolean>} false too when the dialog is left with Escape
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
