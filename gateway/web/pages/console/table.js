/** Build the console's tables, lists of facts, filters and sparklines. */

import { h } from "../dom.js";
import { fill } from "../language.js";
import { ariaSort, isKeyed, isSortable, orderOf, sortButton, sorted } from "./sort.js";
import { words } from "./words.js";

/**
 * @typedef {import("./sort.js").Cell} Cell
 * @typedef {{view: string, filter: URLSearchParams, nextCursor: string | null, timeAt?: number}} Paged
 *   a table that shows one page of a list; the server sorts the whole list by the column `timeAt`
 */

/**
 * @param {string} title also the name of the table's region
 * @param {string[]} heads
 * @param {Cell[][]} rows numbers are aligned at their end; null shows a dash
 * @param {object} [more]
 * @param {string} [more.empty] shown without rows
 * @param {Paged} [more.paged]
 * @returns {HTMLElement} on a narrow screen, each row becomes a card with the heads as labels
 */
export function table(title, heads, rows, { empty = words.none, paged } = {}) {
  // The roles are said because styles for narrow screens take them away.
  const kind = (/** @type {number} */ at) => (rows.some((cells) => typeof cells[at] === "number") ? "number" : "words");
  const columns = heads.map((text, at) => {
    const isNumber = kind(at) === "number";
    const isTime = paged?.timeAt === at;
    const button = isTime && paged ? timeButton(text, paged) : isSortable(rows, at) ? sortButton(title, text, at, isNumber, () => arrange()) : text;
    return h("th", { scope: "col", role: "columnheader", class: kind(at) }, button);
  });
  const body = h("tbody", { role: "rowgroup" });
  const elements = new Map(rows.map((cells) => [cells, h("tr", { role: "row" }, ...cells.map((cell, at) => cellOf(cell, heads[at] ?? "", kind(at))))]));
  const note = h("p", { class: "empty", hidden: true }, words.sortedPage);
  const arrange = () => {
    const order = orderOf(title);
    for (const [at, column] of columns.entries()) {
      const isTime = paged?.timeAt === at && order === null;
      const direction = isTime ? (paged?.filter.get("sort") === "oldest" ? "ascending" : "descending") : ariaSort(order, at);
      if (direction === "none") column.removeAttribute("aria-sort");
      else column.setAttribute("aria-sort", direction);
    }
    body.append(...sorted(rows, order).map((cells) => elements.get(cells) ?? ""));
    note.hidden = order === null || !(paged?.nextCursor || paged?.filter.has("cursor"));
  };
  arrange();
  const head = h("tr", { role: "row" }, ...columns);
  const region = { class: "scroll", tabIndex: 0, id: `table-${title}`, role: "region", "aria-label": title };
  return h(
    "section",
    {},
    h("h2", {}, title),
    rows.length === 0
      ? noRows(empty)
      : h("div", region, h("table", { role: "table" }, h("thead", { role: "rowgroup" }, head), body)),
    note,
    paged ? pager(paged) : null,
  );
}

/** @param {string} words with commands between backticks */
function noRows(words) {
  const element = h("p", { class: "empty" });
  fill(element, words);
  return element;
}

/**
 * @param {string} text
 * @param {Paged} paged
 * @returns {HTMLAnchorElement} sorts the whole list by time, the other way round
 */
function timeButton(text, { view, filter }) {
  const others = Object.fromEntries([...filter].filter(([name]) => name !== "cursor" && name !== "sort"));
  const sorting = link(text, view, filter.get("sort") === "oldest" ? others : { ...others, sort: "oldest" });
  sorting.className = "sort";
  sorting.id = `sort-${view}-time`;
  sorting.title = words.sortBy(text);
  return sorting;
}

/**
 * @param {Cell} cell
 * @param {string} head
 * @param {string} kind of the column
 */
function cellOf(cell, head, kind) {
  const shown = isKeyed(cell) ? cell.shown : cell;
  const isNumber = (shown === null && kind === "number") || typeof shown === "number" || (shown instanceof HTMLAnchorElement && /^\d+$/.test(shown.text));
  const props = { role: "cell", class: isNumber ? "number" : "words", "data-head": head };
  return h("td", props, h("span", {}, shown instanceof Node ? shown : shown === null ? "–" : String(shown)));
}

/**
 * @param {[string, Node | string | null][]} rows names and values; those without a value are left out
 * @returns {HTMLElement}
 */
export function facts(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== "");
  return h("dl", { class: "facts" }, ...shown.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/**
 * @param {string} text
 * @param {string} view
 * @param {Record<string, string>} filter
 */
export function link(text, view, filter = {}) {
  const query = new URLSearchParams(filter).toString();
  return h("a", { href: `#${view}${query === "" ? "" : `?${query}`}` }, text);
}

/**
 * @typedef {{name: string, label: string, type?: string, options?: [string, string][]}} Field
 */

/** @type {Field} the order of a list by time */
export const ORDER = { name: "sort", label: words.order, options: [["", words.orders.newest], ["oldest", words.orders.oldest]] };

/**
 * @param {string} view whose address gets the filters
 * @param {Field[]} fields
 * @param {URLSearchParams} filter the current values
 * @returns {HTMLElement}
 */
export function filterForm(view, fields, filter) {
  const inputs = fields.map(({ name, label, type = "text", options }) => {
    const input = options
      ? h("select", { name }, ...options.map(([value, text]) => new Option(text, value, false, value === filter.get(name))))
      : h("input", { name, type, value: filter.get(name) ?? "", autocomplete: "off", spellcheck: false });
    return h("label", {}, h("span", {}, label), input);
  });
  const form = h(
    "form",
    { class: "filters", "aria-label": words.filters },
    ...inputs,
    h("div", { class: "filter-actions" }, h("button", { class: "button primary" }, words.show), h("a", { class: "button quiet", href: `#${view}` }, words.clear)),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = [...new FormData(form)].map(([name, value]) => [name, String(value).trim()]);
    location.hash = `#${view}?${new URLSearchParams(given.filter(([, value]) => value !== ""))}`;
  });
  return form;
}

/**
 * @param {Paged} paged
 * @returns {HTMLElement | null} links to the next page, and back to the first one
 */
function pager({ view, filter, nextCursor }) {
  const first = Object.fromEntries([...filter].filter(([name]) => name !== "cursor"));
  const isFirst = !filter.has("cursor");
  if (isFirst && nextCursor === null) return null;
  return h(
    "p",
    { class: "pager" },
    isFirst ? null : link(words.firstPage, view, first),
    nextCursor === null ? null : link(words.nextPage, view, { ...first, cursor: nextCursor }),
  );
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 */
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * @param {number[]} values oldest first
 * @param {string} label
 * @returns {Element} a line from 0 to the largest value
 */
export function sparkline(values, label) {
  const top = Math.max(1, ...values);
  const step = 120 / Math.max(1, values.length - 1);
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${(19 - (18 * value) / top).toFixed(1)}`);
  const attributes = { viewBox: "0 0 120 20", class: "spark", role: "img", "aria-label": label };
  return svg("svg", attributes, svg("polyline", { points: points.join(" ") }));
}
