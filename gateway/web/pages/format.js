/**
 * Format numbers and times. A missing value is the empty string, never a guess. A no-break space
 * joins a number and its unit.
 */

import { locale, t } from "./language.js";

/** @typedef {import("./photo.js").Photo} Photo */

const DAY = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });
const WEEKDAY = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
const MONTH = new Intl.DateTimeFormat(locale, { month: "long", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const SHORT_DAY = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
const SHORT_DATE = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });
// The camera's local time: shown unchanged in every time zone.
const CAMERA_MOMENT = new Intl.DateTimeFormat(locale, {
  dateStyle: "medium",
  timeStyle: "short",
  timeZone: "UTC",
});
const MEASURED = new Intl.NumberFormat(locale, { maximumFractionDigits: 3, useGrouping: false });
const PERCENT = new Intl.NumberFormat(locale, { style: "percent" });
const CAMERA_DAY = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" });

/**
 * Remove the backticks with which the gateway marks code in its texts.
 * @param {string | null} text
 */
export function plain(text) {
  return (text ?? "").replaceAll("`", "");
}

/**
 * @param {{code: string, error: string}} failure of a stage
 * @returns {string} in the page's language, if it knows the code, else as the server says it
 */
export function failure({ code, error }) {
  return t.failures[code] ?? plain(error);
}

/**
 * @param {{processingErrorCode: string | null, processingError: string | null}} photo
 * @returns {string} why it failed, as `failure` says it
 */
export function failureOf({ processingErrorCode, processingError }) {
  return failure({ code: processingErrorCode ?? "", error: processingError ?? "" });
}

/**
 * @param {number} value
 * @param {number} digits after the decimal sign
 */
export function number(value, digits) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale, options).format(value);
}

/** @param {number} value a measured one, with as many digits as it has */
function measured(value) {
  return MEASURED.format(value);
}

/** @param {number} fraction */
export function percent(fraction) {
  return PERCENT.format(fraction);
}

/** @param {number} size bytes; units are powers of 1000, as in the limits */
export function bytes(size) {
  if (size < 1000) return `${size}\u00a0B`;
  const units = ["kB", "MB", "GB"];
  let value = size / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${number(value, value < 10 ? 1 : 0)}\u00a0${units[unit]}`;
}

/** @param {string | Date} time */
export function moment(time) {
  return MOMENT.format(new Date(time));
}

/** @param {string | Date} time */
export function clock(time) {
  return CLOCK.format(new Date(time));
}

/**
 * Format the day as short as possible.
 * @param {string | Date} time
 */
export function day(time) {
  const date = new Date(time);
  const today = new Date();
  if (dayKey(date) === dayKey(today)) return t.common.today;
  return (date.getFullYear() === today.getFullYear() ? SHORT_DAY : SHORT_DATE).format(date);
}

/** @param {number} ms a duration */
export function duration(ms) {
  return ms < 1000 ? `${Math.round(ms)}\u00a0ms` : `${number(ms / 1000, 1)}\u00a0s`;
}

/**
 * Return the local day as a sortable key.
 * @param {string | Date} time
 */
export function dayKey(time) {
  const date = new Date(time);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** @param {string} key from `dayKey` */
export function dayName(key) {
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (key === dayKey(today)) return t.common.today;
  if (key === dayKey(yesterday)) return t.common.yesterday;
  const day = new Date(`${key}T12:00:00`);
  return (day.getFullYear() === today.getFullYear() ? WEEKDAY : DAY).format(day);
}

/** @param {string} key a day */
export function monthName(key) {
  return MONTH.format(new Date(`${key.slice(0, 7)}-15T12:00:00`));
}

/**
 * Format when the picture was taken, according to the camera.
 * @param {string | null} takenAt local, with or without an offset
 * @param {boolean} [withTime]
 */
export function taken(takenAt, withTime = true) {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d)[:\d.]*(Z|[+-]\d\d:\d\d)?$/.exec(takenAt ?? "");
  if (!match) return takenAt ?? "";
  const wall = new Date(`${match[1]}:00Z`);
  if (!withTime) return CAMERA_DAY.format(wall);
  const offset = match[2] === undefined ? "" : ` (UTC${match[2] === "Z" ? "" : match[2]})`;
  return CAMERA_MOMENT.format(wall) + offset;
}

/** @param {Photo["camera"]} camera */
export function camera(camera) {
  const make = camera.make ?? "";
  const model = camera.model ?? "";
  const [brand = ""] = make.split(" ");
  const known = make !== "" && model.toLowerCase().startsWith(brand.toLowerCase());
  return [known ? "" : make, model].filter(Boolean).join(" ");
}

/** @param {Photo["exposure"]} exposure */
export function exposure(exposure) {
  const { time, fNumber, iso, focalLength } = exposure;
  return [
    time === null ? "" : `${time}\u00a0s`,
    fNumber === null ? "" : `f/${measured(fNumber)}`,
    iso === null ? "" : `ISO\u00a0${iso}`,
    focalLength === null ? "" : `${measured(focalLength)}\u00a0mm`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/**
 * Format how the exposure was controlled.
 * @param {Photo["exposure"]} exposure
 */
export function mode({ program, meteringMode, compensationEv, flashFired, whiteBalance }) {
  const sign = (compensationEv ?? 0) > 0 ? "+" : "";
  const parts = [
    program && (t.facts.programs[program] ?? program),
    meteringMode && t.facts.metering(t.facts.meteringModes[meteringMode] ?? meteringMode),
    compensationEv ? `${sign}${measured(compensationEv)}\u00a0EV` : null,
    flashFired === null ? null : flashFired ? t.facts.flash : t.facts.noFlash,
    whiteBalance === "manual" ? t.facts.manualWhiteBalance : null,
  ];
  const text = parts.filter(Boolean).join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {Photo["gps"]} gps */
export function place(gps) {
  if (!gps) return "";
  const { latitude, longitude, altitude, directionDegrees = null } = gps;
  const degrees = (/** @type {number} */ value) => `${number(Math.abs(value), 5)}°`;
  const where = [
    `${degrees(latitude)}\u00a0${latitude < 0 ? t.facts.south : t.facts.north}`,
    `${degrees(longitude)}\u00a0${longitude < 0 ? t.facts.west : t.facts.east}`,
  ];
  if (altitude !== null) {
    const metres = Math.abs(Math.round(altitude));
    where.push(altitude < 0 ? t.facts.belowSea(metres) : t.facts.aboveSea(metres));
  }
  if (directionDegrees !== null) where.push(t.facts.facing(Math.round(directionDegrees)));
  return where.join(", ");
}

/**
 * @param {number | null} width
 * @param {number | null} height
 */
export function dimensions(width, height) {
  if (width === null || height === null) return "";
  return `${width}\u00a0×\u00a0${height}`;
}
