/** Accept files that are dropped anywhere on the page, including folders, or chosen. */

import { bringToFront } from "./dom.js";

/**
 * @param {FileSystemEntry} entry
 * @returns {Promise<File[]>} every file in it, at any depth
 */
async function filesIn(entry) {
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    return [await new Promise((resolve, reject) => file.file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {File[]} */
  const files = [];
  // A reader returns a folder in parts; an empty part is the end.
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) return files;
    for (const inner of part) {
      if (!inner.name.startsWith(".")) files.push(...(await filesIn(inner)));
    }
  }
}

/**
 * @param {DataTransfer} dropped
 * @returns {Promise<File[]>}
 */
async function filesOf(dropped) {
  // Take the entries now: the list is emptied when this event ends.
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry());
  const files = [...dropped.files];
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  const inside = entries.filter((entry) => entry !== null).map(filesIn);
  return (await Promise.all(inside)).flat();
}

/**
 * @param {object} options
 * @param {HTMLElement} options.hint shown while files are over the page
 * @param {() => boolean} options.isWanted
 * @param {() => (files: File[]) => void} options.taker called with each drop; what it returns is
 *   called with the files, which takes a while if there are folders
 * @param {() => void} options.onUnreadable the browser cannot read a folder
 */
export function acceptDrops({ hint, isWanted, taker, onUnreadable }) {
  let depth = 0;
  const carriesFiles = (/** @type {DragEvent} */ event) =>
    event.dataTransfer?.types.includes("Files") ?? false;
  const enter = (/** @type {number} */ step) => {
    depth = Math.max(0, depth + step);
    hint.hidden = depth === 0 || !isWanted();
    if (!hint.hidden) bringToFront(hint);
  };
  addEventListener("dragenter", (event) => carriesFiles(event) && enter(1));
  addEventListener("dragleave", (event) => carriesFiles(event) && enter(-1));
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  addEventListener("drop", async (event) => {
    if (!event.dataTransfer || !carriesFiles(event)) return;
    // Otherwise the browser leaves the page and opens the file.
    event.preventDefault();
    enter(-depth);
    if (!isWanted()) return;
    const take = taker();
    try {
      take(await filesOf(event.dataTransfer));
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      onUnreadable();
    }
  });
}

/**
 * @param {HTMLInputElement} picker
 * @param {HTMLElement[]} buttons that open it
 * @param {(files: File[]) => void} onFiles
 */
export function acceptChosen(picker, buttons, onFiles) {
  for (const button of buttons) button.addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    onFiles([...(picker.files ?? [])]);
    // Choosing the same file again must fire a change event again.
    picker.value = "";
  });
}
