/** Ask an operator before a change, and send it. */

import { change, wordsOf } from "../api.js";
import { byId, h } from "../dom.js";
import { words } from "./words.js";

/**
 * @typedef {{name: string, label: string, type?: "text" | "number", min?: number, max?: number,
 *   value?: string, required?: boolean, help?: string, longest?: number, options?: [string, string][]}} Question
 */

/** @type {Question} */
export const REASON = { name: "reason", label: words.reason, required: true, help: words.reasonHelp };

/** @param {string} text shown, and read out by screen readers */
export function tell(text) {
  byId("notice").textContent = text;
}

/**
 * @param {object} about
 * @param {string} about.title the question
 * @param {string} about.detail what it touches
 * @param {string} about.yes
 * @param {boolean} [about.harmless] saying yes loses nothing
 * @param {Node} [about.shown] what else the dialog shows
 * @param {Question[]} about.fields none: there is nothing to decide but yes or no
 * @returns {Promise<Record<string, string> | null>} the values; null if the person decides against it
 */
export function askFor({ title, detail, yes, harmless = false, shown, fields }) {
  const form = h("form", { method: "dialog" }, h("h2", { id: "ask-title" }, title), h("p", { id: "ask-detail" }, detail), shown, ...fields.map(input));
  const no = h("button", { class: "button", type: "button", onclick: () => dialog.close() }, words.cancel);
  const go = h("button", { class: `button ${harmless ? "primary" : "danger"}`, value: "yes" }, yes);
  form.append(h("div", { class: "confirm-actions" }, no, go));
  const dialog = h("dialog", { class: "confirm", "aria-labelledby": "ask-title", "aria-describedby": "ask-detail" }, form);
  document.body.append(dialog);
  const before = document.activeElement?.id ?? "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]));
      dialog.remove();
      // The browser returns the focus itself, unless the button was replaced in the meantime.
      if (document.activeElement === document.body) document.getElementById(before)?.focus({ preventScroll: true });
      resolve(dialog.returnValue === "yes" ? given : null);
    });
  });
}

/** @param {Question} question */
function input({ name, label, type = "text", min, max, value = "", required = false, help, longest = 500, options }) {
  /** @type {Record<string, string | number>} */
  const limits = type === "number" ? { min: String(min ?? ""), max: String(max ?? "") } : { maxLength: longest };
  const field = options
    ? h("select", { name }, ...options.map(([key, text]) => new Option(text, key, false, key === value)))
    : h("input", { name, type, value, required, autocomplete: "off", ...limits });
  return h("label", { class: "ask-field" }, h("span", {}, required ? `${label} (${words.required})` : label), field, help ? h("small", {}, help) : null);
}

/**
 * Send a change and show what came of it.
 * @template T
 * @param {"POST" | "PUT"} method
 * @param {string} path
 * @param {object | undefined} body
 * @returns {Promise<T | null>} the answer; null after an error, which is shown
 */
export async function send(method, path, body) {
  try {
    return await change(method, path, body);
  } catch (error) {
    tell(wordsOf(error));
    return null;
  }
}

/**
 * @param {string} label
 * @param {string} about what the button acts on, for screen readers
 * @param {() => Promise<void>} act
 * @param {boolean} [danger]
 */
export function actionButton(label, about, act, danger = false) {
  const id = `act-${label}-${about}`.replaceAll(/[^\w-]+/g, "-");
  const props = { class: `button small${danger ? " risky" : ""}`, type: "button", id, "aria-label": `${label} ${about}` };
  const onclick = () => void act().catch((error) => tell(wordsOf(error)));
  return h("button", { ...props, onclick }, label);
}

/**
 * @param {string} id
 * @param {string} text that a click copies
 */
export function copyButton(id, text) {
  const onclick = async () => {
    try {
      // Pages without TLS have no clipboard.
      await navigator.clipboard.writeText(text);
      tell(words.copied);
    } catch {
      tell(words.notCopied);
    }
  };
  return h("button", { class: "button small", type: "button", id, onclick: () => void onclick() }, words.copy);
}
