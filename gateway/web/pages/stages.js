/** Show the stages of processing as small marks, each with its text. */

import { h } from "./dom.js";
import { STAGES } from "./photo.js";

/** @typedef {import("./photo.js").StageState} StageState */

/** @type {Record<string, string>} */
const NAMES = {
  validation: "Validation",
  metadata: "Metadata",
  thumbnails: "Thumbnails",
  placeholder: "Placeholder",
  optimization: "Optimization",
};

/** @type {Record<StageState, string>} */
const WORDS = {
  queued: "waiting",
  completed: "done",
  retrying: "failed, will be retried",
  failed: "failed",
};

/** @param {string} stage */
export function stageName(stage) {
  return NAMES[stage] ?? stage.charAt(0).toUpperCase() + stage.slice(1).replaceAll("_", " ");
}

/** @param {Record<string, StageState>} stages */
export function marks(stages) {
  const known = STAGES.filter((stage) => stage in stages);
  const others = Object.keys(stages).filter((stage) => !STAGES.includes(stage));
  return h(
    "ul",
    { class: "marks", "aria-label": "Stages" },
    ...[...known, ...others].map((stage) => {
      const state = /** @type {StageState} */ (stages[stage]);
      const text = `${stageName(stage)}: ${WORDS[state]}`;
      const item = { class: "mark", title: text, "data-stage": stage, "data-state": state };
      return h("li", item, h("span", { class: "visually-hidden" }, text));
    }),
  );
}
