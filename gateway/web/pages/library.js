/**
 * The photos known to this page, kept current by their events.
 *
 * Each photo has the position of its last event. An event at or before that position is already
 * included, in whatever order lists, single photos and events arrive.
 */

import * as api from "./api.js";
import { evolve, isRunning, photoFromUpload } from "./photo.js";
import { isAfter } from "./position.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {import("./photo.js").StageState} StageState
 * @typedef {"added" | "changed" | "removed"} Change
 */

const FETCHES_AT_ONCE = 4;
/** Events come in bursts; fetch a photo once for several of them. */
const GATHER_MS = 60;
const TRY_AGAIN_MS = 3_000;

export class Library {
  /**
   * @param {object} handlers
   * @param {(change: Change, photo: Photo, event: PhotoEvent | null) => void} handlers.onChange
   * @param {(event: PhotoEvent) => void} handlers.onUnknown an event of a photo that is not known
   */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** The client that owns the photos. */
  clientId = "";
  #handlers;
  /** @type {Map<string, Photo>} */
  #photos = new Map();
  /** Events that arrived during each load. @type {Set<PhotoEvent[]>} */
  #meanwhile = new Set();
  /** Photos to fetch, and the position that each must include. @type {Map<string, string | null>} */
  #wanted = new Map();
  #timer = 0;
  #fetching = 0;

  /** @param {string} photoId */
  get(photoId) {
    return this.#photos.get(photoId);
  }

  clear() {
    this.#photos.clear();
    this.#wanted.clear();
    this.#meanwhile.clear();
  }

  /** @param {string[]} photoIds they are no longer shown */
  forget(photoIds) {
    for (const photoId of photoIds) this.#photos.delete(photoId);
  }

  /**
   * Load a part of the list, and apply the events that arrived meanwhile.
   * @param {api.Query} query
   * @returns {Promise<{photos: Photo[], nextCursor: string | null}>}
   */
  async load(query) {
    /** @type {PhotoEvent[]} */
    const meanwhile = [];
    this.#meanwhile.add(meanwhile);
    const { clientId } = this;
    try {
      const { items, nextCursor } = await api.list({ clientId, ...query });
      this.#meanwhile.delete(meanwhile);
      if (this.clientId !== clientId) return { photos: [], nextCursor: null };
      const deleted = new Set(
        meanwhile.filter(({ type }) => type === "photo.deleted").map(({ data }) => data.photoId),
      );
      const there = items.filter(({ photoId }) => !deleted.has(photoId));
      for (const photo of there) this.merge(photo);
      for (const event of meanwhile) {
        const known = this.#photos.get(event.data.photoId);
        if (known) this.#advance(known, event);
      }
      const photos = there.map(({ photoId }) => this.#photos.get(photoId));
      return { photos: photos.filter((photo) => photo !== undefined), nextCursor };
    } finally {
      this.#meanwhile.delete(meanwhile);
    }
  }

  /**
   * Add a photo from the API.
   * @param {Photo} photo
   */
  merge(photo) {
    const known = this.#photos.get(photo.photoId);
    if (known && !isAfter(photo.position, known.position)) return;
    const stages = known?.jobId === photo.jobId ? known.stages : undefined;
    this.#set({ ...photo, stages }, known ? "changed" : null);
    if (isRunning(photo)) this.#want(photo.photoId, null);
  }

  /** @param {PhotoEvent} event */
  apply(event) {
    for (const events of this.#meanwhile) events.push(event);
    const { photoId } = event.data;
    const known = this.#photos.get(photoId);
    if (event.type === "photo.deleted" && known) this.removed(photoId);
    else if (known) this.#advance(known, event);
    else if (event.type === "photo.uploaded") this.#set(photoFromUpload(event), "added", event);
    else this.#handlers.onUnknown(event);
  }

  /** @param {string} photoId */
  removed(photoId) {
    this.#wanted.delete(photoId);
    const photo = this.#photos.get(photoId);
    if (photo === undefined) return;
    this.#photos.delete(photoId);
    this.#handlers.onChange("removed", photo, null);
  }

  /**
   * Return the photo; fetch it if it is not known.
   * @param {string} photoId
   * @returns {Promise<Photo>}
   */
  async find(photoId) {
    const known = this.#photos.get(photoId);
    if (known) return known;
    this.merge(await api.photo(photoId));
    return /** @type {Photo} */ (this.#photos.get(photoId));
  }

  /**
   * @param {Photo} photo
   * @param {PhotoEvent} event
   */
  #advance(photo, event) {
    if (!isAfter(event.id, photo.position)) return;
    const follows = event.metadata.photoVersion === photo.version + 1;
    const next = follows ? evolve(photo, event) : null;
    if (next === null) this.#want(photo.photoId, event.id);
    else this.#set(next, "changed", event);
  }

  /**
   * @param {Photo} photo
   * @param {Change | null} change
   * @param {PhotoEvent | null} [event]
   */
  #set(photo, change, event = null) {
    this.#photos.set(photo.photoId, photo);
    if (change !== null) this.#handlers.onChange(change, photo, event);
  }

  /**
   * @param {string} photoId
   * @param {string | null} after a position, or null when only the stages are missing
   */
  #want(photoId, after) {
    const wanted = this.#wanted.get(photoId) ?? null;
    this.#wanted.set(photoId, after !== null && isAfter(after, wanted) ? after : wanted);
    if (this.#timer === 0) this.#timer = setTimeout(() => this.#fetchWanted(), GATHER_MS);
  }

  #fetchWanted() {
    this.#timer = 0;
    for (const [photoId, after] of this.#wanted) {
      if (this.#fetching >= FETCHES_AT_ONCE) return;
      this.#wanted.delete(photoId);
      this.#fetching += 1;
      this.#fetch(photoId, after).finally(() => {
        this.#fetching -= 1;
        this.#fetchWanted();
      });
    }
  }

  /**
   * @param {string} photoId
   * @param {string | null} after
   */
  async #fetch(photoId, after) {
    try {
      if (after !== null) this.merge(await api.photo(photoId, after));
      const photo = this.#photos.get(photoId);
      if (photo && isRunning(photo)) await this.#fetchStages(photo);
    } catch (error) {
      if (!(error instanceof api.Problem)) throw error;
      if (error.status === 404 || error.status === 410) this.removed(photoId);
      else setTimeout(() => this.#photos.has(photoId) && this.#want(photoId, after), TRY_AGAIN_MS);
    }
  }

  /** @param {Photo} photo */
  async #fetchStages({ photoId, jobId }) {
    const { stages } = await api.job(jobId);
    const photo = this.#photos.get(photoId);
    if (!photo || photo.jobId !== jobId) return;
    /** @type {Record<string, StageState>} */
    const known = Object.fromEntries(stages.map(({ stage, status }) => [stage, status]));
    for (const [stage, state] of Object.entries(photo.stages ?? {})) {
      if (known[stage] !== "completed") known[stage] = state;
    }
    this.#set({ ...photo, stages: known }, "changed");
  }
}
