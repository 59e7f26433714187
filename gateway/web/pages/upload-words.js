/** Tell screen readers how the uploads go. */

import { t } from "./language.js";
import { announce } from "./notices.js";

/**
 * @typedef {import("./uploads.js").Upload} Upload
 * @typedef {import("./notices.js").Sentence} Sentence
 */

/** @type {Sentence} */
const begun = (names) => t.uploads.begun(names.length);
/** @type {Sentence} */
const held = (names) => t.uploads.held(names.length);
/** @type {Sentence} */
const known = (names) => t.uploads.known(names.length);

/** The state that was announced last. @type {WeakMap<Upload, Upload["state"]>} */
const announced = new WeakMap();

/** @param {Upload} upload that has changed */
export function announceUpload(upload) {
  const { file, state, attempts, problem } = upload;
  if (announced.get(upload) === state) return;
  announced.set(upload, state);
  if (state === "sending" && attempts === 1) announce(file.name, begun);
  if (state === "failed") announce(t.uploads.failed(file.name, problem?.words ?? ""));
  if (state === "held") announce(file.name, held);
  if (state === "duplicate") announce(file.name, known);
}
