/** Sort a table's rows by a click on a heading; the order survives a look, a reload and Back. */

import { h } from "../dom.js";
import { language } from "../language.js";
import { words } from "./words.js";

/**
 * @typedef {{key: string | number | null, shown: string | Node | null}} Keyed a cell that is shown
 *   in other words than it is sorted by
 * @typedef {string | number | null | Node | Keyed} Cell
 * @typedef {{at: number, down: boolean}} Order
 */

/** @param {Cell} cell @returns {cell is Keyed} */
export function isKeyed(cell) {
  return cell !== null && typeof cell === "object" && "key" in cell;
}

/**
 * @param {string | number | null} key
 * @param {string | Node | null} shown
 * @returns {Keyed}
 */
export function by(key, shown) {
  return { key, shown };
}

/** @param {string} title @returns {Order | null} how this entry of the browser's history sorts the table */
export function orderOf(title) {
  return history.state?.sorted?.[title] ?? null;
}

/**
 * @param {string} title
 * @param {Order | null} order
 */
function keepOrder(title, order) {
  history.replaceState({ ...history.state, sorted: { ...history.state?.sorted, [title]: order } }, "");
}

/** @param {Cell} cell @returns {string | number | null} */
function keyOf(cell) {
  if (isKeyed(cell)) return cell.key;
  if (cell instanceof Node) return numberIn(cell.textContent ?? "");
  return cell;
}

/** @param {string} text */
function numberIn(text) {
  return /^\d+$/.test(text) ? Number(text) : text;
}

const collator = new Intl.Collator(language, { numeric: true });

/**
 * @param {string | number | null} one
 * @param {string | number | null} other
 */
function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return collator.compare(String(one), String(other));
}

/**
 * @template {Cell[]} R
 * @param {R[]} rows
 * @param {Order | null} order
 * @returns {R[]} rows without a value come last
 */
export function sorted(rows, order) {
  if (order === null) return rows;
  const { at, down } = order;
  const keyed = rows.map((row) => ({ row, key: keyOf(row[at] ?? null) }));
  const known = keyed.filter(({ key }) => key !== null);
  known.sort((one, other) => (down ? compare(other.key, one.key) : compare(one.key, other.key)));
  return [...known, ...keyed.filter(({ key }) => key === null)].map(({ row }) => row);
}

/** @param {Cell[][]} rows @param {number} at @returns {boolean} whether the column has values, and not controls */
export function isSortable(rows, at) {
  const holds = (/** @type {Cell} */ cell) =>
    cell instanceof Element && (/^(button|input|svg)$/i.test(cell.tagName) || cell.querySelector("button, input, svg") !== null);
  return rows.length > 1 && !rows.some((row) => holds(row[at] ?? null));
}

/**
 * @param {string} title of the table
 * @param {string} text of the heading
 * @param {number} at
 * @param {boolean} isNumber numbers begin with the largest
 * @param {() => void} onOrder
 * @returns {HTMLButtonElement} each click changes the order: one way, the other way, as it was
 */
export function sortButton(title, text, at, isNumber, onOrder) {
  const next = () => {
    const order = orderOf(title);
    if (order?.at !== at) return { at, down: isNumber };
    return order.down === isNumber ? { at, down: !isNumber } : null;
  };
  const onclick = () => {
    keepOrder(title, next());
    onOrder();
  };
  return h("button", { class: "sort", type: "button", id: `sort-${title}-${at}`, title: words.sortBy(text), onclick }, text);
}

/** @param {Order | null} order @param {number} at @returns {"ascending" | "descending" | "none"} */
export function ariaSort(order, at) {
  return order?.at !== at ? "none" : order.down ? "descending" : "ascending";
}
