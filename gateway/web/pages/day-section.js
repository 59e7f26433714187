/** The element of one day: its headings, and those of its photos that are near the window. */

import { h, icon } from "./dom.js";
import { dayName, monthName } from "./format.js";
import { t } from "./language.js";

export class DaySection {
  /** @param {string} key its day */
  constructor(key) {
    this.#key = key;
    const heading = h("h3", { id: `day-${key}` }, dayName(key));
    const name = { type: "button", class: "pick-day", tabIndex: -1, "aria-label": t.selection.pickDay(dayName(key)) };
    this.#pick = h("button", name, icon("check"));
    const head = h("div", { class: "day-head" }, heading, this.#count, this.#pick);
    const props = { class: "day", "data-day": key, "aria-labelledby": heading.id };
    this.element = h("section", props, head, this.list);
  }

  #key;
  #pick;
  #count = h("span", { class: "day-count" });
  /** @type {HTMLElement | null} */
  #month = null;
  list = h("ul", { class: "cards" });

  /**
   * @param {{top: number, head: number, height: number, count: number, isFirstOfMonth: boolean}} place
   *   CSS pixels from the top of all photos; the number of photos
   */
  place({ top, head, height, count, isFirstOfMonth }) {
    const { style } = this.element;
    style.transform = `translateY(${top}px)`;
    style.height = `${head + height}px`;
    this.list.style.top = `${head}px`;
    this.#count.textContent = t.timeline.photos(count);
    if (isFirstOfMonth === (this.#month !== null)) return;
    this.#month?.remove();
    this.#month = isFirstOfMonth ? h("h2", { class: "month" }, monthName(this.#key)) : null;
    if (this.#month) this.element.prepend(this.#month);
  }

  /** @param {boolean} isTabStop whether the Tab key reaches the button that selects the day */
  setTabStop(isTabStop) {
    this.#pick.tabIndex = isTabStop ? 0 : -1;
  }

  /**
   * Draw empty rows where photos are still to be loaded.
   * @param {boolean} isLoading
   * @param {number} from the height of the loaded rows
   * @param {{target: number, gap: number}} space
   */
  setLoading(isLoading, from, { target, gap }) {
    this.element.classList.toggle("loading", isLoading);
    const { style } = this.list;
    style.setProperty("--loaded", `${from}px`);
    style.setProperty("--row", `${target}px`);
    style.setProperty("--gap", `${gap}px`);
  }

  /**
   * @param {HTMLElement} card
   * @param {number} index of the photo in its day, from 1
   * @param {number} count of photos of the day
   */
  put(card, index, count) {
    card.setAttribute("aria-posinset", String(index));
    card.setAttribute("aria-setsize", String(Math.max(count, index)));
    if (card.parentElement !== this.list) this.list.append(card);
  }

  /** Put the photos in order, for screen readers and the Tab key. */
  order() {
    const index = (/** @type {Element} */ card) => Number(card.getAttribute("aria-posinset"));
    const cards = [...this.list.children];
    if (cards.every((card, at) => at === 0 || index(/** @type {Element} */ (cards[at - 1])) < index(card))) return;
    let at = this.list.firstElementChild;
    for (const card of cards.sort((a, b) => index(a) - index(b))) {
      if (card === at) at = at.nextElementSibling;
      else this.list.insertBefore(card, at);
    }
  }
}
