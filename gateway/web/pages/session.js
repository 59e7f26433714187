/** Being signed in or not, and which of the two views is shown. */

import * as api from "./api.js";
import { byId } from "./dom.js";
import {
  acceptTokens,
  agree,
  credentialFromAddress,
  nameOf,
  preview,
  refuse,
  showLogin,
  signIn,
} from "./login.js";
import { hush, tell } from "./notice.js";

/**
 * @typedef {import("./api.js").Login} Login
 * @typedef {import("./api.js").Credential} Credential
 */

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
    acceptTokens((login) => this.#enterAnew(login));
    // All tabs have one cookie: what another one does with it holds for this one too.
    this.#tabs.onmessage = () => this.#follow();
    api.onSignedOut(() => this.over(this.#signedIn ? "Your sign-in is over." : ""));
  }

  #handlers;
  #tabs = new BroadcastChannel("photolog-session");
  /** Who is signed in, as far as this page knows. @type {Login | null} */
  #login = null;
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

  /** With the session of an earlier visit, or the address's link, or the form. */
  async begin() {
    await this.#resume(credentialFromAddress());
  }

  /** @param {Credential | null} credential */
  async #resume(credential) {
    let why = "";
    try {
      if (credential !== null && (await this.#accept(credential))) return;
    } catch (error) {
      if (this.#tryAgain(error, credential)) return;
      why = api.wordsOf(error);
    }
    try {
      this.#enter(await api.whoAmI());
      if (why === "") hush();
      else tell(why);
    } catch (error) {
      if (!this.#tryAgain(error, null)) refuse(why);
    }
  }

  /**
   * @param {Credential} credential of a link
   * @returns {Promise<boolean>} whether all is decided
   * @throws {api.Problem}
   */
  async #accept(credential) {
    const { current, ...offered } = await preview(credential);
    if (current !== null && isSame(offered, current)) return false;
    if (await agree(offered, current)) this.#enterAnew(await signIn(credential));
    else if (current === null) this.over("");
    else return false;
    return true;
  }

  /**
   * @param {unknown} error
   * @param {Credential | null} credential
   */
  #tryAgain(error, credential) {
    if (!(error instanceof api.Problem && error.mayPass) || error.signedOut) return false;
    tell(api.wordsOf(error));
    setTimeout(() => this.#resume(credential), ASK_AGAIN_MS);
    return true;
  }

  /** Another tab has signed in or out. */
  async #follow() {
    try {
      const login = await api.whoAmI();
      if (this.#login !== null && isSame(login, this.#login) && this.signedIn) return;
      this.over("");
      this.#enter(login);
      tell(`You are signed in as ${nameOf(login)} now, in another tab.`, { passing: true });
    } catch {
      // Signed out: the answer has said so to all. No answer: the next request says what holds.
    }
  }

  /** For who leaves on purpose. */
  leave() {
    this.over("You are signed out.");
    this.#tabs.postMessage("changed");
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

  /** @param {Login} login that this tab has just obtained */
  #enterAnew(login) {
    if (this.#signedIn) this.over("");
    this.#enter(login);
    this.#tabs.postMessage("changed");
  }

  /** @param {Login} login */
  #enter(login) {
    this.#signedIn = true;
    this.#login = login;
    const { role } = login;
    this.#mayChange = role !== "auditor";
    byId("who").textContent = nameOf(login);
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

/**
 * @param {Login} one
 * @param {Login} other
 */
function isSame(one, other) {
  return nameOf(one) === nameOf(other) && String(one.scopes) === String(other.scopes);
}
