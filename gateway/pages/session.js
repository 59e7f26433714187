/** Being signed in or not, and which of the two views is shown. */

import * as api from "./api.js";
import { byId } from "./dom.js";
import { acceptTokens, refuse, showLogin, signIn, tokenFromAddress } from "./login.js";
import { hush, tell } from "./notice.js";

/** @typedef {import("./api.js").Login} Login */

const ASK_AGAIN_MS = 2_000;

const ALL = "You read those of all clients through the API and the command line.";

/** What those may think who may read all photos. @type {Record<Login["role"], string>} */
const OWN = {
  client: "",
  operator: `This page shows your own photos. ${ALL}`,
  auditor: `This page shows your own photos, and an auditor adds none. ${ALL}`,
};

export class Session {
  /**
   * @param {object} handlers
   * @param {(login: Login) => void} handlers.onEnter
   * @param {() => string} handlers.onLeave gives what the sign-in form should say besides
   */
  constructor(handlers) {
    this.#handlers = handlers;
    acceptTokens((login) => this.#enter(login));
    api.onSignedOut(() => this.over(this.#signedIn ? "Your sign-in is over." : ""));
  }

  #handlers;
  /** Undecided until the first answer. @type {boolean | null} */
  #signedIn = null;
  #mayChange = false;

  get signedIn() {
    return this.#signedIn === true;
  }

  /** Whether who is signed in may add, process and delete photos. */
  get mayChange() {
    return this.signedIn && this.#mayChange;
  }

  /** With the address's token, or the cookie of an earlier visit, or the form. */
  async begin() {
    const token = tokenFromAddress();
    try {
      this.#enter(await (token === null ? api.whoAmI() : signIn(token)));
      hush();
    } catch (error) {
      if (token !== null) {
        this.over("");
        refuse(api.wordsOf(error));
      } else if (!api.isSignedOut(error)) {
        tell(api.wordsOf(error));
        setTimeout(() => this.begin(), ASK_AGAIN_MS);
      }
    }
  }

  /** Whether the gateway still knows us; no answer is no reason to doubt it. */
  async ask() {
    try {
      await api.whoAmI();
      return true;
    } catch (error) {
      return !api.isSignedOut(error);
    }
  }

  /** @param {string} why told to the person */
  over(why) {
    if (this.#signedIn === false) return;
    this.#signedIn = false;
    const besides = this.#handlers.onLeave();
    this.#show();
    showLogin([why, besides].filter(Boolean).join(" "));
  }

  /** @param {Login} login */
  #enter(login) {
    this.#signedIn = true;
    const { clientId, role } = login;
    this.#mayChange = role !== "auditor";
    byId("who").textContent = role === "client" ? clientId : `${clientId}, ${role}`;
    byId("own").textContent = OWN[role];
    byId("none").textContent = this.mayChange ? "No photos yet" : "No photos of your own";
    for (const id of ["add", "invitation"]) byId(id).hidden = !this.mayChange;
    this.#show();
    this.#handlers.onEnter(login);
  }

  #show() {
    document.body.dataset.view = this.signedIn ? "photos" : "login";
    byId("login").hidden = this.signedIn;
    for (const id of ["photos", "bar-actions", "connection"]) byId(id).hidden = !this.signedIn;
  }
}
