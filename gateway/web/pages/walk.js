/** Find photos by their place in the timeline; load what is on the way. */

/** @typedef {import("./timeline.js").Timeline} Timeline */

/**
 * Return the first photo of a section, or its last one when going back.
 * @param {Timeline} timeline
 * @param {number} index
 * @param {1 | -1} step where to continue if the section turns out to be empty
 * @returns {Promise<string | null>}
 */
export async function edge(timeline, index, step) {
  const section = timeline.sections[index];
  if (!section) return null;
  await timeline.ensure(section, step === -1);
  const found = step === 1 ? section.ids[0] : section.ids.at(-1);
  if (found !== undefined) return found;
  const now = timeline.sections.indexOf(section);
  const beside = step === 1 ? index : index - 1;
  return edge(timeline, now === -1 ? beside : now + step, step);
}

/**
 * Return the photos from one to another in page order, both included.
 * @param {Timeline} timeline
 * @param {string} one
 * @param {string} other
 * @returns {Promise<string[]>}
 */
export async function between(timeline, one, other) {
  const places = [one, other].map((photoId) => {
    const section = timeline.sectionOf(photoId);
    return section ? timeline.sections.indexOf(section) : -1;
  });
  const [from, to] = [Math.min(...places), Math.max(...places)];
  if (from < 0) return [other];
  const sections = timeline.sections.slice(from, to + 1);
  for (const section of sections) await timeline.ensure(section, true);
  const ids = sections.flatMap((section) => section.ids);
  const [a, b] = [ids.indexOf(one), ids.indexOf(other)];
  return ids.slice(Math.min(a, b), Math.max(a, b) + 1);
}
