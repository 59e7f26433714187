/** Show the uploads: their cards, the line in the bar, and notices. */

import { byId } from "./dom.js";
import { counted } from "./format.js";
import { announce, showNotice } from "./notices.js";

/**
 * @typedef {import("./uploads.js").Upload} Upload
 * @typedef {import("./notices.js").Sentence} Sentence
 */

/** @type {Sentence} */
const begun = (names) => `Uploading ${counted(names.length, "photo")}.`;
/** @type {Sentence} */
const held = (names) => `${counted(names.length, "photo")} will be uploaded when the server is back.`;
/** @type {Sentence} */
const known = (names) => `${counted(names.length, "photo was", "photos were")} already uploaded.`;

export class UploadStatus {
  /**
   * @param {object} parts
   * @param {import("./uploads.js").Uploads} parts.uploads
   * @param {import("./grid.js").Grid} parts.grid
   * @param {(photoId: string) => void} parts.onJump
   */
  constructor({ uploads, grid, onJump }) {
    this.#uploads = uploads;
    this.#grid = grid;
    this.#onJump = onJump;
  }

  #uploads;
  #grid;
  #onJump;
  #text = byId("sending");
  #bar = /** @type {HTMLProgressElement} */ (byId("sending-bar"));

  /** @param {Upload} upload that has changed */
  show(upload) {
    this.#grid.showUpload(upload, {
      retry: () => this.#uploads.retry(upload),
      dismiss: () => this.#dismiss(upload),
      jump: (photoId) => {
        this.#dismiss(upload);
        this.#onJump(photoId);
      },
    });
    this.#say(upload);
    this.#showAll();
  }

  /** Stop and forget all of them. */
  forget() {
    for (const upload of this.#grid.uploads) this.#dismiss(upload);
    this.#uploads.forgetAll();
    this.#showAll();
  }

  /** @param {Upload} upload */
  #say({ file, state, fraction, attempts, problem }) {
    if (state === "sending" && fraction === 0 && attempts === 1) announce(file.name, begun);
    if (state === "failed") announce(`${file.name} was not uploaded. ${problem?.words}`);
    if (state === "held") announce(file.name, held);
    if (state !== "duplicate") return;
    announce(file.name, known);
    const duplicates = this.#grid.uploads.filter((upload) => upload.state === "duplicate");
    if (duplicates.length < 2) return;
    const act = () => duplicates.forEach((upload) => this.#dismiss(upload));
    showNotice(`${duplicates.length} of these photos were already uploaded.`, {
      offer: { label: "Dismiss them", act },
      passing: true,
    });
  }

  #showAll() {
    const { open, all, fraction } = this.#uploads.progress;
    this.#text.hidden = this.#bar.hidden = open === 0;
    this.#text.textContent = `Uploading ${all - open + 1} of ${all}`;
    this.#bar.value = fraction;
  }

  /** @param {Upload} upload */
  #dismiss(upload) {
    this.#uploads.forget(upload);
    this.#grid.dismiss(upload);
  }
}
