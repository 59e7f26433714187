/** What the tabs of this browser tell each other: all of them share one session. */

export const CHANGED = "changed";
export const SIGNED_OUT = "signed-out";
const NAME = "photolog-session";

/** @returns {BroadcastChannel} receives what other tabs tell */
export function openTabs() {
  return new BroadcastChannel(NAME);
}

/** @param {string} what has happened in a page that is about to be left */
export function tellTabs(what) {
  const tabs = openTabs();
  tabs.postMessage(what);
  tabs.close();
}
