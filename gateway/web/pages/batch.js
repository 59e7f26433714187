/** Run one request for each of many photos, a few at once; show progress and what failed. */

import * as api from "./api.js";
import { byId, h } from "./dom.js";
import { t } from "./language.js";
import { announce, showNotice } from "./notices.js";

const AT_ONCE = 4;

/**
 * @typedef {{photoId: string, name: string, why: string}} Failure
 */

/**
 * @param {string[]} photoIds
 * @param {object} options
 * @param {(photoId: string) => Promise<unknown>} options.act
 * @param {(photoId: string) => string} options.nameOf
 * @param {(done: number, all: number) => string} options.progress the words while it runs
 * @param {(done: number) => string} options.result the words for those that succeeded
 * @returns {Promise<void>}
 */
export async function runBatch(photoIds, { act, nameOf, progress, result }) {
  const box = byId("batch");
  /** @type {Failure[]} */
  const failures = [];
  const names = new Map(photoIds.map((photoId) => [photoId, nameOf(photoId)]));
  let done = 0;
  let isStopped = false;
  const words = h("p", { role: "status" });
  const bar = h("progress", { max: photoIds.length, value: 0, "aria-label": t.batch.progress });
  const stop = () => (isStopped = true);
  box.replaceChildren(words, bar, h("button", { type: "button", class: "button small", onclick: stop }, t.batch.stop));
  box.hidden = false;
  const turns = photoIds.values();
  const takeTurns = async () => {
    for (const photoId of turns) {
      if (isStopped) return;
      try {
        await act(photoId);
        done += 1;
      } catch (error) {
        if (api.isSignedOut(error)) stop();
        failures.push({ photoId, name: names.get(photoId) ?? photoId, why: api.wordsOf(error) });
      }
      bar.value = done + failures.length;
      words.textContent = progress(done + failures.length, photoIds.length);
    }
  };
  words.textContent = progress(0, photoIds.length);
  await Promise.all(Array.from({ length: AT_ONCE }, takeTurns));
  showResult(box, [result(done), isStopped ? t.batch.stopped(photoIds.length - done - failures.length) : ""], failures);
}

/**
 * @param {HTMLElement} box
 * @param {string[]} sentences
 * @param {Failure[]} failures
 */
function showResult(box, sentences, failures) {
  const text = sentences.filter(Boolean).join(" ");
  const close = () => (box.hidden = true);
  if (failures.length === 0) {
    close();
    showNotice(text, { passing: true });
    return;
  }
  announce(text);
  const list = failures.map(({ name, why }) => h("li", {}, h("bdi", {}, name), `: ${why}`));
  box.replaceChildren(
    h("p", {}, text),
    h("p", { class: "bad" }, t.batch.failed(failures.length)),
    h("ul", { class: "batch-failures", tabIndex: 0, "aria-label": t.batch.failed(failures.length) }, ...list),
    h("button", { type: "button", class: "button small", onclick: close }, t.common.close),
  );
}
