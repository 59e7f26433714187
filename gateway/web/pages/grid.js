/**
 * Show the photos near the window, in justified rows under the heading of their day and month.
 *
 * The page is as high as if all photos were shown. When what lies above the window changes its
 * height, the page scrolls by the difference, so that what a person looks at stays where it is.
 */

import { Card } from "./card.js";
import { DaySection } from "./day-section.js";
import { Geometry } from "./geometry.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./layout.js").Row} Row
 * @typedef {import("./timeline.js").Section} Section
 * @typedef {import("./geometry.js").Anchor} Anchor
 */

/** How far beyond the window photos are shown and loaded, in heights of the window. */
const OVERSCAN = 0.75;
/** The page follows new photos while it is scrolled no further than this. */
const TOP = 24;
/** What the bar covers at the top of the window. */
export const BAR = 60;
const SETTLED_MS = 120;

export class Grid {
  /**
   * @param {HTMLElement} element
   * @param {import("./timeline.js").Timeline} timeline
   * @param {object} handlers
   * @param {(photoId: string) => Photo | undefined} handlers.photo
   * @param {(card: Card, photo: Photo) => void} handlers.onCard a card was made or has changed
   * @param {() => void} handlers.onShown after each update
   * @param {(anchor: Anchor | null) => void} handlers.onSettled scrolling has ended
   */
  constructor(element, timeline, handlers) {
    this.element = element;
    this.#timeline = timeline;
    this.#handlers = handlers;
    this.geometry = new Geometry(timeline, handlers.photo, (section) => this.#shown.has(section));
    addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#resized()).observe(element);
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      addEventListener(type, () => (this.#goal = null), { passive: true });
    }
    element.addEventListener("focusin", ({ target }) => {
      const card = /** @type {HTMLElement} */ (target).closest(".card");
      if (!(card instanceof HTMLElement)) return;
      this.#isChosen = true;
      this.#makeTabStop(card.dataset.photoId ?? null);
    });
  }

  #timeline;
  #handlers;
  /** @type {Map<Section, DaySection>} */
  #shown = new Map();
  /** @type {Map<string, Card>} */
  #cards = new Map();
  #width = 0;
  #frame = 0;
  #settling = 0;
  #scrolledTo = 0;
  /** Whether the last frame scrolled by more than the window. */
  #isFast = false;
  /** Where the page is to go, as far as it is loaded. @type {Anchor | null} */
  #goal = null;
  /** The photo in the tab order. @type {string | null} */
  #current = null;
  /** Whether that photo had the focus; otherwise it is the first one. */
  #isChosen = false;

  /** @param {string} photoId */
  cardOf(photoId) {
    return this.#cards.get(photoId);
  }

  get cards() {
    return this.#cards.values();
  }

  /** The photo in the tab order. */
  get current() {
    return this.#current;
  }

  /** The distance of the photos from the top of the page, CSS pixels. */
  get offset() {
    return this.element.getBoundingClientRect().top + scrollY;
  }

  /** @returns {Anchor | null} what stays in place; null at the top, which shows what is new */
  get anchor() {
    if (scrollY <= TOP) return null;
    return this.geometry.anchorAt(scrollY - this.offset + BAR, this.#shownInOrder());
  }

  /** Update the page with the next frame, once for any number of changes. */
  changed() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.update());
  }

  update() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#layOut(this.#goal ?? this.anchor);
    this.#render();
    this.#load();
    this.#handlers.onShown();
  }

  /**
   * Scroll to the anchor, and stay there while its photos are loaded.
   * @param {Anchor} anchor
   */
  goTo(anchor) {
    this.#goal = anchor;
    this.update();
  }

  /** @param {string} photoId of a loaded photo; its card is shown afterwards */
  bringIntoView(photoId) {
    this.#goal = null;
    this.#layOut(this.anchor);
    const place = this.geometry.placeOf(photoId);
    if (!place) return;
    const top = place.top + this.offset;
    const room = innerHeight - BAR - place.row.height;
    if (top < scrollY + BAR + 8 || top + place.row.height > scrollY + innerHeight - 8) {
      scrollTo(0, top - BAR - Math.max(8, room / 2));
    }
    this.#render();
  }

  /** @param {string} photoId of a loaded photo */
  focus(photoId) {
    this.bringIntoView(photoId);
    this.#cards.get(photoId)?.link.focus({ preventScroll: true });
  }

  #shownInOrder() {
    return [...this.#shown.keys()].sort((a, b) => (a.key < b.key ? 1 : -1));
  }

  /** @param {string | null} photoId */
  #makeTabStop(photoId) {
    const before = this.#current === null ? null : this.#cards.get(this.#current);
    if (before) before.link.tabIndex = -1;
    this.#current = photoId;
    this.#chooseDay();
    const card = photoId === null ? null : this.#cards.get(photoId);
    if (card) card.link.tabIndex = 0;
  }

  /** Only the day of the photo in the tab order is in it, too: others would be a stop each. */
  #chooseDay() {
    const current = this.#timeline.sectionOf(this.#current ?? "");
    for (const [section, day] of this.#shown) day.setTabStop(section === current);
  }

  #scrolled() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#follow());
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#isFast = false;
      this.#load();
      this.#handlers.onSettled(this.anchor);
    }, SETTLED_MS);
  }

  /** Show what was scrolled to. */
  #follow() {
    this.#frame = 0;
    this.#render();
    // Load nothing that a fast scroll only passes; a single jump has arrived.
    const isFast = Math.abs(scrollY - this.#scrolledTo) > innerHeight;
    if (!(isFast && this.#isFast)) this.#load();
    this.#isFast = isFast;
    this.#scrolledTo = scrollY;
    this.#handlers.onShown();
  }

  #resized() {
    const width = this.element.clientWidth;
    if (width === this.#width || width === 0) return;
    const anchor = this.#goal ?? this.anchor;
    this.#width = width;
    this.geometry.resize(width);
    this.#layOut(anchor);
    this.update();
  }

  /** @param {Anchor | null} anchor stays where it is in the window */
  #layOut(anchor) {
    this.geometry.measure();
    this.element.style.height = `${this.geometry.height}px`;
    const place = anchor && this.geometry.placeOfAnchor(anchor);
    if (!place) return;
    if (place.isFinal) this.#goal = null;
    const to = place.y + this.offset - BAR;
    if (Math.abs(to - scrollY) > 0.5) scrollTo(0, to);
  }

  #render() {
    const { sections } = this.#timeline;
    const { geometry } = this;
    const view = scrollY - this.offset;
    const [from, to] = [view - innerHeight * OVERSCAN, view + innerHeight * (1 + OVERSCAN)];
    /** @type {Set<Section>} */
    const near = new Set();
    for (let at = geometry.indexAt(from); at < sections.length; at += 1) {
      const section = /** @type {Section} */ (sections[at]);
      if (geometry.topOf(section) > to) break;
      near.add(section);
    }
    // The photo with the focus stays, so that the focus is not lost.
    const focused = this.element.contains(document.activeElement) ? this.#current : null;
    const isCard = focused !== null && document.activeElement === this.#cards.get(focused)?.link;
    const held = focused === null ? undefined : this.#timeline.sectionOf(focused);
    if (held) near.add(held);
    for (const [section, day] of this.#shown) {
      if (near.has(section)) continue;
      day.element.remove();
      this.#shown.delete(section);
    }
    /** @type {Set<string>} */
    const cards = new Set();
    for (const section of near) {
      const day = this.#place(section);
      const first = geometry.topOf(section) + geometry.headOf(section);
      let index = 0;
      for (const row of geometry.layoutOf(section).rows) {
        const isNear = first + row.y + row.height > from && first + row.y < to;
        for (const tile of row.tiles) {
          index += 1;
          if (!isNear && tile.photoId !== focused) continue;
          if (this.#show(day, tile, row, index, section.count)) cards.add(tile.photoId);
        }
      }
    }
    for (const [photoId, card] of this.#cards) {
      if (cards.has(photoId)) continue;
      card.discard();
      this.#cards.delete(photoId);
    }
    this.#order();
    // The days were loaded again: a card that moved to its new day has lost the focus.
    if (isCard && !this.element.contains(document.activeElement)) this.#cards.get(focused)?.link.focus({ preventScroll: true });
    this.#isChosen &&= this.#current !== null && this.#cards.has(this.#current);
    if (!this.#isChosen) {
      this.#makeTabStop(this.element.querySelector(".card")?.getAttribute("data-photo-id") ?? null);
    } else {
      this.#chooseDay();
    }
  }

  /** @param {Section} section */
  #place(section) {
    const { geometry } = this;
    const day = this.#shown.get(section) ?? new DaySection(section.key);
    this.#shown.set(section, day);
    day.place({
      top: geometry.topOf(section),
      head: geometry.headOf(section),
      height: geometry.layoutOf(section).height,
      count: section.count,
      isFirstOfMonth: geometry.isFirstOfMonth(section),
    });
    day.setLoading(!section.complete, geometry.loadedHeight(section), geometry.space);
    return day;
  }

  /**
   * @param {DaySection} day
   * @param {import("./layout.js").Tile} tile
   * @param {Row} row
   * @param {number} index of the photo in its day, from 1
   * @param {number} count of photos of the day
   */
  #show(day, tile, row, index, count) {
    const photo = this.#handlers.photo(tile.photoId);
    if (!photo) return false;
    const card = this.#cards.get(tile.photoId) ?? new Card();
    if (!this.#cards.has(tile.photoId)) card.link.tabIndex = tile.photoId === this.#current ? 0 : -1;
    this.#cards.set(tile.photoId, card);
    card.show(photo);
    card.move({ x: tile.x, y: row.y, width: tile.width, height: row.height });
    day.put(card.element, index, count);
    this.#handlers.onCard(card, photo);
    return true;
  }

  /** Put the elements in page order, for screen readers and the Tab key. */
  #order() {
    let at = this.element.firstElementChild;
    for (const section of this.#shownInOrder()) {
      const day = /** @type {DaySection} */ (this.#shown.get(section));
      if (day.element === at) at = at.nextElementSibling;
      else this.element.insertBefore(day.element, at);
      day.order();
    }
  }

  /** Load what the window shows, and then what is near it. */
  #load() {
    const { geometry } = this;
    const view = scrollY - this.offset;
    const near = innerHeight * OVERSCAN;
    const sections = this.#shownInOrder();
    const lacking = (/** @type {number} */ from, /** @type {number} */ to) =>
      sections.filter((section) => geometry.topOf(section) < to && geometry.lacks(section, from, to));
    const visible = lacking(view, view + innerHeight);
    const others = lacking(view - near, view + innerHeight + near);
    const last = this.#timeline.sections.at(-1);
    const isAtEnd = last !== undefined && this.#shown.has(last);
    this.#timeline.need([...new Set([...visible, ...others])], isAtEnd);
  }
}
