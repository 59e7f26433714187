/** The shapes of the operators' routes, and what the views share of their answers. */

import { ask } from "../api.js";

/**
 * @typedef {import("./words.js").Limit} Limit
 * @typedef {{waiting: number, clients: number, inProgress: number, oldestAgeMs: number | null}} Lane
 * @typedef {{stage: string, lanes: Record<string, Lane>, waiting: number, inProgress: number,
 *   delayed: number, inPerS: number | null, outPerS: number | null, paused: boolean | null,
 *   pausedUntil: string | null, state: string | null, limit: Limit | null, deadLetters: number}} Stage
 * @typedef {{stage: string, photoId: string, jobId: string, since: string | null}} Doing
 * @typedef {{name: string, silentMs: number, doing: Doing[]}} Worker
 * @typedef {{partition: number, server: string | null, answers: boolean, toPlan: number | null,
 *   readers: {name: string}[]}} Partition
 * @typedef {{time: string, allPaused: boolean | null, concurrency: number | null, stages: Stage[],
 *   workers: Worker[], partitions: Partition[],
 *   logMemory: {usedBytes: number, maxBytes: number} | null}} Queues
 * @typedef {{time: string, stages: Record<string, {waiting: number}>}} Point
 * @typedef {{filter: URLSearchParams, mayAct: boolean, clientId: string, refresh: () => Promise<void>}} Context `clientId` is who is signed in
 * @typedef {{element: HTMLElement, look: () => Promise<() => void>, isLive?: boolean}} View
 *   `look` fetches what the view shows, and returns what shows it; `isLive`: it changes with the events of the system
 */

/** Workers remove the files of deleted photos in it: its tasks can wait, but not fail. */
export const ERASURE = "erasure";

/** @returns {Promise<Queues>} */
export function queues() {
  return ask("/api/ops/queues");
}

/** How many points the server keeps: one for each ten seconds of an hour. */
const MOST_POINTS = 360;

/** The points of the last hour that were fetched so far, oldest first. @type {Point[]} */
let points = [];

/** @returns {Promise<Point[]>} the last hour, of which only the new points are fetched */
export async function lastHour() {
  const known = points.at(-1)?.time ?? "";
  /** @type {{items: Point[]}} */
  const { items } = await ask(`/api/ops/series${known && `?since=${known}`}`);
  const newest = points.at(-1)?.time ?? "";
  points = [...points, ...items.filter(({ time }) => time > newest)].slice(-MOST_POINTS);
  return points;
}

/**
 * @param {Queues} found
 * @param {string} stage or `all`
 * @returns {{waiting: number, delayed: number, running: number}} the tasks of the stage: those in its
 *   lanes, those that wait for their time, and those that a worker has begun
 */
export function countOf(found, stage) {
  const stages = found.stages.filter((one) => stage === "all" || one.stage === stage);
  const sum = (/** @type {"waiting" | "delayed" | "inProgress"} */ name) => stages.reduce((total, one) => total + one[name], 0);
  return { waiting: sum("waiting"), delayed: sum("delayed"), running: sum("inProgress") };
}

/**
 * @param {Queues} found
 * @param {string} stage or `all`
 * @returns {{waiting: number, delayed: number, running: number}} the tasks that can be cancelled
 */
export function cancellable(found, stage) {
  return countOf({ ...found, stages: found.stages.filter((one) => one.stage !== ERASURE) }, stage);
}
