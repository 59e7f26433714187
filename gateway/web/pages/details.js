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

/**
 * @param {Photo} photo
 * @returns {[string, string, string][]} key, name, value
 */
function rows(photo) {
  return [
    ["taken", "Taken", format.taken(photo.takenAt)],
    ["camera", "Camera", format.camera(photo.camera)],
    ["lens", "Lens", photo.camera.lens ?? ""],
    ["exposure", "Exposure", format.exposure(photo.exposure)],
    ["size", "Size", size(photo)],
    ["place", "Place", format.place(photo.gps)],
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
