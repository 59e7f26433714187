/** Sign in with the ticket or token in the address's fragment, or with a pasted token. */

import * as api from "./api.js";
import { byId } from "./dom.js";
import { ask } from "./notices.js";

/**
 * @typedef {import("./api.js").Login} Login
 * @typedef {import("./api.js").Credential} Credential
 */

/**
 * Remove the credential from the address, so that it is neither visible nor kept in the history.
 * @returns {Credential | null}
 */
export function credentialFromAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const ticket = fragment.get("ticket");
  const token = fragment.get("token");
  if (ticket === null && token === null) return null;
  history.replaceState(null, "", location.pathname);
  return ticket !== null ? { ticket } : { token: token ?? "" };
}

/** Whether the address is a sign-in link. */
export function isSignInLink() {
  return /^#(ticket|token)=/.test(location.hash);
}

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
    question: now ? `You are signed in as ${now}. Sign in as ${name} instead?` : `Sign in as ${name}?`,
    detail:
      `This link signs this browser in as ${name}. You will see the photos of ${offered.clientId}, ` +
      "and photos that you add will belong to them. Continue only if you asked for this link.",
    yes: `Sign in as ${name}`,
    no: now ? `Stay signed in as ${now}` : "Cancel",
    harmless: true,
  });
}

/** @param {Login} login */
export function nameOf({ clientId, role }) {
  return role === "client" ? clientId : `${clientId}, ${role}`;
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
  if (token === "") throw new api.Problem(401, "missing-token", "Paste a token first.", "");
  // A header allows no other characters, and tokens have none.
  if (!/^[\w.~+/=-]+$/.test(token)) throw refused();
  return { token };
}

function refused() {
  const advice = "Create a new token and paste it here.";
  return new api.Problem(401, "invalid-token", "This token is not valid.", advice);
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
