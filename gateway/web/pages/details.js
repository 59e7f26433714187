/** The details of a photo, as a list of names and values. */

import { h } from "./dom.js";
import * as format from "./format.js";
import { t } from "./language.js";

/** @typedef {import("./photo.js").Photo} Photo */

/** @param {Photo} photo */
function size({ width, height }) {
  if (width === null || height === null) return "";
  const megapixels = (width * height) / 1_000_000;
  const dimensions = format.dimensions(width, height);
  return megapixels < 0.1 ? dimensions : `${dimensions} (${t.facts.megapixels(format.number(megapixels, 1))})`;
}

/** @param {Photo} photo */
function file({ mimeType, fileSize, raw }) {
  // A RAW file begins like a TIFF, and is known to be none only once it was read.
  const kind = raw?.kind ?? mimeType.replace("image/", "").toUpperCase();
  return `${kind}, ${format.bytes(fileSize)}`;
}

/** @type {Record<string, string>} */
const OTHER_SOURCES = t.facts.sources;

/** @param {Photo} photo */
function taken({ takenAt, takenAtSource }) {
  const source = OTHER_SOURCES[takenAtSource ?? ""];
  return [format.taken(takenAt), source].filter(Boolean).join(", ");
}

/** @param {Photo} photo */
function motion({ motionPhoto, motionVideoBytes }) {
  if (!motionPhoto) return "";
  return motionVideoBytes === null ? t.facts.video : `${t.facts.video}, ${format.bytes(motionVideoBytes)}`;
}

/** @param {Photo} photo */
function colour({ colourSpace, colourProfile, bitDepth, hdrGainMap }) {
  const depth = bitDepth === null ? null : t.facts.bits(bitDepth);
  return [colourProfile ?? colourSpace, depth, hdrGainMap ? t.facts.gainMap : null]
    .filter(Boolean)
    .join(", ");
}

/** @param {Photo} photo */
function raw({ raw: facts }) {
  if (!facts) return "";
  const shown = facts.rendition === "developed" ? t.facts.developed : t.facts.preview;
  return `${facts.kind}, ${shown}`;
}

/**
 * @param {Photo} photo
 * @returns {[keyof typeof t.details, string][]} name and value
 */
function rows(photo) {
  const { title, caption, keywords, rating, creator, copyright } = photo.description;
  return [
    ["title", title ?? ""],
    ["caption", caption ?? ""],
    ["taken", taken(photo)],
    ["camera", format.camera(photo.camera)],
    ["lens", photo.camera.lens ?? ""],
    ["exposure", format.exposure(photo.exposure)],
    ["mode", format.mode(photo.exposure)],
    ["size", size(photo)],
    ["colour", colour(photo)],
    ["raw", raw(photo)],
    ["motion", motion(photo)],
    ["place", format.place(photo.gps)],
    ["keywords", keywords.join(", ")],
    ["rating", rating === null ? "" : String(rating)],
    ["creator", creator ?? ""],
    ["copyright", copyright ?? ""],
    ["software", photo.software ?? ""],
    ["file", file(photo)],
    ["uploaded", format.moment(photo.uploadedAt)],
    ["sha256", photo.sha256],
  ];
}

/** What few people look for. @type {(keyof typeof t.details)[]} */
const FURTHER = ["mode", "colour", "raw", "motion", "software", "sha256"];

/**
 * @param {Photo} photo
 * @param {string} text
 */
function mapLink({ gps }, text) {
  if (!gps) return text;
  const { latitude, longitude } = gps;
  const href = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=14/${latitude}/${longitude}`;
  const props = { href, target: "_blank", rel: "noopener noreferrer", title: t.viewer.showOnMap };
  return h("a", props, text);
}

/**
 * @param {Photo} photo
 * @returns {{main: HTMLElement[], further: HTMLElement[]}} one group for each known value
 */
export function details(photo) {
  /** @type {{main: HTMLElement[], further: HTMLElement[]}} */
  const found = { main: [], further: [] };
  for (const [name, value] of rows(photo)) {
    if (value === "") continue;
    const shown = name === "place" ? mapLink(photo, value) : value;
    const group = h("div", { "data-detail": name }, h("dt", {}, t.details[name]), h("dd", { dir: "auto" }, shown));
    (FURTHER.includes(name) ? found.further : found.main).push(group);
  }
  return found;
}
