/**
 * The cards, newest first, in a section for each day. The viewer steps through the photos in page
 * order.
 */

import { Card } from "./card.js";
import { h } from "./dom.js";
import { dayKey, dayName } from "./format.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./uploads.js").Upload} Upload
 * @typedef {import("./card.js").UploadActions} UploadActions
 */

/** Cards within this distance of the window, in CSS pixels, load their picture. */
const APPROACH = "600px";

export class Grid {
  /**
   * @param {HTMLElement} days
   * @param {(photoId: string) => Photo | undefined} photo
   * @param {() => void} onCount called when cards are added or removed
   */
  constructor(days, photo, onCount) {
    this.#days = days;
    this.#photo = photo;
    this.#onCount = onCount;
    this.#watch = new IntersectionObserver((entries) => this.#approached(entries), {
      rootMargin: APPROACH,
    });
  }

  #days;
  #photo;
  #onCount;
  #watch;
  /** @type {Map<string, Card>} */
  #cards = new Map();
  /** @type {Map<Upload, Card>} */
  #uploads = new Map();
  /** @type {WeakMap<Element, Card>} */
  #byElement = new WeakMap();
  /** @type {Set<string>} */
  #stale = new Set();
  #frame = 0;

  /** @param {string} photoId */
  cardOf(photoId) {
    return this.#cards.get(photoId);
  }

  /** @param {Photo} photo */
  place(photo) {
    const { photoId } = photo;
    const known = this.#cards.get(photoId);
    const card = known ?? this.#make();
    this.#cards.set(photoId, card);
    this.#show(card, photo);
    this.#onCount();
  }

  /**
   * Redraw the card with the next frame, once for any number of events.
   * @param {Photo} photo
   */
  changed({ photoId }) {
    this.#stale.add(photoId);
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#redraw());
  }

  /** @param {string} photoId */
  remove(photoId) {
    const card = this.#cards.get(photoId);
    if (!card) return;
    this.#cards.delete(photoId);
    this.#take(card);
    this.#onCount();
  }

  /** Remove the photos; keep the uploads in progress. */
  clear() {
    for (const card of this.#cards.values()) this.#take(card);
    this.#cards.clear();
    this.#onCount();
  }

  /**
   * @param {Upload} upload
   * @param {UploadActions} actions
   */
  showUpload(upload, actions) {
    const card = this.#uploads.get(upload) ?? this.#begin(upload);
    card.showUpload(upload, actions);
    if (upload.state === "done" && upload.photoId !== null) this.#adopt(upload, card, upload.photoId);
  }

  /** @param {Upload} upload */
  dismiss(upload) {
    const card = this.#uploads.get(upload);
    if (!card) return;
    this.#uploads.delete(upload);
    this.#take(card);
    this.#onCount();
  }

  /** Files that have not become photos. */
  get uploads() {
    return [...this.#uploads.keys()];
  }

  /** @param {Upload} upload */
  #begin(upload) {
    const card = this.#make();
    card.approach();
    // The last file comes first, as the newest photo will.
    this.#day(dayKey(new Date())).prepend(card.element);
    this.#uploads.set(upload, card);
    this.#onCount();
    return card;
  }

  /**
   * The file has become a photo: turn its card into the photo's.
   * @param {Upload} upload
   * @param {Card} card
   * @param {string} photoId
   */
  #adopt(upload, card, photoId) {
    this.#uploads.delete(upload);
    if (this.#cards.has(photoId)) {
      this.#take(card);
      return;
    }
    this.#cards.set(photoId, card);
    card.element.dataset.photoId = photoId;
    const photo = this.#photo(photoId);
    if (photo) this.#show(card, photo);
  }

  /**
   * Show the photo. Files upload concurrently, so their order is known only once they are photos.
   * @param {Card} card
   * @param {Photo} photo
   */
  #show(card, photo) {
    const isNew = card.element.dataset.order === undefined;
    card.showPhoto(photo);
    if (isNew && !this.#isInOrder(card.element)) this.#insert(card, photo);
  }

  /** @param {HTMLElement} element */
  #isInOrder(element) {
    if (!element.isConnected) return false;
    const orders = [...(element.parentElement?.children ?? [])].flatMap((card) =>
      card instanceof HTMLElement && card.dataset.order ? [card.dataset.order] : [],
    );
    return orders.every((order, index) => index === 0 || order < (orders[index - 1] ?? ""));
  }

  #make() {
    const card = new Card();
    this.#byElement.set(card.element, card);
    this.#watch.observe(card.element);
    return card;
  }

  /** @param {Card} card */
  #take(card) {
    const day = card.element.closest(".day");
    this.#watch.unobserve(card.element);
    card.discard();
    if (day && !day.querySelector(".card")) day.remove();
  }

  /**
   * @param {Card} card
   * @param {Photo} photo
   */
  #insert({ element }, { uploadedAt }) {
    const order = element.dataset.order ?? "";
    const list = this.#day(dayKey(uploadedAt));
    const isOlder = (/** @type {Element | null} */ other) =>
      other instanceof HTMLElement &&
      other.dataset.order !== undefined &&
      other.dataset.order < order;
    // List pages append at the end; anything else is new and belongs near the start.
    const isNearStart = element.isConnected || isOlder(list.lastElementChild);
    let before = isNearStart ? list.firstElementChild : null;
    while (before && !isOlder(before)) before = before.nextElementSibling;
    list.insertBefore(element, before);
  }

  /**
   * Return the list of that day; create it in its place if needed.
   * @param {string} key
   * @returns {HTMLElement}
   */
  #day(key) {
    const sections = /** @type {HTMLElement[]} */ ([...this.#days.children]);
    const known = sections.find(({ dataset }) => dataset.day === key);
    if (known) return /** @type {HTMLElement} */ (known.lastElementChild);
    const list = h("ul", { class: "cards" });
    const heading = h("h2", { id: `day-${key}` }, dayName(key));
    const props = { class: "day", "data-day": key, "aria-labelledby": heading.id };
    const older = sections.find(({ dataset }) => (dataset.day ?? "") < key) ?? null;
    this.#days.insertBefore(h("section", props, heading, list), older);
    return list;
  }

  #redraw() {
    this.#frame = 0;
    for (const photoId of this.#stale) {
      const photo = this.#photo(photoId);
      const card = this.#cards.get(photoId);
      if (photo && card) this.#show(card, photo);
    }
    this.#stale.clear();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #approached(entries) {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) this.#byElement.get(target)?.approach();
    }
  }
}
