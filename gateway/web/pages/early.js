/** Ask who is signed in and for the first photos, while the other modules are on their way. */

import { FIRST, WHO, begin, listPath, take } from "./begun.js";
import { isSignInLink, placeOfEntry } from "./place.js";

/** A link may sign in somebody else. The page removes it from the address. */
const isLink = isSignInLink();

/** @param {Response} response who is signed in */
async function beginPhotos(response) {
  const { order, anchor } = placeOfEntry();
  // An address with a query may name the library of somebody else.
  if (!response.ok || anchor !== null || location.search || isLink) return;
  /** @type {{current: {clientId: string} | null}} */
  const { current } = await response.json();
  if (current) begin(listPath({ clientId: current.clientId, sort: order, limit: FIRST[order] }));
}

// The page's head has asked already. Take the answer in any case: a later request would get it instead.
begin(WHO, beginPhotos);
if (isLink) take(WHO);
