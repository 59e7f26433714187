/** The console's texts in the language of the page, and words for times and limits. */

import * as format from "../format.js";
import { language } from "../language.js";

const LOADERS = {
  en: () => import("../texts/console-en.js"),
  de: () => import("../texts/console-de.js"),
};

/** @type {import("../texts/console-en.js").Words} */
export const words = (await LOADERS[language]()).words;

/**
 * @param {number} ms a duration
 * @returns {string} in the unit that fits
 */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return words.seconds(seconds);
  if (seconds < 7_200) return words.minutes(Math.round(seconds / 60));
  if (seconds < 172_800) return words.hours(Math.round(seconds / 3_600));
  return words.days(Math.round(seconds / 86_400));
}

/**
 * @param {string | null} time
 * @returns {string | null} the day, if it is another one, and the time to the second
 */
export function moment(time) {
  if (time === null) return null;
  const clock = format.clock(time);
  return format.dayKey(time) === format.dayKey(new Date()) ? clock : `${format.day(time)}, ${clock}`;
}

/** @param {string} state */
export function stateName(state) {
  return words.states[state] ?? state;
}

/** @param {string} stage */
export function stageTitle(stage) {
  return stage === "all" ? words.all : stage;
}

/**
 * @typedef {{concurrency: number | null, rate: {max: number, durationMs: number} | null}} Limit
 * @param {Limit | null} limit
 */
export function limitWords(limit) {
  const parts = [];
  if (limit?.concurrency) parts.push(words.concurrency(limit.concurrency));
  if (limit?.rate) parts.push(words.rate(limit.rate.max, format.duration(limit.rate.durationMs)));
  return parts.join(", ") || words.noLimit;
}
