/** The list of jobs, and the story of one of them as a waterfall. */

import { ask } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { actionButton, askFor, copyButton, REASON, send, tell } from "./act.js";
import { by } from "./sort.js";
import { facts, filterForm, link, ORDER, svg, table } from "./table.js";
import { moment, stateName, words } from "./words.js";

/**
 * @typedef {import("./server.js").Context} Context
 * @typedef {import("./server.js").View} View
 * @typedef {{stage: string, code: string, message: string}} JobError
 * @typedef {{jobId: string, photoId: string, clientId: string, sessionId: string | null, traceId: string,
 *   pipeline: string, priority: number, status: string, error: JobError | null, createdAt: string,
 *   startedAt: string | null, completedAt: string | null}} Job
 * @typedef {{stage: string, attempt: number, queuedAt: string | null, dueAt: string | null,
 *   startedAt: string | null, endedAt: string | null, durationMs: number | null,
 *   outcome: string | null, error: string | null, nextAt: string | null}} Attempt
 */

/**
 * @param {Context} context
 * @returns {View}
 */
export function jobs({ filter }) {
  const list = h("div");
  const fields = [
    ...["photo", "client", "session", "trace"].map((name) => ({
      name: `${name}Id`,
      label: words[/** @type {"photo"} */ (name)],
    })),
    { name: "state", label: words.state, options: optionsOf(["queued", "processing", "completed", "failed"]) },
    { name: "from", label: words.from, type: "date" },
    { name: "to", label: words.to, type: "date" },
    ORDER,
  ];
  const look = async () => {
    /** @type {{items: Job[], nextCursor: string | null}} */
    const { items, nextCursor } = await ask(`/api/ops/jobs?${filter}`);
    const rows = items.map((job) => [
      ...[by(job.createdAt, moment(job.createdAt)), state(job.status), link(job.clientId, "jobs", { clientId: job.clientId })],
      ...[job.priority, link(job.jobId, "job", { id: job.jobId })],
    ]);
    return () => list.replaceChildren(table(words.newestJobs, words.jobHeads, rows, { paged: { view: "jobs", filter, nextCursor, timeAt: 0 } }));
  };
  return { element: h("div", {}, filterForm("jobs", fields, filter), list), look, isLive: true };
}

/** @param {string} status */
function state(status) {
  return h("span", { class: `state ${status}` }, stateName(status));
}

/**
 * @param {string[]} names
 * @returns {[string, string][]}
 */
function optionsOf(names) {
  return [["", words.any], ...names.map((name) => /** @type {[string, string]} */ ([name, stateName(name)]))];
}

/**
 * @param {Context} context
 * @returns {View}
 */
export function oneJob({ filter, mayAct, refresh }) {
  const jobId = filter.get("id") ?? "";
  const body = h("div");
  const look = async () => {
    /** @type {{job: Job, attempts: Attempt[]}} */
    const { job, attempts } = await ask(`/api/ops/jobs/${encodeURIComponent(jobId)}`);
    return () =>
      body.replaceChildren(
        facts(factsOf(job)),
        mayAct ? actions(job, attempts, refresh) : "",
        waterfall(job, attempts),
        table(words.attempts, words.attemptHeads, attempts.map(attemptRow)),
      );
  };
  return { element: h("div", {}, h("p", { class: "id" }, `${words.job} `, h("code", {}, jobId)), body), look, isLive: true };
}

/**
 * @param {Job} job
 * @returns {[string, Node | string | null][]}
 */
function factsOf(job) {
  return [
    [words.jobFacts.status, state(job.status)],
    [words.photo, h("a", { href: `/#photo/${job.photoId}` }, job.photoId)],
    [words.client, link(job.clientId, "jobs", { clientId: job.clientId })],
    [words.session, job.sessionId === null ? null : link(job.sessionId, "jobs", { sessionId: job.sessionId })],
    [words.trace, h("span", { class: "trace" }, link(job.traceId, "jobs", { traceId: job.traceId }), copyButton("copy-trace", job.traceId))],
    [words.jobFacts.pipeline, job.pipeline],
    [words.jobFacts.priority, String(job.priority)],
    [words.jobFacts.created, moment(job.createdAt)],
    [words.jobFacts.began, moment(job.startedAt)],
    [words.jobFacts.ended, moment(job.completedAt)],
    [words.jobFacts.error, job.error === null ? null : `${job.error.stage}: ${job.error.message} (${job.error.code})`],
  ];
}

/**
 * @param {Job} job
 * @param {Attempt[]} attempts
 * @param {() => Promise<void>} refresh
 */
function actions(job, attempts, refresh) {
  const path = `/api/ops/jobs/${encodeURIComponent(job.jobId)}`;
  const about = job.jobId;
  const ended = ["completed", "failed"].includes(job.status);
  const last = attempts.at(-1);
  const buttons = [];
  if (!ended && last?.dueAt && last.outcome === null) {
    buttons.push(actionButton(words.runNow, about, () => runNow(path, refresh)));
  }
  if (job.status === "failed") buttons.push(actionButton(words.retry, about, () => retry(path)));
  if (!ended) {
    buttons.push(
      actionButton(words.prioritize, about, () => prioritize(path, job, refresh)),
      actionButton(words.cancelJob, about, () => cancel(path, refresh), true),
    );
  }
  return h("p", { class: "row-actions" }, ...buttons);
}

/**
 * @param {string} path
 * @param {() => Promise<void>} refresh
 */
async function runNow(path, refresh) {
  const given = await askFor({ title: words.jobQuestion.runNow, detail: words.oneJob, yes: words.runNow, harmless: true, fields: [REASON] });
  if (given === null) return;
  /** @type {{moved: number} | null} */
  const done = await send("POST", `${path}/run-now`, { reason: given.reason });
  if (done !== null) tell(words.jobDone.runNow(done.moved));
  await refresh();
}

/** @param {string} path */
async function retry(path) {
  const given = await askFor({ title: words.jobQuestion.retry, detail: words.oneJob, yes: words.retry, harmless: true, fields: [REASON] });
  if (given === null) return;
  /** @type {{jobId: string, position: string | null} | null} */
  const done = await send("POST", `${path}/retry`, { reason: given.reason });
  if (done === null) return;
  tell(words.jobDone.retry);
  const id = encodeURIComponent(done.jobId);
  // Wait until the read model has the new job.
  if (done.position !== null) await ask(`/api/ops/jobs/${id}?after=${encodeURIComponent(done.position)}`);
  location.hash = `#job?id=${id}`;
}

/**
 * @param {string} path
 * @param {() => Promise<void>} refresh
 */
async function cancel(path, refresh) {
  const given = await askFor({ title: words.jobQuestion.cancelJob, detail: words.oneJob, yes: words.cancelJob, fields: [REASON] });
  if (given === null) return;
  /** @type {{cancelled: boolean} | null} */
  const done = await send("POST", `${path}/cancel`, { reason: given.reason });
  if (done !== null) tell(done.cancelled ? words.jobDone.cancelled : words.jobDone.notCancelled);
  await refresh();
}

/**
 * @param {string} path
 * @param {Job} job
 * @param {() => Promise<void>} refresh
 */
async function prioritize(path, job, refresh) {
  const given = await askFor({
    title: words.jobQuestion.prioritize,
    detail: words.oneJob,
    yes: words.prioritize,
    harmless: true,
    fields: [{ name: "priority", label: words.priority, type: "number", min: 1, max: 10, value: String(job.priority), required: true }, REASON],
  });
  if (given === null) return;
  /** @type {{moved: number, complete: boolean} | null} */
  const done = await send("PUT", `${path}/priority`, { priority: Number(given.priority), reason: given.reason });
  if (done !== null) tell([words.jobDone.prioritized(done.moved), done.complete ? "" : words.jobDone.incomplete].join(" ").trim());
  await refresh();
}

/** @param {Attempt} attempt */
function attemptRow(attempt) {
  const outcome = stateName(attempt.outcome ?? words.notEnded);
  const next = attempt.nextAt === null ? "" : words.nextAt(moment(attempt.nextAt) ?? "");
  return [
    ...[attempt.stage, attempt.attempt, by(attempt.queuedAt, moment(attempt.queuedAt))],
    by(attempt.startedAt, moment(attempt.startedAt)),
    by(attempt.durationMs, attempt.durationMs === null ? null : format.duration(attempt.durationMs)),
    [outcome, attempt.error, next].filter(Boolean).join(" · "),
  ];
}

const WIDE = 1_000;
const ROW = 26;

/**
 * @param {Job} job
 * @param {Attempt[]} attempts
 * @returns {HTMLElement} a bar for each attempt: queued, waiting for its time, running
 */
function waterfall(job, attempts) {
  const ms = (/** @type {string | null} */ time) => (time === null ? null : Date.parse(time));
  const begin = Date.parse(job.createdAt);
  const known = attempts.flatMap(({ startedAt, endedAt, nextAt }) => [ms(startedAt), ms(endedAt), ms(nextAt)]);
  const open = attempts.some(({ outcome }) => outcome === null) && job.completedAt === null;
  const end = Math.max(begin + 1, ms(job.completedAt) ?? 0, open ? Date.now() : 0, ...known.map((time) => time ?? 0));
  const x = (/** @type {number} */ time) => ((time - begin) * WIDE) / (end - begin);
  const bars = attempts.flatMap((one, row) => {
    const queued = ms(one.queuedAt) ?? begin;
    const ended = ms(one.endedAt) ?? Math.min(end, Math.max(Date.now(), queued));
    const began = ms(one.startedAt) ?? (one.endedAt === null ? null : ended);
    const due = Math.min(ms(one.dueAt) ?? queued, began ?? end);
    /** @type {[string, number, number][]} */
    const parts = [
      ["delayed", queued, due],
      ["waiting", due, began ?? ended],
    ];
    if (began !== null) parts.push([one.outcome === "failed" || one.outcome === "retrying" ? "failed" : "running", began, ended]);
    return parts
      .filter(([kind, from, to]) => to > from || ["failed", "running"].includes(kind))
      .map(([kind, from, to]) => svg("rect", { class: kind, x: x(from), y: row * ROW + 5, height: ROW - 10, width: Math.max(3, x(to) - x(from)) }));
  });
  const names = attempts.map(({ stage, attempt }) => h("li", {}, attempt > 1 ? `${stage} ${attempt}` : stage));
  const height = Math.max(1, attempts.length) * ROW;
  const attributes = { viewBox: `0 0 ${WIDE} ${height}`, height, preserveAspectRatio: "none", role: "img", "aria-label": words.waterfall };
  const legend = Object.entries(words.legend).map(([kind, text]) => h("li", { class: kind }, text));
  return h(
    "div",
    { class: "waterfall" },
    h("div", { class: "waterfall-rows" }, h("ul", { "aria-hidden": "true" }, ...names), svg("svg", attributes, ...bars)),
    h("p", { class: "scale" }, h("span", {}, moment(job.createdAt)), h("span", {}, `+ ${format.duration(end - begin)}`)),
    h("ul", { class: "legend" }, ...legend),
  );
}
