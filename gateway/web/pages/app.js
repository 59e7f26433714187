/** The page: create its parts and connect them. */

import * as api from "./api.js";
import { byId } from "./dom.js";
import { acceptChosen, acceptDrops } from "./file-input.js";
import { counted, plain } from "./format.js";
import { Grid } from "./grid.js";
import { moveByKeys } from "./keyboard.js";
import { Library } from "./library.js";
import { Live } from "./live.js";
import { isSignInLink } from "./login.js";
import { Navigation } from "./navigation.js";
import { announce, ask, hideNotice, initNotices, showNotice } from "./notices.js";
import { Paging } from "./paging.js";
import { UploadStatus } from "./upload-status.js";
import { Session } from "./session.js";
import { Uploads } from "./uploads.js";
import { Viewer } from "./viewer.js";

/**
 * @typedef {import("./photo.js").Photo} Photo
 * @typedef {import("./photo.js").PhotoEvent} PhotoEvent
 * @typedef {import("./live.js").Connection} Connection
 * @typedef {import("./notices.js").Sentence} Sentence
 */

/** @type {Record<Connection, string>} */
const CONNECTION = { connecting: "Connecting…", live: "Live", reconnecting: "Reconnecting…" };

/** @type {Sentence} */
const ready = (names) => `${names.length === 1 ? `${names[0]} is` : `${names.length} photos are`} ready.`;
/** @type {Sentence} */
const deleted = (names) => `${names.length === 1 ? `${names[0]} was` : `${names.length} photos were`} deleted.`;

const days = byId("days");

let isLive = false;
/** Photos being processed again from here, with their previous job. @type {Map<string, string>} */
const again = new Map();

const uploads = new Uploads({
  onChange: (upload) => uploadStatus.show(upload),
  onSettled: () => library.release(),
  isConnected: () => isLive && navigator.onLine,
});
const library = new Library({
  onChange: photoChanged,
  onReset: () => grid.clear(),
  isAwaited: (size) => uploads.isAwaited(size),
});
const grid = new Grid(days, (photoId) => library.get(photoId), showEmpty);
const uploadStatus = new UploadStatus({ uploads, grid, onJump: (photoId) => navigation.jump(photoId) });
const paging = new Paging(byId("more"), library, {
  onPhotos: (photos) => photos.forEach((photo) => grid.place(photo)),
  onState: showEmpty,
});
const viewer = new Viewer({
  known: (photoId) => library.get(photoId),
  find: (photoId) => library.find(photoId),
  onStep: (direction) => navigation.step(direction),
  onLeave: () => navigation.leave(),
  onDelete: removePhoto,
  onReprocess: reprocess,
});
const navigation = new Navigation({ viewer, grid, paging });
const live = new Live({ onEvent, onReady, onState: showConnection, mayConnect: () => session.isValid() });
const session = new Session({ onEnter, onLeave });

/** @param {PhotoEvent} event */
function onEvent(event) {
  library.apply(event);
  viewer.receive(event);
}

/** @param {boolean} continuous */
async function onReady(continuous) {
  uploads.retryHeld();
  if (!continuous) await reloadAll();
}

async function reloadAll() {
  await paging.restart();
  if (viewer.photoId === null) navigation.follow();
  else viewer.reload();
}

/** @param {Connection} state */
function showConnection(state) {
  isLive = state === "live";
  const element = byId("connection");
  element.dataset.state = state;
  element.textContent = CONNECTION[state];
  // Show the photos even if no event stream can be opened.
  if (state === "reconnecting" && !paging.begun) reloadAll();
}

function showEmpty() {
  byId("empty").hidden = !(paging.ended && days.childElementCount === 0);
}

/**
 * @param {import("./library.js").Change} change
 * @param {Photo} photo
 * @param {PhotoEvent | null} event
 */
function photoChanged(change, photo, event) {
  const isOpen = photo.photoId === viewer.photoId;
  if (change === "removed") {
    if (isOpen) navigation.leaveDeleted();
    grid.remove(photo.photoId);
    announce(photo.originalFilename, deleted);
    return;
  }
  if (change === "added") grid.place(photo);
  else grid.changed(photo);
  if (isOpen) viewer.show(photo);
  // The job may have ended before its events arrived: the photo itself shows it.
  const before = again.get(photo.photoId);
  if (before !== undefined && photo.jobId !== before && photo.processingStatus === "completed") {
    again.delete(photo.photoId);
    showNotice(`${photo.originalFilename} was processed again.`, { passing: true });
  } else if (event?.type === "photo.processing.completed") {
    announce(photo.originalFilename, ready);
  }
  if (event?.type === "photo.processing.failed") {
    again.delete(photo.photoId);
    announce(`${photo.originalFilename} could not be processed: ${plain(photo.processingError)}`);
  }
}

/** @param {Photo} photo */
async function removePhoto(photo) {
  const sure = await ask({
    question: `Delete ${photo.originalFilename}?`,
    detail:
      "This removes the original and every picture made from it, and cannot be undone. The photo's " +
      "history stays: who did what and when, and its metadata, such as file name and place.",
    yes: "Delete",
    no: "Keep photo",
  });
  if (!sure) return;
  try {
    await api.remove(photo.photoId);
    library.removed(photo.photoId);
  } catch (error) {
    if (!api.isSignedOut(error)) showNotice(`The photo was not deleted. ${api.wordsOf(error)}`);
  }
}

/** @param {Photo} photo */
async function reprocess(photo) {
  try {
    again.set(photo.photoId, photo.jobId);
    await api.reprocess(photo.photoId);
  } catch (error) {
    again.delete(photo.photoId);
    if (!api.isSignedOut(error)) showNotice(`Processing could not be started. ${api.wordsOf(error)}`);
  }
}

/** @param {api.Login} login */
function onEnter({ clientId }) {
  // Never upload the files of one person as another.
  if (library.clientId !== clientId) uploadStatus.forget();
  library.clientId = clientId;
  viewer.mayChange = session.mayChange;
  uploads.resume();
  live.start();
}

function onLeave() {
  live.stop();
  paging.stop();
  uploads.pause();
  viewer.close();
  library.clear();
  hideNotice();
  const { unsent } = uploads;
  const what = counted(unsent, "photo was", "photos were");
  const it = unsent === 1 ? "It waits" : "They wait";
  return unsent === 0 ? "" : `${what} not uploaded. ${it} here until you sign in again.`;
}

async function signOut() {
  const { pending } = uploads;
  const detail = `${counted(pending, "photo has", "photos have")} not been uploaded yet and would be lost.`;
  const labels = { yes: "Sign out", no: "Stay signed in" };
  if (pending > 0 && !(await ask({ question: "Sign out now?", detail, ...labels }))) return;
  try {
    await api.logout();
  } catch (error) {
    if (!api.isSignedOut(error)) showNotice(`You are still signed in. ${api.wordsOf(error)}`);
    return;
  }
  uploadStatus.forget();
  session.leave();
}

function start() {
  moveByKeys(days);
  initNotices();
  const add = (/** @type {File[]} */ files) => uploads.add(files);
  const picker = /** @type {HTMLInputElement} */ (byId("picker"));
  acceptChosen(picker, [byId("add"), byId("add-first")], add);
  acceptDrops({ hint: byId("drop-hint"), isWanted: () => session.mayChange, onFiles: add });
  byId("sign-out").addEventListener("click", signOut);
  addEventListener("hashchange", () => {
    if (isSignInLink()) location.reload();
    else if (session.signedIn) navigation.changed();
  });
  addEventListener("beforeunload", (event) => {
    if (uploads.pending > 0) event.preventDefault();
  });
  session.begin();
}

start();
