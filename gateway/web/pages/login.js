/** Sign in with the ticket or token of a link, or with a pasted token. */

import * as api from "./api.js";
import { byId } from "./dom.js";
import { t } from "./language.js";
import { ask } from "./notices.js";
import { nameOf } from "./whose.js";

/**
 * @typedef {import("./api.js").Login} Login
 * @typedef {import("./api.js").Credential} Credential
 */

/**
 * Ask before signing in: the sender of a link chose whom it signs in, not the person who opens it.
 * @param {Login} offered
 * @param {Login | null} current who is signed in
 * @returns {Promise<boolean>}
 */
export function confirmSignIn(offered, current) {
  const name = nameOf(offered);
  const now = current && nameOf(current);
  return ask({
    question: now ? t.signIn.questionInstead(now, name) : t.signIn.question(name),
    detail: t.signIn.detail(name, offered.clientId),
    yes: t.signIn.yes(name),
    no: now ? t.signIn.stay(now) : t.common.cancel,
    harmless: true,
  });
}

/**
 * Sign in with the form.
 * @param {(login: Login) => void} onSignedIn
 */
export function acceptTokens(onSignedIn) {
  const form = /** @type {HTMLFormElement} */ (byId("login-form"));
  const field = /** @type {HTMLInputElement} */ (byId("token"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      onSignedIn(await signIn(tokenIn(field.value.trim())));
      field.value = "";
      showLoginError("");
    } catch (error) {
      showLoginError(api.wordsOf(error));
    } finally {
      button.disabled = false;
    }
  });
}

/**
 * Offer to sign in at the provider, if there is one.
 * @param {import("./api.js").Provider | null} provider
 */
export function offerProvider(provider) {
  const button = /** @type {HTMLAnchorElement} */ (byId("provider"));
  button.hidden = provider === null;
  if (provider === null) return;
  button.textContent = t.signIn.at(provider.name);
  button.href = provider.url;
}

/** @param {Credential} credential */
export function signIn(credential) {
  return offer(api.login, credential);
}

/** @param {Credential} credential */
export function preview(credential) {
  return offer(api.previewLogin, credential);
}

/**
 * @template T
 * @param {(credential: Credential) => Promise<T>} call
 * @param {Credential} credential
 * @returns {Promise<T>}
 * @throws {api.Problem} worded for the form
 */
async function offer(call, credential) {
  try {
    return await call("token" in credential ? tokenIn(credential.token) : credential);
  } catch (error) {
    throw error instanceof api.Problem && error.code === "invalid-token" ? refused() : error;
  }
}

/**
 * @param {string} token
 * @returns {Credential}
 * @throws {api.Problem} if it cannot be a token
 */
function tokenIn(token) {
  if (token === "") throw new api.Problem(401, "missing-token", t.problems.noToken, "");
  // A header allows no other characters, and tokens have none.
  if (!/^[\w.~+/=-]+$/.test(token)) throw refused();
  return { token };
}

function refused() {
  const { message, advice } = t.problems.badToken;
  return new api.Problem(401, "invalid-token", message, advice);
}

/** @param {string} why */
export function showLoginError(why) {
  byId("login-error").textContent = why;
  const field = byId("token");
  field.setAttribute("aria-invalid", String(why !== ""));
  if (why !== "") field.focus();
}

/** @param {string} why the form is shown; may be empty */
export function showLogin(why) {
  byId("login-why").textContent = why;
  byId("token").focus();
}
