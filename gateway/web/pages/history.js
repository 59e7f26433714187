/** Show a photo's history: each event once, as a sentence with its time, in log order. */

import { h } from "./dom.js";
import * as format from "./format.js";
import { isAfter } from "./position.js";
import { stageName } from "./stages.js";

/**
 * @typedef {import("./photo.js").CompletedStage} CompletedStage
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
        result.damaged ? `, damaged: ${result.warning ?? "parts are missing"}` : "",
      ].join("");
    case "metadata":
      return format.camera(result.camera) || "no camera information";
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
function failed({ stage, attempt, error, retryAt }) {
  const what = `${stageName(stage)} failed (attempt ${attempt}): ${format.plain(error)}`;
  return retryAt === null ? what : `${what} Next attempt at ${format.clock(retryAt)}.`;
}

/**
 * @param {PhotoEvent} event
 * @returns {string} the event in words
 */
export function sentence({ type, data }) {
  switch (type) {
    case "photo.uploaded":
      return `Uploaded, ${format.bytes(data.fileSize)}`;
    case "photo.processing.requested":
      return "Processing requested again";
    case "photo.processing.started":
      return "Processing started";
    case "photo.thumbnail.generated": {
      const { width, height, fileSize } = data.thumbnail;
      return `Thumbnail ${format.dimensions(width, height)}, ${format.bytes(fileSize)}`;
    }
    case "photo.processing.stage.completed": {
      const what = found(data);
      const took = format.duration(data.durationMs);
      return `${stageName(data.stage)}${what === "" ? "" : `: ${what}`} (${took})`;
    }
    case "photo.processing.stage.failed":
      return failed(data);
    case "photo.processing.completed":
      return "Processing completed";
    case "photo.processing.failed":
      return `Processing failed: ${format.plain(data.error)}`;
    case "photo.processing.discarded":
      return `Failure discarded: ${data.reason}`;
    case "photo.renditions.superseded":
      return "Older pictures replaced";
    case "photo.renditions.removed":
      return "Older pictures removed";
    case "photo.original.restored":
      return `Original restored: it was ${data.cause === "missing" ? "missing" : "altered"}`;
    case "photo.described":
      return "Description changed";
    case "photo.deleted":
      return "Deleted";
    case "photo.erased":
      return "Files removed";
    default:
      return type;
  }
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
