/** Sign people in and out, and show the view that fits. */

import * as api from "./api.js";
import { byId } from "./dom.js";
import {
  acceptTokens,
  confirmSignIn,
  credentialFromAddress,
  nameOf,
  preview,
  showLoginError,
  showLogin,
  signIn,
} from "./login.js";
import { hideNotice, showNotice } from "./notices.js";

/**
 * @typedef {import("./api.js").Login} Login
 * @typedef {import("./api.js").Credential} Credential
 */

const ASK_AGAIN_MS = 2_000;

const ALL = "To see the photos of all clients, use the API or the command line.";

/** Explains to roles that may read all photos why they see only some. @type {Record<Login["role"], string>} */
const OWN = {
  client: "",
  operator: `This page shows only your own photos. ${ALL}`,
  auditor: `This page shows only your own photos, and auditors cannot add any. ${ALL}`,
};

export class Session {
  /**
   * @param {object} handlers
   * @param {(login: Login) => void} handlers.onEnter
   * @param {() => string} handlers.onLeave returns what else the sign-in form should say
   */
  constructor(handlers) {
    this.#handlers = handlers;
    acceptTokens((login) => this.#startSession(login));
    // All tabs share one cookie: a sign-in or sign-out in another tab applies here too.
    this.#tabs.onmessage = () => this.#adoptOtherTab();
    api.onSignedOut(() => this.end(this.#signedIn ? "Your session has ended." : ""));
  }

  #handlers;
  #tabs = new BroadcastChannel("photolog-session");
  /** Who is signed in, as far as this page knows. @type {Login | null} */
  #login = null;
  /** Unknown until the first response. @type {boolean | null} */
  #signedIn = null;
  #mayChange = false;

  get signedIn() {
    return this.#signedIn === true;
  }

  /** Whether the person may add, process and delete photos. */
  get mayChange() {
    return this.signedIn && this.#mayChange;
  }

  /** Start with the session of an earlier visit, the address's link, or the form. */
  async begin() {
    await this.#resume(credentialFromAddress());
  }

  /** @param {Credential | null} credential */
  async #resume(credential) {
    let why = "";
    try {
      if (credential !== null && (await this.#accept(credential))) return;
    } catch (error) {
      if (this.#retryLater(error, credential)) return;
      why = api.wordsOf(error);
    }
    try {
      this.#enter(await api.whoAmI());
      if (why === "") hideNotice();
      else showNotice(why);
    } catch (error) {
      if (!this.#retryLater(error, null)) showLoginError(why);
    }
  }

  /**
   * @param {Credential} credential of a link
   * @returns {Promise<boolean>} whether this settled who is signed in
   * @throws {api.Problem}
   */
  async #accept(credential) {
    const { current, ...offered } = await preview(credential);
    if (current !== null && isSame(offered, current)) return false;
    if (await confirmSignIn(offered, current)) this.#startSession(await signIn(credential));
    else if (current === null) this.end("");
    else return false;
    return true;
  }

  /**
   * @param {unknown} error
   * @param {Credential | null} credential
   */
  #retryLater(error, credential) {
    if (!(error instanceof api.Problem && error.mayPass) || error.signedOut) return false;
    showNotice(api.wordsOf(error));
    setTimeout(() => this.#resume(credential), ASK_AGAIN_MS);
    return true;
  }

  /** Another tab has signed in or out. */
  async #adoptOtherTab() {
    try {
      const login = await api.whoAmI();
      if (this.#login !== null && isSame(login, this.#login) && this.signedIn) return;
      this.end("");
      this.#enter(login);
      showNotice(`You signed in as ${nameOf(login)} in another tab.`, { passing: true });
    } catch {
      // Signed out: the 401 was handled already. No response: the next request will show.
    }
  }

  /** The person has signed out. */
  leave() {
    this.end("You have signed out.");
    this.#tabs.postMessage("changed");
  }

  /** Whether the session is still valid; without a response, assume that it is. */
  async isValid() {
    try {
      await api.whoAmI();
      return true;
    } catch (error) {
      return !api.isSignedOut(error);
    }
  }

  /** @param {string} why shown to the person */
  end(why) {
    if (this.#signedIn === false) return;
    this.#signedIn = false;
    const besides = this.#handlers.onLeave();
    this.#show();
    showLogin([why, besides].filter(Boolean).join(" "));
  }

  /** @param {Login} login of a new session that this tab has started */
  #startSession(login) {
    if (this.#signedIn) this.end("");
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
