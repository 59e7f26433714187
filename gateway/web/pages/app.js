/** The page: create its parts and connect them. */

import * as api from "./api.js";
import { Adding } from "./adding.js";
import { byId } from "./dom.js";
import { acceptChosen, acceptDrops } from "./file-input.js";
import { failureOf } from "./format.js";
import { Grid } from "./grid.js";
import { moveByKeys } from "./keyboard.js";
import { fillTexts, offerLanguages, t } from "./language.js";
import { later, loadWhenIdle } from "./later.js";
import { Library } from "./library.js";
import { Live } from "./live.js";
import { Navigation } from "./navigation.js";
import { announce, ask, cancelAsk, hideNotice, hush, initNotices, showNotice } from "./notices.js";
import { forgetPlace, isSignInLink, placeOfEntry, remember, storeOrder } from "./place.js";
import { Selection } from "./selection.js";
import { Session } from "./session.js";
import { Timeline } from "./timeline.js";
import { shownClient } from "./whose.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {import("./live.js").Connection} Connection
 * @typedef {import("./timeline.js").Order} Order
 */

let isLive = false;
/** Who was signed in last. @type {string | null} */
let lastClient = null;
/** Whether the days have been asked for, besides the first photos. */
let isComplete = false;
/** @type {Promise<void>} */
let previewed = Promise.resolve();
/** Photos being processed again from here, with their previous job. @type {Map<string, string>} */
const again = new Map();

const adding = new Adding(() => session.login?.clientId ?? null, {
  isConnected: () => isLive && navigator.onLine,
  onJump: (/** @type {string} */ photoId) => navigation.jump(photoId),
  isByDate: () => timeline.order === "taken",
  onShow: showLatest,
  onEmptied: () => (grid.current === null ? byId("add").focus({ preventScroll: true }) : grid.focus(grid.current)),
});
const library = new Library({ onChange: photoChanged, onUnknown: unknownChanged });
const timeline = new Timeline(library, { onChange: () => grid.changed(), onFailed: showFailure });
const grid = new Grid(byId("days"), timeline, {
  photo: (photoId) => library.get(photoId),
  onCard: (card) => selection.decorate(card),
  onShown: () => {
    scrubber?.update();
    byId("empty").hidden = !(timeline.ready && timeline.sections.length === 0);
  },
  onSettled: (anchor) => navigation.photoId === null && remember({ order: timeline.order, anchor }),
});
const loadActions = later(async () => {
  const { Actions } = await import("./actions.js");
  return new Actions(library, again, () => selection.clear());
});
const selection = new Selection(grid, timeline, {
  mayChange: () => session.mayChange,
  onDownload: async (photoIds) => (await loadActions()).download(photoIds),
  onReprocess: async (photoIds) => (await loadActions()).reprocessAll(photoIds),
  onDelete: async (photoIds) => (await loadActions()).removeAll(photoIds),
  library: () => (session.signedIn ? library.clientId : null),
  onFailed: (error) => !api.isSignedOut(error) && showNotice(t.photosNotLoaded(api.wordsOf(error))),
});
/** @type {import("./scrubber.js").Scrubber | null} */
let scrubber = null;
const loadScrubber = later(async () => {
  const { Scrubber } = await import("./scrubber.js");
  scrubber = new Scrubber(byId("scrubber"), grid, timeline);
  scrubber.update();
});
/** @type {import("./viewer.js").Viewer | null} */
let viewer = null;
const loadViewer = later(async () => {
  const { Viewer } = await import("./viewer.js");
  viewer = new Viewer({
    known: (photoId) => library.get(photoId),
    find: (photoId) => library.find(photoId),
    mayChange: () => session.mayChange,
    onStep: (direction) => navigation.step(direction),
    onLeave: () => navigation.leave(),
    onDelete: async (photo) => (await loadActions()).remove(photo),
    onReprocess: async (photo) => (await loadActions()).reprocess(photo),
  });
  return viewer;
});
const navigation = new Navigation({ loadViewer, grid, timeline });
const live = new Live({ onEvent, onReady, onState: showConnection, mayConnect: () => session.isValid() });
const session = new Session({ onEnter, onLeave });

/** @param {PhotoEvent} event */
function onEvent(event) {
  library.apply(event);
  viewer?.receive(event);
  adding.receive(event);
}

/** @param {boolean} continuous */
async function onReady(continuous) {
  adding.retryHeld();
  if (continuous) return;
  await previewed;
  if (session.signedIn) await reloadAll();
}

async function reloadAll() {
  isComplete = true;
  const place = timeline.ready ? { order: timeline.order, anchor: grid.anchor } : placeOfEntry();
  await show(place);
  if (navigation.photoId === null) navigation.follow();
  else viewer?.reload();
  adding.reload();
  void loadWhenIdle([loadScrubber, adding.load, loadViewer, loadActions, session.loadForm]);
}

/** @param {Order} order */
async function preview(order) {
  await timeline.open(order, true, true);
  if (timeline.ready) grid.update();
}

/** @param {import("./place.js").Place} place */
async function show({ order, anchor }) {
  await timeline.open(order, anchor === null);
  const chosen = /** @type {HTMLSelectElement} */ (byId("order"));
  chosen.value = timeline.order;
  if (anchor) grid.goTo(anchor);
  else grid.update();
}

/** Show what was added last: by date taken, it may be anywhere. */
async function showLatest() {
  scrollTo(0, 0);
  await show({ order: "uploaded", anchor: null });
  const first = timeline.sections[0]?.ids[0];
  if (first !== undefined) grid.focus(first);
}

/** @param {unknown} error */
function showFailure(error) {
  if (api.isSignedOut(error)) return;
  const act = () => timeline.retry();
  showNotice(t.photosNotLoaded(api.wordsOf(error)), { offer: { label: t.common.tryAgain, act } });
}

/** @param {Connection} state */
function showConnection(state) {
  isLive = state === "live";
  const element = byId("connection");
  element.dataset.state = state;
  element.classList.toggle("visually-hidden", isLive);  // all is well: only screen readers read it
  if (element.textContent !== t.connection[state]) element.textContent = t.connection[state];
  const note = byId("connection-note");
  note.hidden = state === "live" || state === "connecting";
  if (!note.hidden) note.textContent = t.connectionNote[state === "late" ? "late" : "lost"];
  // Show the photos even if no event stream can be opened.
  if (state === "reconnecting" && !isComplete) reloadAll();
}

/**
 * @param {import("./library.js").Change} change
 * @param {Photo} photo
 * @param {PhotoEvent | null} event
 */
function photoChanged(change, photo, event) {
  const isOpen = photo.photoId === navigation.photoId;
  if (change === "removed") {
    if (isOpen) navigation.leaveDeleted();
    timeline.drop(photo.photoId);
    selection.drop(photo.photoId);
    announce(photo.originalFilename, t.announced.deleted);
    return;
  }
  timeline.place(photo, change === "added");
  if (isOpen) viewer?.show(photo);
  // The job may have ended before its events arrived: the photo itself shows it.
  const before = again.get(photo.photoId);
  if (before !== undefined && photo.jobId !== before && photo.processingStatus === "completed") {
    again.delete(photo.photoId);
    showNotice(t.announced.processedAgain(photo.originalFilename), { passing: true });
  } else if (event?.type === "photo.processing.completed") {
    announce(photo.originalFilename, t.announced.ready);
  }
  if (event?.type === "photo.processing.failed") {
    again.delete(photo.photoId);
    announce(t.announced.notProcessed(photo.originalFilename, failureOf(photo)));
  }
}

/** @param {PhotoEvent} event of a photo that is not loaded; it may be selected nevertheless */
function unknownChanged(event) {
  if (event.type === "photo.deleted") selection.drop(event.data.photoId);
  timeline.recount();
}

/** @param {api.Login} login */
function onEnter(login) {
  const { clientId } = login;
  // What the address names is of the person before.
  if (lastClient !== null && lastClient !== clientId) forgetPlace();
  lastClient = clientId;
  library.clientId = shownClient(login);
  adding.enter();
  if (navigation.isAtPhoto) void loadViewer();
  const { order, anchor } = placeOfEntry();
  isComplete = false;
  previewed = anchor === null ? preview(order) : Promise.resolve();
  live.start(library.clientId === clientId ? null : library.clientId);
}

function onLeave() {
  live.stop();
  adding.leave();
  navigation.clear();
  cancelAsk();
  selection.clear();
  library.clear();
  timeline.clear();
  hideNotice();
  hush();
  const { unsent } = adding;
  return unsent === 0 ? "" : t.signOut.waiting(unsent);
}

async function signOut() {
  const { pending } = adding;
  const { question, detail, yes, no, failed } = t.signOut;
  if (pending > 0 && !(await ask({ question, detail: detail(pending), yes, no }))) return;
  try {
    await api.logout();
  } catch (error) {
    if (!api.isSignedOut(error)) showNotice(failed(api.wordsOf(error)));
    return;
  }
  adding.forgetAll();
  const { isFromProvider } = session;
  session.leave();
  // Otherwise its next visitor would be signed in without being asked for a password.
  if (isFromProvider) location.assign(api.SIGN_OUT);
}

function start() {
  fillTexts();
  offerLanguages(/** @type {HTMLSelectElement} */ (byId("language")));
  moveByKeys(grid, timeline);
  timeline.pinned = () => [navigation.photoId, grid.current];
  addEventListener("scroll", () => scrubber?.stir(), { passive: true });
  byId("order").addEventListener("change", ({ target }) => {
    const order = /** @type {Order} */ (/** @type {HTMLSelectElement} */ (target).value);
    storeOrder(order);
    scrollTo(0, 0);
    show({ order, anchor: null });
  });
  initNotices();
  const add = (/** @type {File[]} */ files) => adding.add(files);
  const picker = /** @type {HTMLInputElement} */ (byId("picker"));
  acceptChosen(picker, [byId("add"), byId("add-first")], add);
  acceptDrops({
    hint: byId("drop-hint"),
    isWanted: () => session.mayChange,
    taker: () => {
      const whose = session.login?.clientId;
      return (files) => session.login?.clientId === whose && add(files);
    },
    onUnreadable: () => showNotice(t.uploads.unreadable),
  });
  byId("sign-out").addEventListener("click", signOut);
  addEventListener("hashchange", () => {
    if (isSignInLink()) location.reload();
    else if (session.signedIn) navigation.changed();
  });
  addEventListener("beforeunload", (event) => {
    if (adding.wouldLose) event.preventDefault();
  });
  session.begin();
}

start();
