/** The sections of the timeline, and which of them to load, to count again or to forget. */

/**
 * @typedef {object} Section
 * @property {string} key its day, `2019-05-01`
 * @property {number} count of photos, as far as known
 * @property {string[]} ids of the loaded photos, which are its first ones
 * @property {string | null} cursor to load more
 * @property {boolean} complete
 * @property {boolean} loading
 * @property {number} changes counts its changes, so that its layout can be kept
 */

/** Photos of one request, unless a single day has more. */
const ENOUGH = 60;

/**
 * @param {string} key
 * @param {number} count
 * @returns {Section}
 */
export function newSection(key, count) {
  return { key, count, ids: [], cursor: null, complete: false, loading: false, changes: 0 };
}

/**
 * @param {Section[]} sections all, the latest first
 * @param {Section[]} wanted the most urgent first
 * @returns {Section[] | null} adjacent sections that one request can load, if any is to be loaded
 */
export function nextLoad(sections, wanted) {
  const first = wanted.find(({ complete, loading }) => !complete && !loading);
  if (!first) return null;
  const load = [first];
  let sum = first.count;
  for (let at = sections.indexOf(first) + 1; first.ids.length === 0; at += 1) {
    const next = sections[at];
    if (!next || next.ids.length > 0 || next.loading || next.complete) break;
    if (sum + next.count > ENOUGH || !wanted.includes(next)) break;
    sum += next.count;
    load.push(next);
  }
  return load;
}

/**
 * Whether a photo of the section is still where its rank puts it.
 * @param {Section} section
 * @param {string} photoId
 * @param {(photoId: string) => string | undefined} rankOf
 */
export function isInOrder({ ids }, photoId, rankOf) {
  const at = ids.indexOf(photoId);
  const [before, rank, after] = [at - 1, at, at + 1].map((index) => rankOf(ids[index] ?? ""));
  return rank !== undefined && (before ?? "~") > rank && (after ?? "") < rank;
}

/**
 * Return the sections with the counts of the server; those that are complete know better.
 * @param {Section[]} sections
 * @param {{bucket: string, photos: number}[]} buckets
 */
export function recounted(sections, buckets) {
  const known = new Map(sections.map((section) => [section.key, section]));
  const counted = buckets.map(({ bucket, photos }) => {
    const section = known.get(bucket) ?? newSection(bucket, photos);
    known.delete(bucket);
    if (section.count !== photos && !section.complete) {
      section.count = Math.max(photos, section.ids.length);
      section.changes += 1;
    }
    return section;
  });
  const others = [...known.values()].filter(({ ids }) => ids.length > 0);
  return [...counted, ...others].sort((a, b) => (a.key < b.key ? 1 : -1));
}

/**
 * Return the loaded sections farthest from the wanted ones.
 * @param {Section[]} sections
 * @param {Section[]} wanted
 * @param {number} excess how many photos they should have together
 */
export function farthest(sections, wanted, excess) {
  const places = wanted.map((section) => sections.indexOf(section));
  const [from, to] = [Math.min(...places), Math.max(...places)];
  const far = sections
    .map((section, index) => ({ section, distance: Math.max(from - index, index - to) }))
    .filter(({ section, distance }) => distance > 0 && section.ids.length > 0 && !section.loading)
    .sort((a, b) => b.distance - a.distance);
  let left = excess;
  /** @type {Section[]} */
  const found = [];
  for (const { section } of far) {
    if (left <= 0) break;
    left -= section.ids.length;
    found.push(section);
  }
  return found;
}
