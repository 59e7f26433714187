/** Where each day and each of its photos is: arithmetic on sections, in CSS pixels. */

import { estimate, heightOf, justify, spaceFor } from "./layout.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./layout.js").Row} Row
 * @typedef {import("./timeline.js").Section} Section
 * @typedef {{key: string, photoIds: string[], offset: number}} Anchor what is at the top of the
 *   window: its day, its photos, and how far below the top of the window their row begins
 */

/**
 * @typedef {object} Layout of a section
 * @property {number} changes of the section when it was made
 * @property {number} width
 * @property {Set<string>} starts see `justify`
 * @property {Row[]} rows
 * @property {number} height of the rows, including those that are not loaded
 */

const DAY_HEAD = 44;
const MONTH_HEAD = 64;
const DAY_GAP = 14;

export class Geometry {
  /**
   * @param {import("./timeline.js").Timeline} timeline
   * @param {(photoId: string) => Photo | undefined} photo
   * @param {(section: Section) => boolean} isShown whether a person may be looking at it
   */
  constructor(timeline, photo, isShown) {
    this.#timeline = timeline;
    this.#photo = photo;
    this.#isShown = isShown;
  }

  #timeline;
  #photo;
  #isShown;
  /** @type {Map<Section, Layout>} */
  #layouts = new Map();
  /** The top of each section. @type {Map<Section, number>} */
  #tops = new Map();
  /** @type {Set<Section>} */
  #firstOfMonth = new Set();
  space = spaceFor(0);
  /** The height of all photos. */
  height = 0;
  /** The first section of each month, in page order. @type {Section[]} */
  months = [];

  /** @param {number} width of the rows */
  resize(width) {
    this.space = spaceFor(width);
  }

  /** Compute the place of every section. */
  measure() {
    const { sections } = this.#timeline;
    this.#firstOfMonth.clear();
    this.#tops.clear();
    this.months = [];
    let month = "";
    let y = 0;
    for (const section of sections) {
      if (section.key.slice(0, 7) !== month) {
        this.#firstOfMonth.add(section);
        this.months.push(section);
      }
      month = section.key.slice(0, 7);
      this.#tops.set(section, y);
      y += this.headOf(section) + this.layoutOf(section).height;
    }
    for (const section of this.#layouts.keys()) {
      if (!this.#tops.has(section)) this.#layouts.delete(section);
    }
    this.height = y;
  }

  /** @param {Section} section */
  isFirstOfMonth(section) {
    return this.#firstOfMonth.has(section);
  }

  /** @param {Section} section */
  headOf(section) {
    return DAY_HEAD + (this.isFirstOfMonth(section) ? MONTH_HEAD : 0);
  }

  /** @param {Section | undefined} section */
  topOf(section) {
    return (section && this.#tops.get(section)) ?? 0;
  }

  /** @param {Section} section */
  bottomOf(section) {
    return this.topOf(section) + this.headOf(section) + this.layoutOf(section).height;
  }

  /**
   * @param {number} y
   * @returns {number} the index of the section there
   */
  indexAt(y) {
    const { sections } = this.#timeline;
    let [low, high] = [0, sections.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.topOf(sections[middle]) <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /**
   * @param {Section} section
   * @returns {Layout}
   */
  layoutOf(section) {
    const known = this.#layouts.get(section);
    const { width, gap } = this.space;
    const { changes } = section;
    if (known?.changes === changes && known.width === width) return known;
    const isSameWidth = known?.width === width;
    const rows = isSameWidth ? known.rows.length : 0;
    // A day that was loaded before keeps its height.
    if (known && rows > 0 && section.ids.length === 0) return this.#keep(section, { ...known, changes, rows: [] });
    const starts = isSameWidth && this.#isShown(section) ? known.starts : new Set();
    const shapes = section.ids.map((photoId) => {
      const { width: across, height: down } = this.#photo(photoId) ?? {};
      return { photoId, ratio: across && down ? across / down : null };
    });
    const made = justify(shapes, this.space, starts);
    const missing = section.complete ? 0 : Math.max(0, section.count - section.ids.length);
    const height = heightOf(made, gap) + estimate(missing, this.space) + DAY_GAP;
    return this.#keep(section, { changes, width, starts, rows: made, height });
  }

  /**
   * @param {Section} section
   * @param {Layout} layout
   */
  #keep(section, layout) {
    this.#layouts.set(section, layout);
    return layout;
  }

  /** @param {Section} section */
  loadedHeight(section) {
    return heightOf(this.layoutOf(section).rows, this.space.gap);
  }

  /** @param {string} photoId of a loaded photo */
  placeOf(photoId) {
    const section = this.#timeline.sectionOf(photoId);
    for (const row of section ? this.layoutOf(section).rows : []) {
      const tile = row.tiles.find((each) => each.photoId === photoId);
      if (section && tile) {
        return { section, row, tile, top: this.topOf(section) + this.headOf(section) + row.y };
      }
    }
    return null;
  }

  /**
   * Return the photo above or below: the one in the next row that is closest to the same column.
   * @param {string} photoId
   * @param {1 | -1} step
   * @returns {string | null}
   */
  inNextRow(photoId, step) {
    const { sections } = this.#timeline;
    const place = this.placeOf(photoId);
    if (!place) return null;
    const rows = this.layoutOf(place.section).rows;
    let row = rows[rows.indexOf(place.row) + step];
    for (let at = sections.indexOf(place.section) + step; !row && sections[at]; at += step) {
      const others = this.layoutOf(/** @type {Section} */ (sections[at])).rows;
      row = step === 1 ? others[0] : others.at(-1);
    }
    const middle = place.tile.x + place.tile.width / 2;
    const distance = (/** @type {import("./layout.js").Tile} */ tile) =>
      Math.abs(tile.x + tile.width / 2 - middle);
    return [...(row?.tiles ?? [])].sort((a, b) => distance(a) - distance(b))[0]?.photoId ?? null;
  }

  /**
   * @param {number} y
   * @param {Iterable<Section>} sections in page order
   * @returns {Anchor | null} what is at `y`
   */
  anchorAt(y, sections) {
    for (const section of sections) {
      // As it was measured, even if the section has changed since.
      const { rows, height } = this.#layouts.get(section) ?? this.layoutOf(section);
      const top = this.topOf(section);
      // Of what ends here, at most its gap is in the window.
      if (top + this.headOf(section) + height - DAY_GAP < y) continue;
      if (top >= y || rows.length === 0) return { key: section.key, photoIds: [], offset: top - y };
      const first = top + this.headOf(section);
      const at = rows.findIndex((row) => first + row.y + row.height / 2 >= y);
      const row = rows[at];
      if (!row) continue;
      const near = rows.slice(at, at + 3).flatMap(({ tiles }) => tiles);
      const photoIds = near.map(({ photoId }) => photoId);
      return { key: section.key, photoIds, offset: first + row.y - y };
    }
    return null;
  }

  /**
   * @param {Anchor} anchor
   * @returns {{y: number, isFinal: boolean} | null} the `y` at which the anchor would be found;
   *   final unless its photos are still to be loaded
   */
  placeOfAnchor({ key, photoIds, offset }) {
    const { sections } = this.#timeline;
    const places = photoIds.map((photoId) => this.placeOf(photoId));
    const place = places.find((one) => one?.section.key === key);
    if (place) return { y: place.top - offset, isFinal: true };
    const section = sections.find((one) => one.key <= key) ?? sections.at(-1);
    if (!section) return null;
    const head = photoIds.length > 0 ? this.headOf(section) : 0;
    return { y: this.topOf(section) + head - offset, isFinal: photoIds.length === 0 || section.complete };
  }

  /**
   * Whether photos of the section between `from` and `to` are not loaded.
   * @param {Section} section
   * @param {number} from
   * @param {number} to
   */
  lacks(section, from, to) {
    if (section.complete || this.bottomOf(section) < from) return false;
    if (section.ids.length === 0) return true;
    return this.topOf(section) + this.headOf(section) + this.loadedHeight(section) < to;
  }
}
