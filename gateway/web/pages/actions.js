/** What a person does to photos: delete, process again, download, one of them or many. */

import * as api from "./api.js";
import { runBatch } from "./batch.js";
import { h } from "./dom.js";
import { t } from "./language.js";
import { ask, showNotice } from "./notices.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./library.js").Library} Library
 */

const DOWNLOAD_PAUSE_MS = 1_500;

export class Actions {
  /**
   * @param {Library} library
   * @param {Map<string, string>} again photos being processed again from here, with their previous job
   * @param {() => void} clearSelection
   */
  constructor(library, again, clearSelection) {
    this.#library = library;
    this.#again = again;
    this.#clearSelection = clearSelection;
  }

  #library;
  #again;
  #clearSelection;

  /** @param {string} photoId */
  #nameOf = (photoId) => this.#library.get(photoId)?.originalFilename ?? photoId;

  /** @param {Photo} photo */
  async remove(photo) {
    const { question, detail, yes, no, failed } = t.deletion;
    if (!(await ask({ question: question(photo.originalFilename), detail: detail(1), yes, no }))) return;
    try {
      await api.remove(photo.photoId);
      this.#library.removed(photo.photoId);
    } catch (error) {
      if (!api.isSignedOut(error)) showNotice(failed(api.wordsOf(error)));
    }
  }

  /** @param {Photo} photo */
  async reprocess(photo) {
    try {
      this.#again.set(photo.photoId, photo.jobId);
      await api.reprocess(photo.photoId);
    } catch (error) {
      this.#again.delete(photo.photoId);
      if (!api.isSignedOut(error)) showNotice(t.reprocessFailed(api.wordsOf(error)));
    }
  }

  /** @param {string[]} photoIds */
  async removeAll(photoIds) {
    const { question, yes, no } = t.selection;
    const count = photoIds.length;
    if (!(await ask({ question: question(count), detail: t.deletion.detail(count), yes: yes(count), no: no(count) }))) return;
    this.#clearSelection();
    const act = async (/** @type {string} */ photoId) => {
      await api.remove(photoId);
      this.#library.removed(photoId);
    };
    await runBatch(photoIds, { act, nameOf: this.#nameOf, progress: t.batch.deleting, result: t.batch.deleted });
  }

  /** @param {string[]} photoIds */
  async reprocessAll(photoIds) {
    this.#clearSelection();
    await runBatch(photoIds, {
      act: api.reprocess,
      nameOf: this.#nameOf,
      progress: t.batch.requesting,
      result: t.batch.requested,
    });
  }

  /** @param {string[]} photoIds */
  async download(photoIds) {
    /** @type {string[]} */
    let urls;
    try {
      urls = await archiveUrls(photoIds);
    } catch (error) {
      if (!api.isSignedOut(error)) showNotice(api.wordsOf(error));
      return;
    }
    for (const [part, href] of urls.entries()) {
      // A browser that starts several downloads at once keeps only the last.
      if (part > 0) await new Promise((resolve) => setTimeout(resolve, DOWNLOAD_PAUSE_MS));
      h("a", { href, download: "" }).click();
    }
    showNotice(t.batch.downloading(urls.length), { passing: true });
  }
}

/** Photos of one archive: more would not fit into an address. */
const ARCHIVE = 400;

/**
 * Share photos out among archives that are small enough for the server.
 * @param {string[]} photoIds
 * @returns {Promise<string[]>} the addresses of the archives that hold their originals
 * @throws {api.Problem}
 */
async function archiveUrls(photoIds) {
  const url = `/api/photos/archive?photoIds=${photoIds.join(",")}`;
  let first = ARCHIVE;
  if (photoIds.length <= ARCHIVE) {
    try {
      await api.request("HEAD", url);
      return [url];
    } catch (error) {
      if (!(error instanceof api.Problem && error.status === 413)) throw error;
      if (photoIds.length === 1) return [api.originalUrl(photoIds[0] ?? "")];
      first = Math.ceil(photoIds.length / 2);
    }
  }
  return [...(await archiveUrls(photoIds.slice(0, first))), ...(await archiveUrls(photoIds.slice(first)))];
}
