/** The details of a photo, as a list of names and values. */

import { h } from "./dom.js";
import * as format from "./format.js";

/** @typedef {import("./photo.js").Photo} Photo */

/** @param {Photo} photo */
function size({ width, height }) {
  if (width === null || height === null) return "";
  const megapixels = (width * height) / 1_000_000;
  const dimensions = format.dimensions(width, height);
  return megapixels < 0.1 ? dimensions : `${dimensions} (${megapixels.toFixed(1)} megapixels)`;
}

/** @param {Photo} photo */
function file({ mimeType, fileSize }) {
  return `${mimeType.replace("image/", "").toUpperCase()}, ${format.bytes(fileSize)}`;
}

/** @type {Record<string, string>} */
const OTHER_SOURCES = { filename: "by the file name", lastModified: "by the file's last change" };

/** @param {Photo} photo */
function taken({ takenAt, takenAtSource }) {
  const source = OTHER_SOURCES[takenAtSource ?? ""];
  return [format.taken(takenAt), source].filter(Boolean).join(", ");
}

/** @param {Photo} photo */
function motion({ motionPhoto, motionVideoBytes }) {
  if (!motionPhoto) return "";
  return motionVideoBytes === null ? "Video" : `Video, ${format.bytes(motionVideoBytes)}`;
}

/** @param {Photo} photo */
function colour({ colourSpace, colourProfile, bitDepth, hdrGainMap }) {
  const depth = bitDepth === null ? null : `${bitDepth}\u00a0bits`;
  return [colourProfile ?? colourSpace, depth, hdrGainMap ? "HDR gain map" : null]
    .filter(Boolean)
    .join(", ");
}

/** @param {Photo} photo */
function raw({ raw: facts }) {
  if (!facts) return "";
  const shown = facts.rendition === "developed" ? "developed" : "shown by its embedded preview";
  return `${facts.kind}, ${shown}`;
}

/**
 * @param {Photo} photo
 * @returns {[string, string, string][]} key, name, value
 */
function rows(photo) {
  const { title, caption, keywords, rating, creator, copyright } = photo.description;
  return [
    ["title", "Title", title ?? ""],
    ["caption", "Caption", caption ?? ""],
    ["taken", "Taken", taken(photo)],
    ["camera", "Camera", format.camera(photo.camera)],
    ["lens", "Lens", photo.camera.lens ?? ""],
    ["exposure", "Exposure", format.exposure(photo.exposure)],
    ["mode", "Mode", format.mode(photo.exposure)],
    ["size", "Size", size(photo)],
    ["colour", "Colour", colour(photo)],
    ["raw", "RAW", raw(photo)],
    ["motion", "Motion", motion(photo)],
    ["place", "Place", format.place(photo.gps)],
    ["keywords", "Keywords", keywords.join(", ")],
    ["rating", "Rating", rating === null ? "" : String(rating)],
    ["creator", "Creator", creator ?? ""],
    ["copyright", "Copyright", copyright ?? ""],
    ["software", "Software", photo.software ?? ""],
    ["file", "File", file(photo)],
    ["uploaded", "Uploaded", format.moment(photo.uploadedAt)],
    ["sha256", "SHA-256", photo.sha256],
  ];
}

/**
 * @param {Photo} photo
 * @returns {HTMLElement[]} one group for each known value
 */
export function details(photo) {
  return rows(photo)
    .filter(([, , value]) => value !== "")
    .map(([key, name, value]) =>
      h("div", { "data-detail": key }, h("dt", {}, name), h("dd", {}, value)),
    );
}
