/** The controls: pause, resume, limit, drain, and cancel what waits. */

import { ask, wordsOf } from "../api.js";
import { h } from "../dom.js";
import { actionButton, askFor, REASON, send, tell } from "./act.js";
import { backfill, showUnfinished } from "./backfill.js";
import { cancellable, countOf, ERASURE, queues } from "./server.js";
import { table } from "./table.js";
import { limitWords, moment, stageTitle, stateName, words } from "./words.js";

/**
 * @typedef {import("./server.js").Context} Context
 * @typedef {import("./server.js").Queues} Queues
 * @typedef {import("./words.js").Limit} Limit
 * @typedef {() => Promise<void>} Refresh
 */

const ALL = "all";
const MINUTE_MS = 60_000;

const path = (/** @type {string} */ stage, /** @type {string} */ action) =>
  `/api/ops/queues/${encodeURIComponent(stage)}/${action}`;

/** What goes on in this page, also while it shows another view. */
const jobs = h("div", { "aria-live": "polite" });

/**
 * @param {Context} context
 * @returns {import("./server.js").View}
 */
export function controls({ mayAct, refresh }) {
  const list = h("div");
  if (mayAct) showUnfinished(jobs);
  const look = async () => {
    const found = await queues();
    const rows = [ALL, ...found.stages.map(({ stage }) => stage)].map((stage) => row(found, stage, mayAct, refresh));
    return () => list.replaceChildren(table(words.stages, mayAct ? words.controlHeads : words.controlHeads.slice(0, -1), rows));
  };
  return { element: h("div", {}, jobs, list), look, isLive: true };
}

/**
 * @param {Queues} found
 * @param {string} stage
 * @param {boolean} mayAct
 * @param {Refresh} refresh
 */
function row(found, stage, mayAct, refresh) {
  const one = found.stages.find((each) => each.stage === stage);
  const { waiting, delayed, running } = countOf(found, stage);
  const limit = one ? one.limit : { concurrency: found.concurrency, rate: null };
  const paused = one ? one.paused : found.allPaused;
  const state = stateCell(one ?? { state: allState(found), pausedUntil: null });
  const cells = [stageTitle(stage), state, limitWords(limit), waiting, delayed, running];
  if (!mayAct || paused === null) return mayAct ? [...cells, null] : cells;
  const title = stageTitle(stage);
  const buttons = [
    pauseOrResume(stage, paused, refresh),
    actionButton(words.limit, title, () => setLimit(stage, limit, refresh)),
    actionButton(words.drain, title, () => drain(stage, refresh)),
  ];
  if (stage !== ERASURE) buttons.push(actionButton(words.cancelWaiting, title, () => cancelWaiting(stage, refresh), true));
  if (stage !== ERASURE && stage !== ALL) buttons.push(actionButton(words.backfill, title, () => backfill(stage, jobs)));
  return [...cells, h("span", { class: "row-actions" }, ...buttons)];
}

/** @param {Pick<import("./server.js").Stage, "state" | "pausedUntil">} stage */
export function stateCell({ state, pausedUntil }) {
  if (state === null) return null;
  const name = h("span", { class: `state ${state}` }, stateName(state));
  return pausedUntil === null ? name : h("span", {}, name, h("small", {}, ` ${words.until(moment(pausedUntil) ?? "")}`));
}

/** @param {Queues} found */
function allState({ allPaused }) {
  return allPaused === null ? null : allPaused ? "paused" : "running";
}

/**
 * @param {string} stage
 * @param {boolean} paused
 * @param {Refresh} refresh
 */
export function pauseOrResume(stage, paused, refresh) {
  const title = stageTitle(stage);
  return paused
    ? actionButton(words.resume, title, () => resume(stage, refresh))
    : actionButton(words.pause, title, () => pause(stage, refresh));
}

/**
 * @param {string} stage
 * @param {Refresh} refresh
 */
async function pause(stage, refresh) {
  const { waiting, running } = await countNow(stage);
  /** @type {[string, string][]} */
  const spans = [["", words.forever], ["15", words.minutes(15)], ["60", words.minutes(60)], ["240", words.hours(4)], ["1440", words.hours(24)]];
  const given = await askFor({
    title: words.question.pause(stageTitle(stage)),
    detail: words.touches.pause(waiting, running),
    yes: words.pause,
    harmless: true,
    fields: [{ name: "minutes", label: words.pauseFor, options: spans }, REASON],
  });
  if (given === null) return;
  const minutes = Number(given.minutes);
  const until = minutes > 0 ? new Date(Date.now() + minutes * MINUTE_MS).toISOString() : null;
  await steer("POST", path(stage, "pause"), { reason: given.reason, until }, refresh);
}

/**
 * @param {string} stage
 * @param {Refresh} refresh
 */
async function resume(stage, refresh) {
  const { waiting } = await countNow(stage);
  const title = words.question.resume(stageTitle(stage));
  const given = await askFor({ title, detail: words.touches.resume(waiting), yes: words.resume, harmless: true, fields: [REASON] });
  if (given !== null) await steer("POST", path(stage, "resume"), { reason: given.reason }, refresh);
}

/**
 * @param {string} stage
 * @param {Limit | null} limit
 * @param {Refresh} refresh
 */
async function setLimit(stage, limit, refresh) {
  const { waiting } = await countNow(stage);
  const value = (/** @type {number | null | undefined} */ number) => (number ? String(number) : "");
  const given = await askFor({
    title: words.question.limit(stageTitle(stage)),
    detail: `${words.touches.limit(waiting)} ${words.emptyIsNone}`,
    yes: words.limit,
    harmless: true,
    fields: [
      { name: "concurrency", label: words.perWorker, type: "number", min: 1, max: 1_000, value: value(limit?.concurrency) },
      ...(stage === ALL
        ? []
        : [
            { name: "max", label: words.rateTasks, type: /** @type {const} */ ("number"), min: 1, max: 100_000, value: value(limit?.rate?.max) },
            { name: "durationMs", label: words.ratePeriod, type: /** @type {const} */ ("number"), min: 1, max: 3_600_000, value: String(limit?.rate?.durationMs ?? 1_000) },
          ]),
      REASON,
    ],
  });
  if (given === null) return;
  const rate = given.max ? { max: Number(given.max), durationMs: Number(given.durationMs || 1_000) } : null;
  const concurrency = given.concurrency ? Number(given.concurrency) : null;
  await steer("PUT", path(stage, "limits"), { concurrency, rate, reason: given.reason }, refresh);
}

/**
 * @param {string} stage
 * @param {Refresh} refresh
 */
async function cancelWaiting(stage, refresh) {
  const { waiting, delayed } = cancellable(await queues(), stage);
  const title = words.question.cancelWaiting(stageTitle(stage));
  const touched = words.touches.cancelWaiting(waiting, delayed);
  const detail = stage === ALL ? `${touched} ${words.touches.notErasures}` : touched;
  const given = await askFor({ title, detail, yes: words.cancelWaiting, fields: [REASON] });
  if (given === null) return;
  let cancelled = 0;
  let left = Infinity;
  for (;;) {
    /** @type {{cancelled: number, remaining: number} | null} */
    const done = await send("POST", path(stage, "cancel"), { reason: given.reason });
    if (done === null) return;
    cancelled += done.cancelled;
    tell(words.cancelled(cancelled, done.remaining));
    if (done.remaining === 0 || done.remaining >= left) break;
    left = done.remaining;
  }
  await refresh();
}

/**
 * Pause a stage, and say when it is idle.
 * @param {string} stage
 * @param {Refresh} refresh
 */
async function drain(stage, refresh) {
  const { waiting, running } = await countNow(stage);
  const title = words.question.drain(stageTitle(stage));
  const given = await askFor({ title, detail: words.touches.drain(waiting, running), yes: words.drain, harmless: true, fields: [REASON] });
  if (given === null) return;
  /** @typedef {{paused: boolean, idle: boolean, running: number}} Drain */
  /** @type {Drain | null} */
  let state = await send("POST", path(stage, "drain"), { reason: given.reason });
  if (state === null) return;
  await refresh();
  const line = h("p", { class: "progress-line" });
  jobs.append(line);
  try {
    while (!state.idle && state.paused) {
      line.textContent = words.draining(stageTitle(stage), state.running);
      state = /** @type {Drain} */ (await ask(path(stage, "drain?seconds=2")));
    }
    line.textContent = state.idle ? words.drained(stageTitle(stage)) : words.notDrained(stageTitle(stage));
  } catch (error) {
    line.textContent = wordsOf(error);
  }
  await refresh();
}

/** @param {string} stage */
async function countNow(stage) {
  return countOf(await queues(), stage);
}

/**
 * @param {"POST" | "PUT"} method
 * @param {string} address
 * @param {object} body
 * @param {Refresh} refresh
 */
async function steer(method, address, body, refresh) {
  if ((await send(method, address, body)) === null) return;
  tell(words.done);
  await refresh();
}
