/** The dates by which photos are grouped: as the server dates them. */

import { dayKey } from "./format.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./timeline.js").Order} Order
 */

const TAKEN = /^\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?/;
const FIRST_MOMENT = "0000-01-01T00:00:00";

/**
 * Return when the photo was taken, local time to the millisecond; if unknown, when it was uploaded.
 * @param {Photo} photo
 */
export function dated({ takenAt, takenAtSubsecondMs, uploadedAt }) {
  const found = TAKEN.exec(takenAt ?? "")?.[0];
  if (found === undefined) return uploadedAt.slice(0, 23);
  const ms = Math.min(Math.trunc(takenAtSubsecondMs ?? 0), 999);
  return `${found}${FIRST_MOMENT.slice(found.length)}.${String(ms).padStart(3, "0")}`;
}

/**
 * @param {string} key a day
 * @returns {string} the day after it
 */
function dayAfter(key) {
  const [year = 0, month = 1, day = 1] = key.split("-").map(Number);
  const next = new Date(0);
  next.setUTCFullYear(year, month - 1, day + 1);
  return next.toISOString().slice(0, 10);
}

/**
 * Return the filters of the list that select these days.
 * @param {Order} order
 * @param {string} first the earliest day
 * @param {string} last
 * @returns {Record<string, string>}
 */
export function rangeOf(order, first, last) {
  if (order === "taken") return { takenFrom: first, takenTo: dayAfter(last) };
  const midnight = (/** @type {string} */ day) => new Date(`${day}T00:00:00`).toISOString();
  return { from: midnight(first), to: midnight(dayAfter(last)) };
}

/**
 * Return the day to which the photo belongs.
 * @param {Order} order
 * @param {Photo} photo
 */
export function keyOf(order, photo) {
  return order === "taken" ? dated(photo).slice(0, 10) : dayKey(photo.uploadedAt);
}

/**
 * Return the place of the photo in lists, which begin with the largest.
 * @param {Order} order
 * @param {Photo} photo
 */
export function rankOf(order, photo) {
  return `${order === "taken" ? dated(photo) : photo.uploadedAt} ${photo.photoId}`;
}
