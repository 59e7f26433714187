/** Show the stages of processing as small marks, each with its text. */

import { h } from "./dom.js";
import { t } from "./language.js";
import { STAGES } from "./photo.js";

/** @typedef {import("./photo.js").StageState} StageState */

/** @type {Record<string, string>} */
const NAMES = t.stages.names;

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
    { class: "marks", "aria-label": t.stages.label },
    ...[...known, ...others].map((stage) => {
      const state = /** @type {StageState} */ (stages[stage]);
      const text = `${stageName(stage)}: ${t.stages.states[state]}`;
      const item = { class: "mark", title: text, "data-stage": stage, "data-state": state };
      return h("li", item, h("span", { class: "visually-hidden" }, text));
    }),
  );
}
