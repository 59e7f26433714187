/** Keyboard navigation in the grid: one card is in the tab order; arrow keys, Home and End move on. */

import { edge } from "./walk.js";

/**
 * @param {import("./grid.js").Grid} grid
 * @param {import("./timeline.js").Timeline} timeline
 */
export function moveByKeys(grid, timeline) {
  /** @type {Record<string, (photoId: string) => Promise<string | null> | string | null>} */
  const moves = {
    ArrowRight: (photoId) => timeline.neighbour(photoId, 1),
    ArrowLeft: (photoId) => timeline.neighbour(photoId, -1),
    ArrowDown: (photoId) => grid.geometry.inNextRow(photoId, 1) ?? timeline.neighbour(photoId, 1),
    ArrowUp: (photoId) => grid.geometry.inNextRow(photoId, -1) ?? timeline.neighbour(photoId, -1),
    Home: () => edge(timeline, 0, 1),
    End: () => edge(timeline, timeline.sections.length - 1, -1),
  };
  let keys = 0;
  grid.element.addEventListener("keydown", async (event) => {
    const target = /** @type {Element} */ (event.target);
    const card = /** @type {HTMLElement | null} */ (target.closest(".card"));
    const move = moves[event.key];
    if (!card || !move || !target.matches(".frame")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys += 1;
    const key = keys;
    const to = await move(card.dataset.photoId ?? "");
    // While photos were loaded, another key may have been pressed.
    if (to !== null && key === keys) grid.focus(to);
  });
}
