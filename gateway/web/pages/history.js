/** Show a photo's history: each event once, as a sentence with its time, in log order. */

import { h } from "./dom.js";
import * as format from "./format.js";
import { t } from "./language.js";
import { isAfter } from "./position.js";
import { stageName } from "./stages.js";

/**
 * @typedef {import("./photo.js").CompletedStage} CompletedStage
 * @typedef {import("./photo.js").EventData} EventData
 * @typedef {import("./photo.js").FailedStage} FailedStage
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 */

/**
 * @param {CompletedStage} completed
 * @returns {string}
 */
function found({ stage, result, renditions }) {
  switch (stage) {
    case "validation":
      return [
        `${String(result.format).toUpperCase()}, ${format.dimensions(result.width, result.height)}`,
        result.damaged ? `, ${t.history.damaged(result.warning ?? t.history.partsMissing)}` : "",
      ].join("");
    case "metadata":
      return format.camera(result.camera) || t.history.noCamera;
    case "thumbnails":
      return `${result.sizes.join(", ")} px`;
    case "optimization":
      return renditions
        .map((one) => `${format.dimensions(one.width, one.height)}, ${format.bytes(one.fileSize)}`)
        .join("; ");
    default:
      return "";
  }
}

/** @param {FailedStage} failure */
function failed({ stage, attempt, code, error, retryAt }) {
  const what = t.history.stageFailed(stageName(stage), attempt, format.failure({ code, error }));
  return retryAt === null ? what : `${what} ${t.history.nextAttempt(format.clock(retryAt))}`;
}

/** A sentence for each type of event. @type {{[Type in keyof EventData]: (data: EventData[Type]) => string}} */
const SENTENCES = {
  "photo.uploaded": ({ fileSize }) => t.history.uploaded(format.bytes(fileSize)),
  "photo.processing.requested": () => t.history.requested,
  "photo.processing.started": () => t.history.started,
  "photo.thumbnail.generated": ({ thumbnail: { width, height, fileSize } }) =>
    t.history.thumbnail(format.dimensions(width, height), format.bytes(fileSize)),
  "photo.processing.stage.completed": (data) => {
    const what = found(data);
    const took = format.duration(data.durationMs);
    return `${stageName(data.stage)}${what === "" ? "" : `: ${what}`} (${took})`;
  },
  "photo.processing.stage.failed": failed,
  "photo.processing.prioritized": ({ priority }) => t.history.prioritized(priority),
  "photo.processing.hurried": () => t.history.hurried,
  "photo.processing.completed": () => t.history.completed,
  "photo.processing.failed": (failure) => t.history.failed(format.failure(failure)),
  "photo.processing.discarded": ({ reason }) => t.history.discarded(reason),
  "photo.renditions.superseded": () => t.history.superseded,
  "photo.renditions.removed": () => t.history.removed,
  "photo.original.restored": ({ cause }) => t.history.restored[cause],
  "photo.described": () => t.history.described,
  "photo.deleted": () => t.history.deleted,
  "photo.erased": () => t.history.erased,
};

/**
 * @param {PhotoEvent} event
 * @returns {string} the event in words; its type, if a later version of Photolog added it
 */
export function sentence({ type, data }) {
  const say = /** @type {((data: object) => string) | undefined} */ (SENTENCES[type]);
  return say?.(data) ?? type;
}

/** @param {string} type */
function tone(type) {
  if (type.endsWith(".failed") || type === "photo.deleted") return "bad";
  return type === "photo.processing.completed" ? "good" : "plain";
}

export class HistoryList {
  /** @param {HTMLOListElement} list */
  constructor(list) {
    this.#list = list;
  }

  #list;
  /** @type {string | null} */
  #last = null;
  /** The day of the last event; today is not named. */
  #day = "";

  clear() {
    this.#last = null;
    this.#day = format.dayKey(new Date());
    this.#list.replaceChildren();
  }

  /** @param {PhotoEvent} event ignored if it is already shown */
  add(event) {
    if (!isAfter(event.id, this.#last)) return;
    this.#last = event.id;
    const { timestamp } = event;
    const isOfDay = format.dayKey(timestamp) === this.#day;
    const day = isOfDay ? null : h("span", { class: "date" }, `${format.day(timestamp)},`);
    this.#day = format.dayKey(timestamp);
    const time = h("time", { dateTime: timestamp }, day, format.clock(timestamp));
    time.title = format.moment(timestamp);
    const props = { "data-event-id": event.id, "data-type": event.type, "data-tone": tone(event.type) };
    this.#list.append(h("li", props, h("span", {}, sentence(event)), time));
  }
}
