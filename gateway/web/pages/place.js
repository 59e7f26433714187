/**
 * What the address and this entry of the browser's history say: a sign-in link, or what the page
 * showed, so that Back, Forward and a reload return to it.
 */

/**
 * @typedef {import("./geometry.js").Anchor} Anchor
 * @typedef {import("./begun.js").Order} Order
 * @typedef {{order: Order, anchor: Anchor | null}} Place
 * @typedef {import("./api.js").Credential} Credential
 */

const STORED_ORDER = "photolog-order";

// The page scrolls by itself once it knows its photos.
history.scrollRestoration = "manual";

/** @returns {Place} where this entry of the browser's history was left */
export function placeOfEntry() {
  /** @type {Place | undefined} */
  const place = history.state?.place;
  return place ?? { order: storedOrder(), anchor: null };
}

/** @param {Place} place */
export function remember(place) {
  history.replaceState({ ...history.state, place }, "");
}

/** Let the page begin at its top, with no photo open. */
export function forgetPlace() {
  history.replaceState(null, "", location.pathname + location.search);
}

/** @returns {Order} the order of the last visit */
function storedOrder() {
  try {
    return localStorage.getItem(STORED_ORDER) === "uploaded" ? "uploaded" : "taken";
  } catch {
    return "taken";
  }
}

/** @param {Order} order */
export function storeOrder(order) {
  try {
    localStorage.setItem(STORED_ORDER, order);
  } catch {
    // The browser keeps nothing for this page: the order lasts until it is closed.
  }
}

/** Whether the address is a sign-in link. */
export function isSignInLink() {
  return /^#(ticket|token)=/.test(location.hash);
}

/**
 * Remove the credential from the address, so that it is neither visible nor kept in the history.
 * @returns {Credential | null}
 */
export function credentialFromAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const ticket = fragment.get("ticket");
  const token = fragment.get("token");
  if (ticket === null && token === null) return null;
  forgetPlace();
  return ticket !== null ? { ticket } : { token: token ?? "" };
}
