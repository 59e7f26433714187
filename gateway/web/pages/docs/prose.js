/** Texts of the documents as elements: paragraphs, code, and cards that open. */

import { h } from "../dom.js";

/**
 * Return the text with what stands between backticks as code.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function inline(text) {
  return text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));
}

/**
 * Return the paragraphs of a text.
 * @param {string | undefined} text
 * @returns {HTMLElement[]}
 */
export function prose(text) {
  return (text ?? "").split(/\n\n+/).filter(Boolean).map((part) => h("p", {}, ...inline(part)));
}

/**
 * Return a block of code; a reader who uses a keyboard can scroll it.
 * @param {string} label
 * @param {string} text
 */
export function block(label, text) {
  return h("pre", { tabIndex: 0, role: "group", "aria-label": label }, h("code", {}, text));
}

/**
 * @param {string} label
 * @param {unknown} value
 */
export function json(label, value) {
  return block(label, JSON.stringify(value, null, 2));
}

/**
 * Return a card whose content is made when it is opened for the first time.
 * @param {string} id
 * @param {(Node | string)[]} head
 * @param {() => (Node | null)[]} content
 */
export function card(id, head, content) {
  const body = h("div", { class: "card-body" });
  const element = h("details", { id, class: "card" }, h("summary", {}, ...head), body);
  element.addEventListener("toggle", () => {
    if (element.open && !body.hasChildNodes()) {
      body.append(...content().filter((each) => each !== null));
    }
  });
  return element;
}

/**
 * Return a table, whose rows become blocks on a narrow screen.
 * @param {string} caption
 * @param {string[]} headings
 * @param {(Node | string)[][][]} rows the cells of each row, each a list of nodes
 */
export function table(caption, headings, rows) {
  return h(
    "table",
    {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...headings.map((each) => h("th", { scope: "col" }, each)))),
    h(
      "tbody",
      {},
      ...rows.map((row) =>
        h("tr", {}, ...row.map((cell, at) => h("td", { "data-of": headings[at] ?? "" }, ...cell))),
      ),
    ),
  );
}
