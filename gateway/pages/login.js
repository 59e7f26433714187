/** Signing in: with the token of the address's fragment, or one that is pasted. */

import * as api from "./api.js";
import { byId } from "./dom.js";

/** @typedef {import("./api.js").Login} Login */

/**
 * Take the token out of the address, so that it stays neither in sight nor in the history.
 * @returns {string | null}
 */
export function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname);
  return token;
}

/**
 * The form's way in.
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
      onSignedIn(await signIn(field.value.trim()));
      field.value = "";
      refuse("");
    } catch (error) {
      refuse(api.wordsOf(error));
    } finally {
      button.disabled = false;
    }
  });
}

/**
 * @param {string} token
 * @returns {Promise<Login>}
 * @throws {api.Problem} in words for the form
 */
export async function signIn(token) {
  if (token === "") throw new api.Problem(401, "missing-token", "Paste a token first.", "");
  // A header takes no other characters, and no token has them.
  if (!/^[\w.~+/=-]+$/.test(token)) throw refused();
  try {
    return await api.login(token);
  } catch (error) {
    throw api.isSignedOut(error) ? refused() : error;
  }
}

function refused() {
  const advice = "Make a new one and paste it here.";
  return new api.Problem(401, "invalid-token", "This token is not valid, or its time is over.", advice);
}

/** @param {string} why */
export function refuse(why) {
  byId("login-error").textContent = why;
  const field = byId("token");
  field.setAttribute("aria-invalid", String(why !== ""));
  if (why !== "") field.focus();
}

/** @param {string} why what brought the person here; may be empty */
export function showLogin(why) {
  byId("login-why").textContent = why;
  byId("token").focus();
}
