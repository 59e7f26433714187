/** Lay photos out in justified rows: arithmetic only, in CSS pixels. */

/**
 * @typedef {{photoId: string, x: number, width: number}} Tile
 * @typedef {{y: number, height: number, tiles: Tile[]}} Row `y` counts from the first row
 * @typedef {{photoId: string, ratio: number | null}} Shape width by height; null while it is unknown
 * @typedef {{width: number, target: number, gap: number}} Space the width of a row, its desired
 *   height, and the space between photos
 */

/** Photos that are narrower or wider than this are cropped to it. */
const NARROWEST = 0.45;
const WIDEST = 5;
/** The ratio of a photo whose size is not known yet. */
export const USUAL = 4 / 3;

/** How much higher than desired a row may become to be filled. */
const STRETCH = 1.35;
const STRETCH_OF_LAST = 1.1;

/** @param {number | null} ratio */
function shown(ratio) {
  return Math.min(WIDEST, Math.max(NARROWEST, ratio ?? USUAL));
}

/**
 * Fill rows in order. A row that was full stays together when photos are added before or after it,
 * so nothing moves that a person may be looking at.
 * @param {Shape[]} shapes
 * @param {Space} space
 * @param {Set<string>} starts the photos that began a full row before; replaced by the new ones
 * @returns {Row[]}
 */
export function justify(shapes, space, starts) {
  const { width, target, gap } = space;
  const before = new Set(starts);
  starts.clear();
  /** @type {Row[]} */
  const rows = [];
  /** @type {Shape[]} */
  let row = [];
  let sum = 0;
  let y = 0;
  const fitting = () => (width - gap * (row.length - 1)) / sum;
  const close = (/** @type {number} */ stretch) => {
    const first = row[0];
    if (first === undefined) return;
    const isFull = fitting() <= target * stretch;
    const height = isFull ? fitting() : Math.min(target, fitting());
    let x = 0;
    const tiles = row.map(({ photoId, ratio }) => {
      const tile = { photoId, x, width: height * shown(ratio) };
      x += tile.width + gap;
      return tile;
    });
    if (isFull && row.every(({ ratio }) => ratio !== null)) starts.add(first.photoId);
    rows.push({ y, height, tiles });
    y += height + gap;
    row = [];
    sum = 0;
  };
  for (const shape of shapes) {
    const ratio = shown(shape.ratio);
    if (before.has(shape.photoId)) close(STRETCH);
    else if (row.length > 0) {
      const without = fitting();
      const within = (width - gap * row.length) / (sum + ratio);
      // Of a row that is too high and one that is too low, take the one closer to the target.
      if (without <= target * STRETCH && without / target < target / within) close(STRETCH);
    }
    row.push(shape);
    sum += ratio;
    if (fitting() <= target) close(STRETCH);
  }
  close(STRETCH_OF_LAST);
  return rows;
}

/**
 * @param {Row[]} rows
 * @param {number} gap
 * @returns {number} the height of all rows
 */
export function heightOf(rows, gap) {
  const last = rows.at(-1);
  return last === undefined ? 0 : last.y + last.height + gap;
}

/**
 * Estimate the height of photos that are not loaded.
 * @param {number} count
 * @param {Space} space
 */
export function estimate(count, { width, target, gap }) {
  const perRow = Math.max(1, (width + gap) / (USUAL * target + gap));
  return Math.ceil(count / perRow) * (target + gap);
}

/**
 * @param {number} width of the list
 * @returns {Space}
 */
export function spaceFor(width) {
  if (width < 560) return { width, target: 116, gap: 4 };
  if (width < 1_500) return { width, target: 200, gap: 8 };
  return { width, target: width < 2_600 ? 230 : 300, gap: 10 };
}
