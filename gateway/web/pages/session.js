/** Sign people in and out, and show the view that fits. */

import * as api from "./api.js";
import { byId } from "./dom.js";
import { t } from "./language.js";
import { later } from "./later.js";
import { hideNotice, showNotice } from "./notices.js";
import { credentialFromAddress } from "./place.js";
import { CHANGED, openTabs, SIGNED_OUT } from "./tabs.js";
import { nameOf, sayWhose, shownClient } from "./whose.js";

/**
 * @typedef {import("./api.js").Login} Login
 * @typedef {import("./api.js").Credential} Credential
 */

const ASK_AGAIN_MS = 2_000;

export class Session {
  /**
   * @param {object} handlers
   * @param {(login: Login) => void} handlers.onEnter
   * @param {() => string} handlers.onLeave returns what else the sign-in form should say
   */
  constructor(handlers) {
    this.#handlers = handlers;
    // All tabs share one cookie: a sign-in or sign-out in another tab applies here too.
    this.#tabs.onmessage = ({ data }) => {
      // Without asking the server, which may be slow: nobody may read on after a sign-out.
      if (data === SIGNED_OUT) this.end(t.session.signedOutElsewhere);
      else this.#adoptOtherTab();
    };
    api.onProvider((provider) => (this.#provider = provider));
    api.onSignedOut(() => this.end(this.#signedIn ? t.session.ended : ""));
  }

  #handlers;
  #tabs = openTabs();
  /** Who is signed in, as far as this page knows. @type {Login | null} */
  #login = null;
  /** Unknown until the first response. @type {boolean | null} */
  #signedIn = null;
  #mayChange = false;
  /** Where people can sign in besides, as the server said last. @type {api.Provider | null} */
  #provider = null;

  /** The form, which people who are signed in do not need. */
  loadForm = later(async () => {
    const form = await import("./login.js");
    form.acceptTokens((login) => this.#startSession(login));
    return form;
  });

  get signedIn() {
    return this.#signedIn === true;
  }

  /** Who is signed in. */
  get login() {
    return this.signedIn ? this.#login : null;
  }

  /** Whether the person signed in at a provider. */
  get isFromProvider() {
    return this.login?.provider != null;
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
      if (!this.#retryLater(error, null)) (await this.loadForm()).showLoginError(why);
    }
  }

  /**
   * @param {Credential} credential of a link
   * @returns {Promise<boolean>} whether this settled who is signed in
   * @throws {api.Problem}
   */
  async #accept(credential) {
    const form = await this.loadForm();
    const { current, ...offered } = await form.preview(credential);
    if (current !== null && isSame(offered, current)) return false;
    if (await form.confirmSignIn(offered, current)) this.#startSession(await form.signIn(credential));
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
      if (this.login !== null && isSame(login, this.login)) return;
      this.end("");
      this.#enter(login);
      showNotice(t.session.otherTab(nameOf(login)), { passing: true });
    } catch {
      // Signed out: the 401 was handled already. No response: the next request will show.
    }
  }

  /** The person has signed out. */
  leave() {
    this.end(t.session.signedOut);
    this.#tabs.postMessage(SIGNED_OUT);
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
    void this.#showForm([why, besides].filter(Boolean).join(" "));
  }

  /** @param {string} why may be empty */
  async #showForm(why) {
    const form = await this.loadForm();
    if (this.signedIn) return;
    byId("login").hidden = false;
    document.body.dataset.view = "login";
    form.offerProvider(this.#provider);
    form.showLogin(why);
  }

  /** @param {Login} login of a new session that this tab has started */
  #startSession(login) {
    if (this.#signedIn) this.end("");
    this.#enter(login);
    this.#tabs.postMessage(CHANGED);
  }

  /** @param {Login} login */
  #enter(login) {
    api.beginSession();
    this.#signedIn = true;
    this.#login = login;
    const { role } = login;
    // Another client's library is shown for looking.
    this.#mayChange = role !== "auditor" && shownClient(login) === login.clientId;
    for (const id of ["who", "who-here"]) Object.assign(byId(id), { textContent: nameOf(login), title: nameOf(login) });
    sayWhose(login);
    for (const id of ["add", "invitation"]) byId(id).hidden = !this.mayChange;
    this.#show();
    this.#handlers.onEnter(login);
  }

  /** Show the photos; without a session show nothing until the form is there. */
  #show() {
    document.body.dataset.view = this.signedIn ? "photos" : "starting";
    byId("login").hidden = true;
    for (const id of ["photos", "bar-actions", "connection"]) byId(id).hidden = !this.signedIn;
  }
}

/**
 * @param {Login} one
 * @param {Login} other
 */
function isSame(one, other) {
  return (
    one.clientId === other.clientId &&
    nameOf(one) === nameOf(other) &&
    String(one.scopes) === String(other.scopes)
  );
}
