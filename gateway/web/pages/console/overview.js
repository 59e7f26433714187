/** The overview: what waits, who works, how each part is, and the alerts. */

import { ask, unreachable } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { pauseOrResume, stateCell } from "./controls.js";
import { lastHour, queues } from "./server.js";
import { by } from "./sort.js";
import { link, sparkline, table } from "./table.js";
import { moment, span, stateName, words } from "./words.js";

/**
 * @typedef {import("./server.js").Queues} Queues
 * @typedef {import("./server.js").Point} Point
 * @typedef {import("./server.js").Context} Context
 * @typedef {{partitions: {partition: number, lagMs: number}[]}} Projections
 * @typedef {{status: string, reason?: string | null} & Record<string, unknown>} Check
 * @typedef {{time: string, level: string, stage: string | null, category: string, code: string, error: string,
 *   photoIds: string[]}} Alert
 * @typedef {{name: string, state: string, retryAfterMs: number, openings: number}} Breaker
 * @typedef {{photos: number, bytes: number, jobs: number}} Usage
 * @typedef {{clientId: string, share: number, usage: Usage, limits: Usage}} QuotaUse
 */

/** How old the slowly changing parts may be: health, breakers, quotas and alerts. */
const SLOW_MS = 10_000;
/** The clients closest to a quota that are shown, and the photos of an alert. */
const FULLEST = 5;
const MOST_LINKS = 3;

/** The stage that removes files. */
const ERASURE = "erasure";

const rate = (/** @type {number | null} */ perS) => (perS === null ? null : Math.round(perS * 10) / 10);

/** @type {{at: number, checks: Record<string, Check>, alerts: Alert[], breakers: Breaker[], quotas: QuotaUse[]}} */
let slow = { at: -SLOW_MS, checks: {}, alerts: [], breakers: [], quotas: [] };

/**
 * @returns {Promise<{checks: Record<string, Check>}>} health, which answers 503 if a part is down
 * @throws {import("../api.js").Problem}
 */
async function health() {
  try {
    return await (await fetch("/health")).json();
  } catch {
    throw unreachable(); // or a proxy has answered for it
  }
}

async function lookSlowly() {
  if (performance.now() - slow.at < SLOW_MS) return slow;
  /** @type {[{checks: Record<string, Check>}, {items: Alert[]}, {items: Breaker[]}, {items: QuotaUse[]}]} */
  const [{ checks }, alerts, breakers, quotas] = await Promise.all([
    health(),
    ask("/api/ops/alerts?limit=20"),
    ask("/api/ops/breakers"),
    ask(`/api/ops/quotas?limit=${FULLEST}`),
  ]);
  slow = { at: performance.now(), checks, alerts: alerts.items, breakers: breakers.items, quotas: quotas.items };
  return slow;
}

/**
 * @param {Context} context
 * @returns {import("./server.js").View}
 */
export function overview({ mayAct, refresh }) {
  const element = h("div", { class: "overview" });
  const look = async () => {
    /** @type {[Queues, Point[], Projections, typeof slow]} */
    const [found, hour, projections, rest] = await Promise.all([
      queues(),
      lastHour(),
      ask("/api/ops/projections"),
      lookSlowly(),
    ]);
    return () =>
      element.replaceChildren(
        summary(found),
        stages(found, hour, mayAct, refresh),
        parts(rest.checks),
        breakers(rest.breakers),
        alertTable(rest.alerts, found),
        quotaTable(rest.quotas),
        workers(found),
        lanes(found),
        partitions(found, projections),
      );
  };
  return { element, look, isLive: true };
}

/** @param {Queues} found */
function summary({ time, allPaused, concurrency, logMemory }) {
  const lines = [words.updated(format.clock(time))];
  if (allPaused) lines.push(words.everythingPaused);
  if (concurrency !== null) lines.push(words.atOnce(concurrency));
  if (logMemory !== null) {
    const most = logMemory.maxBytes ? format.bytes(logMemory.maxBytes) : null;
    lines.push(words.memory(format.bytes(logMemory.usedBytes), most));
  }
  return h("ul", { class: "summary" }, ...lines.map((line) => h("li", {}, line)));
}

/**
 * @param {Queues} found
 * @param {Point[]} hour
 * @param {boolean} mayAct
 * @param {() => Promise<void>} refresh
 */
function stages(found, hour, mayAct, refresh) {
  const rows = found.stages.map((one) => [
    ...[one.stage, stateCell(one), one.waiting, one.inProgress, one.delayed, rate(one.inPerS), rate(one.outPerS)],
    one.deadLetters === 0 ? 0 : link(String(one.deadLetters), "dead-letters", { stage: one.stage }),
    sparkline(hour.map((point) => point.stages[one.stage]?.waiting ?? 0), words.lastHour(one.stage)),
    ...(mayAct && one.paused !== null ? [pauseOrResume(one.stage, one.paused, refresh)] : []),
  ]);
  const section = table(words.stages, [...words.stageHeads, ...(mayAct ? [words.actions] : [])], rows);
  if (found.stages.some(({ stage, delayed }) => stage === ERASURE && delayed > 0)) section.append(h("p", { class: "empty" }, words.delayedErasures));
  return section;
}

/** @param {Record<string, Check>} checks */
function parts(checks) {
  const rows = Object.entries(checks).map(([name, { status, reason, ...facts }]) => [
    words.partNames[name] ?? name,
    h("span", { class: `state ${status}` }, stateName(status)),
    reason || factsOf(facts) || null,
  ]);
  return table(words.parts, words.partHeads, rows);
}

/** @param {Record<string, unknown>} facts the plain ones are shown */
function factsOf(facts) {
  const shown = Object.entries(facts).filter(([, value]) => typeof value === "number" || (typeof value === "string" && value !== ""));
  return shown.map(([name, value]) => `${words.factNames[name] ?? name} ${factOf(name, value)}`).join(", ");
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function factOf(name, value) {
  if (typeof value !== "number") return String(value);
  if (/bytes/i.test(name)) return format.bytes(value);
  if (name.endsWith("Ms")) return format.duration(value);
  return name.endsWith("Percent") ? format.percent(value / 100) : format.number(value, Number.isInteger(value) ? 0 : 2);
}

/** @param {Breaker[]} breakers */
function breakers(breakers) {
  const rows = breakers.map(({ name, state, retryAfterMs, openings }) => [
    ...[name, h("span", { class: `state ${STATE_OF[state] ?? "down"}` }, stateName(state)), openings],
    by(retryAfterMs || null, retryAfterMs === 0 ? null : format.duration(retryAfterMs)),
  ]);
  return table(words.breakers, words.breakerHeads, rows);
}

/** How well a part is whose breaker has a state. @type {Record<string, string>} */
const STATE_OF = { closed: "ok", "half-open": "degraded", open: "down" };

/**
 * @param {Alert[]} alerts
 * @param {Queues} found
 */
function alertTable(alerts, found) {
  const stages = new Set(found.stages.map(({ stage }) => stage));
  const rows = alerts.map((alert) => {
    const { time, level, stage, category, error } = alert;
    return [by(time, moment(time)), level, stage, category, error, linksOf(alert, stages)];
  });
  return table(words.alerts, words.alertHeads, rows);
}

/**
 * @param {Alert} alert
 * @param {Set<string>} stages
 * @returns {Node} where to see what the alert is about
 */
function linksOf({ stage, code, photoIds }, stages) {
  /** @type {HTMLElement[]} */
  const links = photoIds.slice(0, MOST_LINKS).map((photoId) => link(photoId, "jobs", { photoId }));
  if (photoIds.length > MOST_LINKS) links.push(h("span", {}, words.more(photoIds.length - MOST_LINKS)));
  if (stage !== null && stages.has(stage)) {
    links.push(link(words.views["dead-letters"], "dead-letters", { stage, code }), link(words.openJobs, "jobs", { state: "processing" }));
  }
  return links.length === 0 ? link(words.views.system, "system") : h("span", { class: "row-actions" }, ...links);
}

/** @param {QuotaUse[]} quotas */
function quotaTable(quotas) {
  const rows = quotas.map(({ clientId, share, usage, limits }) => [
    ...[link(clientId, "jobs", { clientId }), by(share, format.percent(share))],
    ...[usedOf(usage.photos, limits.photos, (value) => format.number(value, 0)), usedOf(usage.bytes, limits.bytes, format.bytes)],
    usedOf(usage.jobs, limits.jobs, (value) => format.number(value, 0)),
  ]);
  return table(words.quotas, words.quotaHeads, rows, { empty: words.noQuotas });
}

/**
 * @param {number} used
 * @param {number} most 0: no limit
 * @param {(value: number) => string} worded
 */
function usedOf(used, most, worded) {
  return by(used, most === 0 ? worded(used) : words.usedOf(worded(used), worded(most)));
}

/** @param {Queues} found */
function workers(found) {
  const now = Date.parse(found.time);
  const rows = found.workers.flatMap(({ name, doing }) =>
    doing.length === 0
      ? [[name, words.idle, null, null]]
      : doing.map(({ stage, photoId, jobId, since }) => [
          ...[name, stage, jobId === "" ? photoId : link(photoId, "job", { id: jobId })],
          since === null ? null : by(Date.parse(since), words.ago(span(now - Date.parse(since)))),
        ]),
  );
  return table(words.workers, words.workerHeads, rows);
}

const LANES = ["high", "normal", "low"];

/** @param {import("./server.js").Lane | undefined} lane */
function laneWords(lane) {
  if (lane === undefined || lane.waiting + lane.inProgress === 0) return null;
  const oldest = lane.oldestAgeMs === null ? "" : span(lane.oldestAgeMs);
  return by(lane.waiting, words.lane(lane.waiting, lane.inProgress, lane.clients, oldest));
}

/** @param {Queues} found */
function lanes(found) {
  const rows = found.stages.map(({ stage, lanes }) => [stage, ...LANES.map((name) => laneWords(lanes[name]))]);
  return table(words.lanes, words.laneHeads, rows);
}

/**
 * @param {Queues} found
 * @param {Projections} projections
 */
function partitions(found, projections) {
  const lags = new Map(projections.partitions.map(({ partition, lagMs }) => [partition, lagMs]));
  const rows = found.partitions.map(({ partition, server, answers, toPlan, readers }) => [
    ...[partition, server, answers ? words.yes : words.no, toPlan],
    readers.map(({ name }) => name).join(", ") || words.nobody,
    by(lags.get(partition) ?? null, lags.has(partition) ? format.duration(lags.get(partition) ?? 0) : null),
  ]);
  return table(words.partitions, words.partitionHeads, rows);
}
