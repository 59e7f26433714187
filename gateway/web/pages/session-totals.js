/** In the tray: what the server has counted in the upload session, and what can be done with it. */

import * as api from "./api.js";
import { h } from "./dom.js";
import { t } from "./language.js";
import { showNotice } from "./notices.js";
import { isOfTheFile } from "./photo.js";

/** @typedef {import("./upload-session.js").Totals} Totals */

export class SessionTotals {
  /** @param {import("./upload-session.js").UploadSession} session */
  constructor(session) {
    this.#session = session;
    this.element.append(
      this.#counts,
      this.#lasting,
      h("div", { class: "group-actions" }, this.#retry, this.#close),
    );
  }

  #session;
  #counts = h("ul", { class: "totals" });
  #lasting = h("p", { class: "reason", hidden: true }, t.uploads.lasting);
  #retry = this.#button(t.uploads.retryFailed, () => this.#session.retryFailed());
  #close = this.#button(t.uploads.closeSession, () => this.#session.close());
  element = h("section", { class: "upload-group", "aria-label": t.uploads.totals, hidden: true });
  /** What the person has dismissed: it is shown again when there is more of it. */
  #dismissed = "";

  /** Whether something goes on or has failed, which the person has not dismissed. */
  get isWanted() {
    const { totals } = this.#session;
    if (totals === null || extentOf(totals) === this.#dismissed) return false;
    return totals.queued + totals.processing + totals.failed > 0;
  }

  dismiss() {
    const { totals } = this.#session;
    this.#dismissed = totals === null ? "" : extentOf(totals);
  }

  /** @param {number} open uploads that go on */
  show(open) {
    const { totals } = this.#session;
    this.element.hidden = totals === null;
    if (totals === null) return this.#counts.replaceChildren();
    const { received, duplicates, queued, processing, completed, failed, failures } = totals;
    /** @type {[keyof typeof t.uploads.counted, number][]} */
    const counted = [
      ["received", received],
      ["duplicates", duplicates],
      ["processing", queued + processing],
      ["completed", completed],
      ["failed", failed],
    ];
    const shown = counted.filter(([name, count]) => count > 0 || name === "received");
    this.#counts.replaceChildren(...shown.map(([name, count]) => h("li", { "data-total": name }, t.uploads.counted[name](count))));
    this.#lasting.hidden = !failures.some(({ category }) => isOfTheFile(category));
    const isOfUse = failures.some(({ category }) => category !== null && !isOfTheFile(category));
    this.#retry.hidden = !isOfUse && failed <= failures.length;
    this.#close.hidden = open > 0;
  }

  /**
   * @param {string} label
   * @param {() => Promise<void>} act
   */
  #button(label, act) {
    let isBusy = false; // a disabled button would lose the focus
    const onclick = async () => {
      if (isBusy) return;
      isBusy = true;
      try {
        await act();
      } catch (error) {
        if (!api.isSignedOut(error)) showNotice(api.wordsOf(error));
      } finally {
        isBusy = false;
      }
    };
    return h("button", { type: "button", class: "button small", onclick: () => void onclick() }, label);
  }
}

/** @param {Totals} totals */
function extentOf({ received, duplicates, failed }) {
  return [received, duplicates, failed].join();
}
