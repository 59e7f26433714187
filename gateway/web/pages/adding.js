/** Take files at any time; what uploads them is loaded when they come, or when the browser is idle. */

import { later } from "./later.js";

/**
 * @typedef {import("./uploads.js").Uploads} Uploads
 */

export class Adding {
  /**
   * @param {() => string | null} clientId who is signed in
   * @param {ConstructorParameters<typeof import("./tray.js").Tray>[2] & {isConnected: () => boolean}} handlers
   */
  constructor(clientId, handlers) {
    this.#clientId = clientId;
    this.#handlers = handlers;
  }

  #clientId;
  #handlers;
  /** @type {Uploads | null} */
  #uploads = null;
  /** @type {import("./upload-session.js").UploadSession | null} */
  #session = null;
  /** Files that came before what uploads them, and who chose them. @type {{clientId: string, files: File[]}[]} */
  #early = [];

  load = later(async () => {
    const [{ Uploads }, { UploadSession }, { Tray }, { announceUpload }] = await Promise.all([
      import("./uploads.js"),
      import("./upload-session.js"),
      import("./tray.js"),
      import("./upload-words.js"),
    ]);
    const session = new UploadSession(() => tray.changed());
    const uploads = new Uploads(session, {
      onChange: (upload) => {
        tray.changed();
        announceUpload(upload);
      },
      isConnected: this.#handlers.isConnected,
    });
    const tray = new Tray(uploads, session, this.#handlers);
    this.#session = session;
    this.#uploads = uploads;
    this.#resume();
    return { uploads, tray };
  });

  /** @param {File[]} files */
  add(files) {
    const clientId = this.#clientId();
    if (clientId === null) return;
    if (this.#uploads) return this.#uploads.add(files);
    this.#early.push({ clientId, files });
    void this.load();
  }

  /** Somebody has signed in. */
  enter() {
    if (this.#uploads) this.#resume();
  }

  #resume() {
    const clientId = this.#clientId();
    if (clientId === null) return;
    this.#uploads?.resume(clientId);
    const early = this.#early.filter((one) => one.clientId === clientId);
    this.#early = [];
    for (const { files } of early) this.#uploads?.add(files);
  }

  /** Nobody is signed in any more. */
  leave() {
    this.#uploads?.pause();
  }

  /** @param {import("./photo.js").PhotoEvent} event */
  receive(event) {
    this.#session?.receive(event);
  }

  /** The page may have missed events. */
  reload() {
    this.#session?.reload();
  }

  /** The server is back: retry the uploads that wait for it. */
  retryHeld() {
    this.#uploads?.retryHeld();
  }

  forgetAll() {
    this.#early = [];
    this.#uploads?.forgetAll();
  }

  get #waiting() {
    return this.#early.reduce((sum, { files }) => sum + files.length, 0);
  }

  /** How many are in progress or will start without a further click. */
  get pending() {
    return this.#waiting + (this.#uploads?.pending ?? 0);
  }

  /** How many a sign-out keeps from being uploaded. */
  get unsent() {
    return this.#waiting + (this.#uploads?.unsent ?? 0);
  }

  /** Whether a reload would lose files. */
  get wouldLose() {
    return this.#waiting > 0 || (this.#uploads?.wouldLose ?? false);
  }
}
