/**
 * Run a stage for all photos, page by page, without letting tasks pile up.
 *
 * The page itself requests one page of photos after the other, so a run ends with it. What it has
 * reached is kept for this tab: on return it is shown, and can be continued from there.
 */

import { ask, change, wordsOf } from "../api.js";
import { h } from "../dom.js";
import { askFor, REASON } from "./act.js";
import { queues } from "./server.js";
import { words } from "./words.js";

/**
 * @typedef {{stage: string, run: string, reason: string, cursor: string | null, requested: number,
 *   skipped: number, total: number | null}} Run how far a backfill has got
 */

const AHEAD = 1_000;
const LOOK_MS = 1_000;
const STORED = "photolog-backfills";

/** The runs of this tab that have not ended, by their name. @type {Map<string, Run>} */
const unfinished = new Map(stored().map((run) => [run.run, run]));
/** Those that go on now. @type {Set<string>} */
const going = new Set();
/** Those that have a line. @type {Set<string>} */
const shown = new Set();
addEventListener("beforeunload", (event) => going.size > 0 && event.preventDefault());

/** @returns {Run[]} */
function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED) ?? "[]");
  } catch {
    return [];
  }
}

function store() {
  try {
    sessionStorage.setItem(STORED, JSON.stringify([...unfinished.values()]));
  } catch {
    // The browser keeps nothing for this page: the runs are known until it is left.
  }
}

/**
 * Ask, and begin.
 * @param {string} stage
 * @param {HTMLElement} list gets a line that shows the progress
 */
export async function backfill(stage, list) {
  const given = await askFor({
    title: words.question.backfill(stage),
    detail: words.touches.backfill(await photoCount()),
    yes: words.backfill,
    harmless: true,
    fields: [REASON],
  });
  if (given === null) return;
  const name = `console-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 6)}`;
  const run = { stage, run: name, reason: given.reason ?? "", cursor: null, requested: 0, skipped: 0, total: null };
  unfinished.set(name, run);
  store();
  await new Line(run, list).go();
}

/**
 * Show the runs that ended when their page was left, each once.
 * @param {HTMLElement} list
 */
export function showUnfinished(list) {
  for (const run of unfinished.values()) {
    if (!shown.has(run.run)) new Line(run, list).offer(words.interrupted);
  }
}

/** Forget the runs of somebody who signs out. */
export function forgetRuns() {
  unfinished.clear();
  store();
}

/** @returns {Promise<number>} the photos of all clients */
async function photoCount() {
  /** @type {{total: {photos: number}}} */
  const { total } = await ask("/api/ops/quotas?limit=1");
  return total.photos;
}

/** The progress of a run, with the buttons that stop, continue or forget it. */
class Line {
  /**
   * @param {Run} run
   * @param {HTMLElement} list
   */
  constructor(run, list) {
    this.#run = run;
    shown.add(run.run);
    this.#element.append(`${run.stage}: `, this.#text, this.#bar, this.#buttons);
    list.append(this.#element);
  }

  #run;
  #element = h("p", { class: "progress-line" });
  #text = h("span");
  #bar = h("progress", { "aria-label": words.backfill });
  #buttons = h("span", { class: "row-actions" });
  #isStopped = false;

  /** @param {string[]} more sentences */
  #show(...more) {
    const { requested, skipped, total } = this.#run;
    this.#bar.max = Math.max(1, total ?? 1);
    this.#bar.value = requested + skipped;
    this.#text.textContent = [words.backfilled(requested, skipped, total), ...more].join(" ");
  }

  /**
   * @param {string} label
   * @param {() => void} onclick
   */
  #button(label, onclick) {
    const about = `${label} ${this.#run.stage}`;
    return h("button", { class: "button small", type: "button", "aria-label": about, onclick }, label);
  }

  /** Request what is left. */
  async go() {
    const { run } = this.#run;
    this.#isStopped = false;
    going.add(run);
    this.#buttons.replaceChildren(this.#button(words.stop, () => void (this.#isStopped = true)));
    try {
      while (!this.#isStopped) {
        if (await isBusy()) {
          this.#show(words.waitingForLanes);
          await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        } else if (await this.#next()) {
          return this.#end();
        }
      }
      this.offer(words.stopped);
    } catch (error) {
      this.offer(wordsOf(error));
    } finally {
      going.delete(run);
    }
  }

  /** @returns {Promise<boolean>} whether it was the last page */
  async #next() {
    const { stage, run, reason, cursor } = this.#run;
    /** @type {{requested: number, skipped: unknown[], nextCursor: string | null, total: number | null}} */
    const page = await change("POST", "/api/ops/backfill", { stage, run, cursor, reason });
    this.#run.requested += page.requested;
    this.#run.skipped += page.skipped.length;
    this.#run.total ??= page.total;
    this.#run.cursor = page.nextCursor;
    store();
    this.#show();
    return page.nextCursor === null;
  }

  #end() {
    this.#forget();
    this.#show(words.allRequested);
    this.#buttons.replaceChildren();
  }

  #forget() {
    unfinished.delete(this.#run.run);
    store();
  }

  /**
   * Offer to continue or to forget a run that does not go on.
   * @param {string} why
   */
  offer(why) {
    this.#show(why);
    const forget = () => {
      this.#forget();
      this.#element.remove();
    };
    this.#buttons.replaceChildren(
      this.#button(words.continue, () => void this.go()),
      this.#button(words.dismiss, forget),
    );
  }
}

/** Whether the low lanes have enough to do. */
async function isBusy() {
  const { stages } = await queues();
  return stages.reduce((sum, one) => sum + (one.lanes.low?.waiting ?? 0), 0) > AHEAD;
}
