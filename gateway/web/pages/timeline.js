/**
 * The photos in the order of the page, in a section for each day, of which only those near the
 * window are loaded.
 *
 * By date taken, the server counts the photos of each day, so every day has its section before any
 * photo is loaded. By date added, days become known page by page. Loaded sections follow the events;
 * the count of others is an estimate until they are loaded.
 */

import * as api from "./api.js";
import { FIRST } from "./begun.js";
import { keyOf, rangeOf, rankOf } from "./dates.js";
import { edge } from "./walk.js";
import { farthest, isInOrder, newSection, nextLoad, recounted } from "./sections.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./sections.js").Section} Section
 * @typedef {import("./begun.js").Order} Order
 */

const LOADS_AT_ONCE = 2;
const PAGE = FIRST.uploaded;
/** Beyond so many loaded photos, those of the days farthest from the window are forgotten. */
const KEPT = 3_000;
/** Changes of photos that are not loaded come in bursts. */
const RECOUNT_MS = 1_500;

export class Timeline {
  /**
   * @param {import("./library.js").Library} library
   * @param {object} handlers
   * @param {() => void} handlers.onChange sections or their photos have changed
   * @param {(error: unknown) => void} handlers.onFailed a request failed; `retry` repeats it
   */
  constructor(library, handlers) {
    this.#library = library;
    this.#handlers = handlers;
  }

  #library;
  #handlers;
  /** @type {Order} */
  order = "taken";
  /** The latest day first. @type {Section[]} */
  sections = [];
  /** Whether the days are known: by date taken all of them, otherwise the first page. */
  ready = false;
  /** The section of each loaded photo. @type {Map<string, Section>} */
  #sectionOf = new Map();
  /** @type {Section[]} */
  #wanted = [];
  #loads = 0;
  /** Counts what was opened, so that late responses are dropped. */
  #generation = 0;
  #failed = false;
  /** By date added: the next page, null at the end. @type {{cursor: string} | null} */
  #tail = null;
  #wantsTail = false;
  #isTailLoading = false;
  #recount = 0;
  /** While the days load: the photos whose changes the responses may not include. @type {Set<string> | null} */
  #changed = null;
  /** Whether one of them is not loaded, so that the days' counts may not include its change. */
  #isRecountDue = false;
  /** Photos that must stay loaded. @type {() => (string | null)[]} */
  pinned = () => [];

  /** @param {string} photoId */
  sectionOf(photoId) {
    return this.#sectionOf.get(photoId);
  }

  /** @param {Photo} photo */
  #rank = (photo) => rankOf(this.order, photo);

  /** @param {string} photoId */
  #rankOfId(photoId) {
    const photo = this.#library.get(photoId);
    return photo && this.#rank(photo);
  }

  /** @param {Photo} photo */
  #keyOf = (photo) => keyOf(this.order, photo);

  clear() {
    this.#generation += 1;
    clearTimeout(this.#recount);
    this.sections = this.#wanted = [];
    this.#sectionOf.clear();
    this.#tail = this.#changed = null;
    this.ready = this.#failed = this.#isTailLoading = this.#isRecountDue = false;
    this.#loads = this.#recount = 0;
    this.#handlers.onChange();
  }

  /**
   * Load the days again. What is shown stays until its replacement arrives.
   * @param {Order} order
   * @param {boolean} [isAtTop] whether to show the first photos before the days are known
   * @param {boolean} [isPreview] whether to load only those; another call follows, and shows errors
   */
  async open(order, isAtTop = true, isPreview = false) {
    const generation = ++this.#generation;
    this.#loads = 0;
    this.#isTailLoading = this.#failed = false;
    const isCounted = order === "taken";
    this.#changed = new Set();
    this.#isRecountDue = false;
    try {
      const query = { sort: order, limit: FIRST[order] };
      const first = isAtTop || !isCounted ? await this.#library.load(query) : null;
      if (generation !== this.#generation) return;
      if (first) this.#restart(order, first);
      if (isPreview) return;
      const buckets = isCounted ? await api.timeline(this.#library.clientId, null) : null;
      if (generation !== this.#generation) return;
      if (!first) this.#restart(order, { photos: [], nextCursor: null });
      if (buckets) this.#adopt(buckets);
    } catch (error) {
      if (generation === this.#generation && !isPreview) this.#fail(error);
    } finally {
      if (generation === this.#generation) {
        this.#changed = null;
        if (this.#isRecountDue) this.recount();
      }
    }
  }

  /** Place what has changed since the days were asked for. */
  #placeChanged() {
    for (const photoId of this.#changed ?? []) {
      const photo = this.#library.get(photoId);
      if (photo) this.place(photo);
    }
  }

  /**
   * @param {Order} order
   * @param {{photos: Photo[], nextCursor: string | null}} page the first one
   */
  #restart(order, page) {
    this.order = order;
    this.sections = [];
    this.#sectionOf.clear();
    this.#append(page);
    this.ready = page.photos.length > 0 || order === "uploaded";
    this.#placeChanged();
    if (this.ready) this.#handlers.onChange();
  }

  /** @param {{bucket: string, photos: number}[]} buckets all days */
  #adopt(buckets) {
    // The first page may have ended within a day.
    const last = this.sections.at(-1);
    if (last && this.#tail) Object.assign(last, { complete: false, cursor: this.#tail.cursor });
    this.#tail = null;
    this.sections = recounted(this.sections, buckets);
    this.ready = true;
    this.#placeChanged();
    this.#handlers.onChange();
  }

  /** Repeat what has failed. */
  retry() {
    this.#failed = false;
    if (this.ready) this.#pump();
    else this.open(this.order);
  }

  /**
   * Load these sections, the first ones first.
   * @param {Section[]} sections in or near the window
   * @param {boolean} atEnd whether the last section is among them
   */
  need(sections, atEnd) {
    this.#wanted = sections;
    this.#wantsTail = atEnd;
    this.#pump();
  }

  /**
   * Load the first photos of a section, or all of them.
   * @param {Section} section
   * @param {boolean} [all]
   */
  async ensure(section, all = false) {
    while (!section.complete && (all || section.ids.length === 0)) {
      if (!(await this.#load([section]))) return;
    }
  }

  /**
   * Load the section of a known photo up to it.
   * @param {string} photoId
   * @returns {Promise<boolean>} whether the photo is loaded
   */
  async reveal(photoId) {
    const photo = this.#library.get(photoId);
    const key = photo && this.#keyOf(photo);
    const section = this.sections.find((one) => one.key === key);
    while (section && !this.#sectionOf.has(photoId) && !section.complete) {
      if (!(await this.#load([section]))) break;
    }
    return this.#sectionOf.has(photoId);
  }

  /**
   * Return the photo next to this one in page order; load it if necessary.
   * @param {string} photoId
   * @param {1 | -1} step
   * @returns {Promise<string | null>} null at the end
   */
  async neighbour(photoId, step) {
    const section = this.#sectionOf.get(photoId);
    if (!section) return null;
    const at = section.ids.indexOf(photoId) + step;
    if (at >= section.ids.length && !section.complete) await this.#load([section]);
    const inside = section.ids[at];
    if (inside !== undefined) return inside;
    const isLast = section === this.sections.at(-1);
    if (step === 1 && isLast && this.#tail && this.order === "uploaded") await this.#loadTail();
    return edge(this, this.sections.indexOf(section) + step, step);
  }

  /**
   * Add a photo, or move it to where it now belongs.
   * @param {Photo} photo
   * @param {boolean} [isNew] whether no count includes it yet
   */
  place(photo, isNew = false) {
    this.#changed?.add(photo.photoId);
    if (!this.ready) return;
    const key = this.#keyOf(photo);
    const known = this.#sectionOf.get(photo.photoId);
    if (known?.key === key && isInOrder(known, photo.photoId, (photoId) => this.#rankOfId(photoId))) {
      known.changes += 1;
    } else {
      if (known) this.drop(photo.photoId);
      const section = this.#sectionFor(key);
      if (!section) return;
      const isShown = this.#insert(section, photo);
      if (section.complete) section.count = section.ids.length;
      else section.count = Math.max(section.count + Number(isNew || known !== undefined), section.ids.length);
      if (!isShown) section.changes += 1;
    }
    this.#handlers.onChange();
  }

  /** @param {string} photoId */
  drop(photoId) {
    const section = this.#sectionOf.get(photoId);
    if (!section) return;
    this.#sectionOf.delete(photoId);
    section.ids = section.ids.filter((other) => other !== photoId);
    section.count -= 1;
    section.changes += 1;
    this.#removeIfEmpty(section);
    this.#handlers.onChange();
  }

  /** A photo that is not loaded was deleted or changed: count again. */
  recount() {
    this.#isRecountDue = this.#changed !== null;
    if (this.order !== "taken" || this.#recount !== 0 || !this.ready) return;
    this.#recount = setTimeout(async () => {
      this.#recount = 0;
      const generation = this.#generation;
      try {
        const buckets = await api.timeline(this.#library.clientId, null);
        if (generation !== this.#generation) return;
        this.#adopt(buckets);
      } catch (error) {
        // The estimate stays; loading a day corrects it.
        if (!(error instanceof api.Problem)) throw error;
      }
    }, RECOUNT_MS);
  }

  /**
   * @param {string} key
   * @returns {Section | null} null if the days before it are not known yet
   */
  #sectionFor(key) {
    const index = this.sections.findIndex((section) => section.key <= key);
    const found = this.sections[index];
    if (found?.key === key) return found;
    if (index === -1 && this.#tail !== null) return null;
    const made = { ...newSection(key, 0), complete: true };
    this.sections.splice(index === -1 ? this.sections.length : index, 0, made);
    return made;
  }

  /**
   * @param {Section} section
   * @param {Photo} photo
   * @param {boolean} [isListed] whether it comes from a list, so that no photo before it is missing
   * @returns {boolean} whether it belongs to the loaded part of the section
   */
  #insert(section, photo, isListed = false) {
    const rank = this.#rank(photo);
    let at = section.ids.length;
    for (; at > 0; at -= 1) {
      if ((this.#rankOfId(section.ids[at - 1] ?? "") ?? "") > rank) break;
    }
    if (at === section.ids.length && !section.complete && !isListed) return false;
    section.ids.splice(at, 0, photo.photoId);
    this.#sectionOf.set(photo.photoId, section);
    section.changes += 1;
    return true;
  }

  /** @param {Section} section */
  #removeIfEmpty(section) {
    const isEmpty = section.ids.length === 0 && (section.complete || section.count <= 0);
    if (isEmpty) this.sections = this.sections.filter((other) => other !== section);
  }

  #pump() {
    while (!this.#failed && this.#loads < LOADS_AT_ONCE) {
      const next = nextLoad(this.sections, this.#wanted);
      if (next) this.#load(next);
      else break;
    }
    if (this.#wantsTail && this.#tail && this.order === "uploaded" && !this.#failed) this.#loadTail();
  }

  /**
   * @param {Section[]} load adjacent ones, of which only a single one may have photos already
   * @returns {Promise<boolean>} whether it succeeded
   */
  async #load(load) {
    const [first, last] = [load[0], load.at(-1)];
    if (!first || !last) return false;
    const generation = this.#generation;
    this.#loads += 1;
    for (const section of load) section.loading = true;
    const range = rangeOf(this.order, last.key, first.key);
    const query = { sort: this.order, ...range, cursor: first.cursor, limit: PAGE };
    try {
      const { photos, nextCursor } = await this.#library.load(query);
      if (generation !== this.#generation) return false;
      for (const photo of photos) this.#add(photo);
      const end = photos.at(-1);
      const reached = end && nextCursor !== null ? this.#keyOf(end) : "";
      for (const section of load) {
        section.complete = section.key > reached;
        if (section.key === reached) section.cursor = nextCursor;
        if (section.complete) section.count = section.ids.length;
        section.changes += 1;
        this.#removeIfEmpty(section);
      }
      return true;
    } catch (error) {
      if (generation === this.#generation) this.#fail(error);
      return false;
    } finally {
      for (const section of load) section.loading = false;
      if (generation === this.#generation) {
        this.#loads -= 1;
        this.#forgetFarthest();
        this.#handlers.onChange();
        this.#pump();
      }
    }
  }

  /** @param {Photo} photo from a list */
  #add(photo) {
    if (this.#sectionOf.has(photo.photoId)) return;
    const section = this.#sectionFor(this.#keyOf(photo));
    if (section) this.#insert(section, photo, true);
  }

  async #loadTail() {
    const tail = this.#tail;
    if (!tail || this.#isTailLoading) return;
    const generation = this.#generation;
    this.#isTailLoading = true;
    try {
      const page = await this.#library.load({ sort: this.order, cursor: tail.cursor, limit: PAGE });
      if (generation !== this.#generation) return;
      this.#append(page);
    } catch (error) {
      if (generation === this.#generation) this.#fail(error);
    } finally {
      if (generation === this.#generation) {
        this.#isTailLoading = false;
        this.#handlers.onChange();
      }
    }
  }

  /** @param {{photos: Photo[], nextCursor: string | null}} page of the list by date added */
  #append({ photos, nextCursor }) {
    this.#tail = null;
    for (const photo of photos) {
      this.#add(photo);
      const section = this.#sectionOf.get(photo.photoId);
      if (section) section.count = section.ids.length;
    }
    this.#tail = nextCursor === null ? null : { cursor: nextCursor };
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#failed = true;
    this.#handlers.onFailed(error);
  }

  #forgetFarthest() {
    const excess = this.#sectionOf.size - KEPT;
    if (excess <= 0) return;
    const pinned = this.pinned().map((photoId) => this.#sectionOf.get(photoId ?? ""));
    for (const section of farthest(this.sections, this.#wanted, excess)) {
      if (pinned.includes(section)) continue;
      for (const photoId of section.ids) this.#sectionOf.delete(photoId);
      this.#library.forget(section.ids);
      Object.assign(section, { ids: [], cursor: null, complete: false, changes: section.changes + 1 });
    }
  }
}
