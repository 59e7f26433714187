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

/**
 * A bar at the foot of the page.
 * @param {string} text
 * @param {{label: string, act: () => void}} [offer] what can be done about it
 */
export function tell(text, offer) {
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
}

export function hush() {
  byId("notice").hidden = true;
}

/**
 * @param {{question: string, detail: string, yes: string, no: string}} words
 * @returns {Promise<boolean>} false too when the dialog is left with Escape
 */
export function ask({ question, detail, yes, no }) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  byId("confirm-question").textContent = question;
  byId("confirm-detail").textContent = detail;
  byId("confirm-yes").textContent = yes;
  byId("confirm-no").textContent = no;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
