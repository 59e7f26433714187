/** The dead letters: grouped by reason, filtered, selected, retried and discarded. */

import { ask } from "../api.js";
import { h } from "../dom.js";
import { isOfTheFile } from "../photo.js";
import { askFor, REASON, send, tell } from "./act.js";
import { by } from "./sort.js";
import { filterForm, link, ORDER, table } from "./table.js";
import { moment, words } from "./words.js";

/**
 * @typedef {import("./server.js").Context} Context
 * @typedef {{stage: string, category: string, code: string, count: number, latestAt: string,
 *   photoId: string, jobId: string, error: string}} Group
 * @typedef {{photoId: string, jobId: string, clientId: string, stage: string, category: string,
 *   code: string, error: string, attempts: number, lastFailedAt: string}} Letter
 * @typedef {{photoId: string, outcome: string, code: string | null}} Result
 * @typedef {{results: Result[], nextCursor: string | null}} Swept
 */

const VIEW = "dead-letters";
const CATEGORIES = ["temporary", "resource", "data", "logic", "security", "configuration"];
/** The filters that the groups and the commands understand; the list also has an order and pages. */
const FILTERS = ["stage", "category", "code", "clientId", "from", "to"];
/** The most photos that one command names, and results that the page shows. */
const CHUNK = 50;
const SHOWN = 1_000;

/**
 * @param {Context} context
 * @returns {import("./server.js").View}
 */
export function letters({ filter, mayAct, refresh }) {
  const conditions = Object.fromEntries(FILTERS.flatMap((name) => (filter.get(name) ? [[name, filter.get(name) ?? ""]] : [])));
  /** @type {Set<string>} */
  const selected = new Set();
  /** @type {State} */
  const state = { all: false, matching: 0, lasting: 0, shown: [], ofTheFile: new Set() };
  const [groups, list, results, bar] = [h("div"), h("div"), h("div"), h("div", { class: "selection" })];
  const choice = { filter, selected, state, bar, results, conditions, refresh };

  const look = async () => {
    /** @type {[{items: Group[]}, {items: Letter[], nextCursor: string | null}]} */
    const [grouped, page] = await Promise.all([
      ask(`/api/ops/dead-letters/groups?${new URLSearchParams(conditions)}`),
      ask(`/api/ops/dead-letters?${filter}`),
    ]);
    const reasons = grouped.items.map(({ stage, category, code, count, latestAt, error }) => [
      ...[link(stage, VIEW, { ...conditions, stage }), category, link(code, VIEW, { ...conditions, stage, code })],
      ...[count, by(latestAt, moment(latestAt)), error],
    ]);
    const heads = mayAct ? words.letterHeads : words.letterHeads.slice(1);
    const paged = { view: VIEW, filter, nextCursor: page.nextCursor, timeAt: heads.length - 1 };
    return () => {
      state.shown = page.items.map(({ photoId }) => photoId);
      for (const { photoId } of page.items.filter(isLasting)) state.ofTheFile.add(photoId);
      state.lasting = grouped.items.filter(isLasting).reduce((sum, { count }) => sum + count, 0);
      state.matching = grouped.items.reduce((sum, { count }) => sum + count, 0);
      groups.replaceChildren(table(words.reasons, words.groupHeads, reasons));
      const rows = page.items.map((letter) => letterRow(letter, mayAct, choice));
      list.replaceChildren(table(words.letters, heads, rows, { paged }));
      if (mayAct) showSelection(choice);
    };
  };
  return { element: h("div", {}, filterForm(VIEW, fieldsOf(), filter), groups, results, bar, list), look, isLive: true };
}

/** @typedef {{all: boolean, matching: number, lasting: number, shown: string[], ofTheFile: Set<string>}} State
 *   `lasting` counts those that match whose file itself is the problem, `shown` are the photos of the page, and
 *   `ofTheFile` those known whose file itself is the problem */

/** @param {{category: string}} failure */
const isLasting = ({ category }) => isOfTheFile(category);

/** @typedef {{selected: Set<string>, state: State, bar: HTMLElement,
 *   results: HTMLElement, conditions: Record<string, string>, refresh: () => Promise<void>}} Choice */

function fieldsOf() {
  /** @type {[string, string][]} */
  const categories = [["", words.any], ...CATEGORIES.map((name) => /** @type {[string, string]} */ ([name, name]))];
  return [
    { name: "stage", label: words.stage },
    { name: "category", label: words.category, options: categories },
    { name: "code", label: words.code },
    { name: "clientId", label: words.client },
    { name: "from", label: words.from, type: "date" },
    { name: "to", label: words.to, type: "date" },
    ORDER,
  ];
}

/**
 * @param {Letter} letter
 * @param {boolean} mayAct
 * @param {Choice} choice
 */
function letterRow(letter, mayAct, choice) {
  const { selected, state } = choice;
  const box = h("input", { type: "checkbox", id: `select-${letter.photoId}`, "aria-label": words.selectPhoto(letter.photoId) });
  box.checked = state.all || selected.has(letter.photoId);
  box.disabled = state.all;
  box.addEventListener("change", () => {
    if (box.checked) selected.add(letter.photoId);
    else selected.delete(letter.photoId);
    showSelection(choice);
  });
  const cells = [
    ...[link(letter.photoId, "job", { id: letter.jobId }), link(letter.clientId, VIEW, { clientId: letter.clientId }), letter.stage],
    ...[`${letter.code}: ${letter.error}`, letter.attempts, by(letter.lastFailedAt, moment(letter.lastFailedAt))],
  ];
  return mayAct ? [box, ...cells] : cells;
}

/** @param {Choice} choice */
function showSelection(choice) {
  const { selected, state, bar, refresh } = choice;
  const all = h("input", { type: "checkbox", id: "select-all" });
  all.checked = state.all;
  all.addEventListener("change", () => {
    state.all = all.checked;
    selected.clear();
    void refresh();
  });
  const count = state.all ? state.matching : selected.size;
  const button = (/** @type {"retry" | "discard"} */ what, /** @type {string} */ kind) =>
    h("button", { class: `button ${kind}`, type: "button", id: `letters-${what}`, disabled: count === 0, onclick: () => void sweep(what, choice) }, words[what]);
  const text = state.all ? words.allSelected(count) : words.selected(count);
  const focused = document.activeElement?.id ?? "";
  bar.replaceChildren(h("label", {}, all, ` ${words.selectAll}`), h("span", {}, text), button("retry", "primary"), button("discard", "risky"));
  if (bar.querySelector(`#${CSS.escape(focused || "none")}`)) document.getElementById(focused)?.focus();
}

/**
 * Retry or discard what is selected, page by page, and show a result for each photo.
 * @param {"retry" | "discard"} what
 * @param {Choice} choice
 */
async function sweep(what, { selected, state, results, conditions, refresh }) {
  const count = state.all ? state.matching : selected.size;
  // Those that somebody else handles before their turn have a result, too.
  const expected = state.all ? [...state.shown] : [...selected];
  const lasting = state.all ? state.lasting : [...selected].filter((photoId) => state.ofTheFile.has(photoId)).length;
  const note = what === "retry" && lasting > 0 ? ` ${words.lasting(lasting)}` : "";
  const priority = { name: "priority", label: words.keepPriority, type: /** @type {const} */ ("number"), min: 1, max: 10 };
  const given = await askFor({
    title: words.letterQuestion[what](count),
    detail: words.letterDetail[what](count) + note,
    yes: words[what],
    harmless: what === "retry",
    fields: what === "retry" ? [priority, REASON] : [REASON],
  });
  if (given === null) return;
  const wish = { reason: given.reason, ...(given.priority ? { priority: Number(given.priority) } : {}) };
  /** @type {Result[]} */
  const found = [];
  for (const selection of selectionsOf(selected, state.all, conditions)) {
    /** @type {string | null} */
    let cursor = null;
    do {
      /** @type {Swept | null} */
      const done = await send("POST", `/api/ops/dead-letters/${what}`, { ...selection, ...wish, ...(cursor === null ? {} : { cursor }) });
      if (done === null) {
        showResults(what, results, found, []);
        return refresh();
      }
      found.push(...done.results);
      tell(words.progress(found.length));
      cursor = done.nextCursor;
    } while (cursor !== null);
  }
  tell(words.allSwept[what]);
  selected.clear();
  state.all = false;
  showResults(what, results, found, expected);
  await refresh();
}

/**
 * @param {"retry" | "discard"} what
 * @param {HTMLElement} results
 * @param {Result[]} found
 * @param {string[]} expected
 */
function showResults(what, results, found, expected) {
  const known = new Set(found.map(({ photoId }) => photoId));
  const gone = expected.filter((photoId) => !known.has(photoId)).map((photoId) => ({ photoId, outcome: "gone", code: null }));
  const all = [...gone, ...found];
  const rows = all.slice(0, SHOWN).map(({ photoId, outcome, code }) => [
    ...[link(photoId, "jobs", { photoId }), outcome === "done" ? words.swept[what] : words.outcomes[code ?? outcome] ?? code ?? outcome],
  ]);
  const changed = all.some(({ outcome }) => outcome !== "done");
  const left = all.length - rows.length;
  results.replaceChildren(
    table(words.results, words.resultHeads, rows),
    left > 0 ? h("p", {}, words.more(left)) : "",
    changed ? h("p", {}, words.meanwhile) : "",
  );
}

/**
 * @param {Set<string>} selected
 * @param {boolean} all
 * @param {Record<string, string>} conditions
 * @returns {object[]} what each command selects
 */
function selectionsOf(selected, all, conditions) {
  if (all) return [Object.keys(conditions).length === 0 ? { all: true } : conditions];
  const photoIds = [...selected];
  const starts = photoIds.flatMap((_, at) => (at % CHUNK === 0 ? [at] : []));
  return starts.map((start) => ({ photoIds: photoIds.slice(start, start + CHUNK) }));
}
