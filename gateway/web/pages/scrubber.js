/**
 * The scrubber beside the photos: the years of the timeline, and a handle that goes to a month.
 *
 * The handle follows a line in the window: at the top of it, until the last photos arrive in the
 * window; from there the line sinks, and reaches the last photo at the end of the page. So each
 * month has a place on the page where the line meets it, even the months that never reach the top.
 */

import { h } from "./dom.js";
import { monthName } from "./format.js";
import { BAR } from "./grid.js";
import { t } from "./language.js";

/** Space that the label of a year needs, CSS pixels. */
const LABEL_PX = 22;
/** The handle stays visible after scrolling, where it covers photos. */
const SHOWN_MS = 1_600;

/** Steps in months. @type {Record<string, number>} */
const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 12, PageUp: -12 };

/** @typedef {{key: string, share: number, isEnd: boolean}} Goal a month, `2019-05`, and how far into it;
 *   `isEnd`: the last month, whichever that is once all are known */

export class Scrubber {
  /**
   * @param {HTMLElement} element
   * @param {import("./grid.js").Grid} grid
   * @param {import("./timeline.js").Timeline} timeline
   */
  constructor(element, grid, timeline) {
    this.#element = element;
    this.#grid = grid;
    this.#timeline = timeline;
    this.#handle.append(this.#bubble);
    element.append(this.#years, this.#handle);
    element.addEventListener("pointerdown", (event) => this.#grab(event));
    element.addEventListener("pointermove", (event) => this.#drag(event));
    for (const type of ["pointerup", "pointercancel"]) element.addEventListener(type, () => this.#release());
    this.#handle.addEventListener("keydown", (event) => this.#pressed(event));
    const isElsewhere = (/** @type {Event} */ { target }) => !(target instanceof Node && element.contains(target));
    for (const type of ["wheel", "touchmove"]) {
      addEventListener(type, (event) => isElsewhere(event) && (this.#goal = null), { passive: true });
    }
  }

  #element;
  #grid;
  #timeline;
  #years = h("div", { class: "scrubber-years", "aria-hidden": "true" });
  #bubble = h("span", { class: "scrubber-bubble" });
  #handle = h("div", {
    class: "scrubber-handle",
    role: "slider",
    tabIndex: 0,
    "aria-label": t.timeline.scrubber,
    "aria-orientation": "vertical",
    "aria-valuemin": 0,
  });
  #drawn = "";
  #hiding = 0;
  #isGrabbed = false;
  /** What was chosen here: it stays while photos around it get their height. @type {Goal | null} */
  #goal = null;
  /** The page when it was scrolled to the goal. */
  #placed = { scroll: 0, height: 0, most: 0 };

  /** Follow the page. */
  update() {
    const { order } = this.#timeline;
    const { height, months } = this.#grid.geometry;
    const isUseful = order === "taken" && height > innerHeight * 1.5 && months.length > 0;
    this.#element.hidden = !isUseful;
    if (!isUseful) {
      this.#goal = null;
      return;
    }
    this.#drawYears(height);
    const chosen = this.#keepGoal();
    const y = this.#line();
    this.#handle.style.top = `${(y / height) * 100}%`;
    const now = chosen ?? this.#monthAt(y + 1);
    const name = monthName(months[now]?.key ?? "");
    if (this.#bubble.textContent !== name) this.#bubble.textContent = name;
    this.#handle.setAttribute("aria-valuemax", String(months.length - 1));
    this.#handle.setAttribute("aria-valuenow", String(now));
    this.#handle.setAttribute("aria-valuetext", name);
  }

  /** Where scrolling begins to move photos, how far it goes, and from where the line sinks. */
  #range() {
    const { height } = this.#grid.geometry;
    const first = this.#grid.offset - BAR;
    const most = document.documentElement.scrollHeight - innerHeight;
    const rest = Math.max(0, height - (most - first));
    const sinking = Math.min(rest, most - first);
    return { height, first, most, sinks: most - sinking, speed: 1 + rest / Math.max(1, sinking) };
  }

  /** @returns {number} where the line meets the photos, CSS pixels from their top */
  #line() {
    const { height, first, sinks, speed } = this.#range();
    const y = scrollY <= sinks ? scrollY - first : sinks - first + (scrollY - sinks) * speed;
    return Math.min(height, Math.max(0, y));
  }

  /**
   * @param {number} y from the top of all photos
   * @returns {number} how far the page is scrolled when the line meets it
   */
  #scrollTo(y) {
    const { first, most, sinks, speed } = this.#range();
    if (y <= 0) return 0;
    const scroll = first + y;
    return Math.min(most, scroll <= sinks ? scroll : sinks + (scroll - sinks) / speed);
  }

  /**
   * @param {number} y
   * @returns {number} the index of the month there
   */
  #monthAt(y) {
    const { geometry } = this.#grid;
    return Math.max(0, geometry.months.findLastIndex((section) => geometry.topOf(section) <= y));
  }

  /** @param {number} at the index of a month */
  #extent(at) {
    const { geometry } = this.#grid;
    const [month, next] = [geometry.months[at], geometry.months[at + 1]];
    const top = geometry.topOf(month);
    return { top, length: (next ? geometry.topOf(next) : geometry.height) - top };
  }

  /** @returns {number | null} the month that was chosen, unless the page was scrolled since */
  #keepGoal() {
    if (this.#goal === null) return null;
    const { geometry } = this.#grid;
    const { key, share, isEnd } = this.#goal;
    const last = geometry.months.length - 1;
    const at = isEnd ? last : geometry.months.findIndex((section) => section.key.slice(0, 7) === key);
    const { height, most } = this.#range();
    const isSame = height === this.#placed.height && most === this.#placed.most;
    if (at < 0 || (isSame && Math.abs(scrollY - this.#placed.scroll) > 1)) {
      this.#goal = null;
      return null;
    }
    const { top, length } = this.#extent(at);
    const to = this.#scrollTo(top + share * length);
    if (Math.abs(to - scrollY) > 1) scrollTo(0, to);
    this.#placed = { scroll: scrollY, height, most };
    return at;
  }

  /**
   * @param {number} at the index of a month
   * @param {number} [share] how far into it, up to 1
   * @param {boolean} [isEnd]
   */
  #goTo(at, share = 0, isEnd = false) {
    const month = this.#grid.geometry.months[at];
    if (!month) return;
    this.#goal = { key: month.key.slice(0, 7), share, isEnd };
    this.#placed = { scroll: 0, height: 0, most: 0 };
    this.update();
  }

  /** Show the handle for a moment. */
  stir() {
    this.#element.classList.add("stirred");
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => this.#element.classList.remove("stirred"), SHOWN_MS);
  }

  /** @param {number} height of all photos */
  #drawYears(height) {
    const { geometry } = this.#grid;
    const rail = this.#element.clientHeight;
    /** @type {[string, number][]} */
    const years = [];
    for (const section of geometry.months) {
      const year = section.key.slice(0, 4);
      if (year !== years.at(-1)?.[0]) years.push([year, Math.round((geometry.topOf(section) / height) * rail)]);
    }
    this.#write(fitting(years));
  }

  /** @param {[string, number][]} years */
  #write(years) {
    const drawn = String(years);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const labels = years.map(([name, y]) => {
      const label = h("span", {}, name);
      label.style.top = `${y}px`;
      return label;
    });
    this.#years.replaceChildren(...labels);
  }

  /** @param {PointerEvent} event */
  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#isGrabbed = true;
    this.#element.classList.add("grabbed");
    this.#element.setPointerCapture(event.pointerId);
    this.#drag(event);
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    if (!this.#isGrabbed) return;
    const rail = this.#element.getBoundingClientRect();
    const { geometry } = this.#grid;
    const y = Math.min(1, Math.max(0, (event.clientY - rail.top) / rail.height)) * geometry.height;
    const at = this.#monthAt(y);
    const { top, length } = this.#extent(at);
    this.#goTo(at, (y - top) / Math.max(1, length));
  }

  #release() {
    this.#isGrabbed = false;
    this.#element.classList.remove("grabbed");
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const { months } = this.#grid.geometry;
    const now = Number(this.#handle.getAttribute("aria-valuenow"));
    const step = STEPS[event.key];
    let to = now;
    if (step !== undefined) to = now + step;
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = months.length - 1;
    else return;
    event.preventDefault();
    this.#goTo(Math.min(months.length - 1, Math.max(0, to)), 0, event.key === "End");
  }
}

/**
 * Leave out years whose labels would cover others, but neither the first nor the last one.
 * @param {[string, number][]} years and where they are, CSS pixels
 */
function fitting(years) {
  const last = years.at(-1);
  /** @type {[string, number][]} */
  const found = [];
  for (const year of years) {
    const isFree = year[1] >= (found.at(-1)?.[1] ?? -LABEL_PX) + LABEL_PX;
    const leavesLast = year === last || year[1] <= (last?.[1] ?? 0) - LABEL_PX;
    if (isFree && (leavesLast || found.length === 0)) found.push(year);
  }
  return found;
}
