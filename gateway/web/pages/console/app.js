/** Start the operators' console: show the view that the address names, and keep it up to date. */

import * as api from "../api.js";
import { byId, h } from "../dom.js";
import { fill, fillTexts, language, offerLanguages } from "../language.js";
import { CHANGED, openTabs, SIGNED_OUT, tellTabs } from "../tabs.js";
import { tell } from "./act.js";
import { audit } from "./audit.js";
import { forgetRuns } from "./backfill.js";
import { controls } from "./controls.js";
import { jobs, oneJob } from "./jobs.js";
import { letters } from "./letters.js";
import { overview } from "./overview.js";
import { letGo } from "./press.js";
import { clients, photos, system } from "./system.js";
import { oneWebhook, webhooks } from "./webhooks.js";
import { words } from "./words.js";

/** The shortest time between two looks because of events, and the longest of a live view. */
const SOON_MS = 2_000;
const LATE_MS = 10_000;
const AGAIN_MS = 3_000;

/** Each view by its name in the address; those without a title of their own belong to another one. */
const VIEWS = {
  overview: { build: overview, of: "overview" },
  controls: { build: controls, of: "controls" },
  jobs: { build: jobs, of: "jobs" },
  job: { build: oneJob, of: "jobs" },
  "dead-letters": { build: letters, of: "dead-letters" },
  audit: { build: audit, of: "audit" },
  clients: { build: clients, of: "clients" },
  photos: { build: photos, of: "clients" },
  webhooks: { build: webhooks, of: "webhooks" },
  webhook: { build: oneWebhook, of: "webhooks" },
  system: { build: system, of: "system" },
};

/** @typedef {keyof typeof VIEWS} ViewName */

let mayAct = false;
let me = "";
/** @type {import("./server.js").View | null} */
let view = null;
/** @type {EventSource | null} */
let events = null;
let timer = 0;
let lookedAt = 0;
let isStale = false;
/** The view that fetches what it shows. @type {import("./server.js").View | null} */
let looking = null;

/** @returns {{name: ViewName, filter: URLSearchParams}} what `#jobs?clientId=…` names */
function address() {
  const [name = "", query = ""] = location.hash.slice(1).split("?");
  const known = name in VIEWS ? /** @type {ViewName} */ (name) : "overview";
  return { name: known, filter: new URLSearchParams(query) };
}

/** Show the view of the address, and move the focus to its title unless the page has just begun. */
async function show(isFirst = false) {
  const { name, filter } = address();
  const { build, of } = VIEWS[name];
  for (const link of byId("views").querySelectorAll("a")) {
    if (link.hash === `#${of}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = words.views[/** @type {keyof typeof words.views} */ (of)];
  document.title = `${title} – Photolog`;
  const heading = h("h1", { tabIndex: -1 }, title);
  view = build({ filter, mayAct, clientId: me, refresh: () => refresh() });
  byId("view").replaceChildren(heading, view.element);
  if (!isFirst) heading.focus({ preventScroll: true });
  tell("");
  await refresh();
}

/** Fetch what the view shows, and show it. Focus and scrolled tables stay; one look of a view at a time. */
async function refresh() {
  const mine = view;
  if (mine === null) return;
  if (mine === looking) {
    isStale = true;
    return;
  }
  clearTimeout(timer);
  looking = mine;
  isStale = false;
  lookedAt = performance.now();
  try {
    const put = await mine.look();
    await letGo();
    if (mine === view) {
      keepingPlace(put);
      byId("stale").hidden = true;
    }
  } catch (error) {
    if (mine === view) failed(error);
  } finally {
    if (mine === looking) looking = null;
  }
  if (mine === view) schedule();
}

/** @param {() => void} put replaces what the view shows */
function keepingPlace(put) {
  const top = document.activeElement?.getBoundingClientRect().top ?? 0;
  const focused = document.activeElement?.id ?? "";
  const scrolled = [...document.querySelectorAll(".scroll")].map(({ id, scrollLeft }) => ({ id, scrollLeft }));
  put();
  for (const { id, scrollLeft } of scrolled) {
    const table = document.getElementById(id);
    if (table) table.scrollLeft = scrollLeft;
  }
  if (focused !== "" && document.activeElement === document.body) document.getElementById(focused)?.focus({ preventScroll: true });
  // What is above may have grown: who uses the keyboard does not lose sight of where they are.
  const after = document.activeElement;
  if (focused !== "" && after?.id === focused && byId("view").contains(after)) scrollBy({ top: after.getBoundingClientRect().top - top, behavior: "instant" });
}

/** @param {unknown} error */
function failed(error) {
  const passes = error instanceof api.Problem && error.mayPass && !error.signedOut;
  byId("stale").hidden = !passes;
  if (!passes) tell(api.wordsOf(error));
  if (api.isSignedOut(error)) leave();
}

/** Show nothing any more: nobody may read on. */
function leave() {
  view = null;
  clearTimeout(timer);
  events?.close();
  events = null;
  /** @type {HTMLDialogElement | null} */ (document.querySelector("dialog[open]"))?.close();
  byId("view").replaceChildren(h("p", {}, h("a", { href: "/" }, words.toPhotos)));
}

/** Look again: soon if something has happened, later anyway, and not while nobody can see it. */
function schedule() {
  clearTimeout(timer);
  if (view === null || document.hidden) return;
  const failing = !byId("stale").hidden;
  if (!view.isLive && !failing) return;
  const wait = failing ? AGAIN_MS : isStale ? SOON_MS : LATE_MS;
  timer = setTimeout(() => void refresh(), Math.max(0, wait - (performance.now() - lookedAt)));
}

/** Follow the events of the whole system: they only say that what is shown is stale. */
function follow() {
  events?.close();
  events = null;
  if (document.hidden) return;
  const source = new EventSource("/api/events?room=global");
  events = source;
  source.onmessage = () => {
    if (isStale) return;
    isStale = true;
    schedule();
  };
  // Browsers give up after some errors.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED && source === events) setTimeout(() => source === events && follow(), AGAIN_MS);
  };
}

async function begin() {
  document.documentElement.lang = language;
  fillTexts();
  offerLanguages(/** @type {HTMLSelectElement} */ (byId("language")));
  byId("sign-out").addEventListener("click", () => void signOut());
  byId("views").setAttribute("aria-label", words.navigation);
  byId("stale").textContent = words.stale;
  try {
    const { role, clientId } = await api.whoAmI();
    mayAct = role === "operator";
    me = clientId;
    byId("sign-out").hidden = false;
    byId("who").textContent = words.signedInAs(clientId, words.roles[role]);
    if (role === "client") return refuse(words.forOperators);
  } catch (error) {
    return refuse(api.isSignedOut(error) ? words.signInFirst : api.wordsOf(error));
  }
  byId("views").append(...Object.entries(words.views).map(([name, title]) => h("a", { href: `#${name}` }, title)));
  addEventListener("hashchange", () => view !== null && void show());
  document.addEventListener("visibilitychange", () => {
    if (view === null) return;
    follow();
    if (document.hidden) clearTimeout(timer);
    else void refresh();
  });
  // All tabs share one cookie.
  openTabs().onmessage = ({ data }) => {
    if (data === CHANGED) return location.reload();
    leave();
    tell(words.signedOutElsewhere);
  };
  addEventListener("pagehide", () => events?.close());
  follow();
  await show(true);
}

async function signOut() {
  try {
    await api.logout();
  } catch (error) {
    if (!api.isSignedOut(error)) return tell(api.wordsOf(error));
  }
  forgetRuns();
  tellTabs(SIGNED_OUT);
  location.href = "/";
}

/** @param {string} why with commands between backticks */
function refuse(why) {
  fill(byId("notice"), why);
  byId("view").replaceChildren(h("p", {}, h("a", { href: "/" }, words.toPhotos)));
}

await begin();
