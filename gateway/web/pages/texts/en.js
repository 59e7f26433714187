/** The page's texts in English. Its type is that of every other language. */

import { pluralOf } from "../plural.js";

/** @typedef {typeof texts} Texts */
/** @typedef {keyof typeof page} StaticText */
/** @typedef {import("../photo.js").StageState} StageState */

const plural = pluralOf("en");
const photos = (/** @type {number} */ count) => plural(count, { one: "# photo", other: "# photos" });

/** Texts of elements that the HTML names; backticks mark code. */
const page = {
  console: "Console",
  openConsole: "Open the console",
  apiDocs: "Documentation of the API",
  addPhotos: "Add photos",
  signOut: "Sign out",
  language: "Language",
  photosToAdd: "Photos to add",
  uploadProgress: "Upload progress",
  photos: "Photos",
  selected: "Selected photos",
  progress: "Progress",
  uploads: "Uploads",
  order: "Order",
  byTaken: "By date taken",
  byAdded: "Recently added",
  noPhotos: "No photos yet",
  dropAnywhere: "Drop photos or folders anywhere on this page.",
  addFirst: "Add the first photos from this device.",
  choosePhotos: "Choose photos",
  signIn: "Sign in",
  howToSignIn:
    "On the machine that runs Photolog, run `photolog link` for a link that signs you in, " +
    "or `photolog token` for a token to paste here.",
  token: "Token",
  dropToAdd: "Drop to add",
  pageNotFound: "Page not found",
  noPageHere: "There is no page at this address.",
  goToPhotos: "Go to your photos",
  signInFailed: "Sign-in failed",
  signInAgain: "Try again",
};

export const texts = {
  page,

  connection: { connecting: "Connecting…", live: "Live", late: "Not responding", reconnecting: "Reconnecting…" },
  /** What still works without the server. */
  connectionNote: {
    late:
      "Photolog is not responding at the moment. You can look at what is loaded, and add photos: " +
      "they are uploaded as soon as it responds.",
    lost:
      "The connection to Photolog is lost. You can look at what is loaded, and add photos: " +
      "they are uploaded as soon as it is back.",
  },

  common: {
    cancel: "Cancel",
    close: "Close",
    dismiss: "Dismiss",
    tryAgain: "Try again",
    tryNow: "Try now",
    loading: "Loading…",
    today: "Today",
    yesterday: "Yesterday",
  },

  announced: {
    /** @param {string[]} names */
    ready: (names) => (names.length === 1 ? `${names[0]} is ready.` : `${photos(names.length)} are ready.`),
    /** @param {string[]} names */
    deleted: (names) =>
      names.length === 1 ? `${names[0]} was deleted.` : `${photos(names.length)} were deleted.`,
    processedAgain: (/** @type {string} */ name) => `${name} was processed again.`,
    notProcessed: (/** @type {string} */ name, /** @type {string} */ why) =>
      `${name} could not be processed: ${why}`,
    lastPhoto: "This is the last photo.",
    firstPhoto: "This is the first photo.",
  },

  deletion: {
    question: (/** @type {string} */ name) => `Delete ${name}?`,
    detail: (/** @type {number} */ count) =>
      plural(count, {
        one:
          "This removes the original and every picture made from it, and cannot be undone. The photo's " +
          "history stays: who did what and when, and its metadata, such as file name and place.",
        other:
          "This removes the originals and every picture made from them, and cannot be undone. The photos' " +
          "history stays: who did what and when, and their metadata, such as file names and places.",
      }),
    yes: "Delete",
    no: "Keep photo",
    failed: (/** @type {string} */ why) => `The photo was not deleted. ${why}`,
  },

  reprocessFailed: (/** @type {string} */ why) => `Processing could not be started. ${why}`,
  photosNotLoaded: (/** @type {string} */ why) => `The photos could not be loaded. ${why}`,

  signOut: {
    question: "Sign out now?",
    detail: (/** @type {number} */ count) =>
      plural(count, {
        one: "# photo has not been uploaded yet and would be lost.",
        other: "# photos have not been uploaded yet and would be lost.",
      }),
    yes: "Sign out",
    no: "Stay signed in",
    failed: (/** @type {string} */ why) => `You are still signed in. ${why}`,
    waiting: (/** @type {number} */ count) =>
      plural(count, {
        one: "# photo was not uploaded. It waits here until you sign in again.",
        other: "# photos were not uploaded. They wait here until you sign in again.",
      }),
  },

  session: {
    ended: "Your session has ended.",
    signedOut: "You have signed out.",
    signedOutElsewhere: "You have signed out in another tab.",
    otherTab: (/** @type {string} */ name) => `You signed in as ${name} in another tab.`,
    roles: { client: "client", operator: "operator", auditor: "auditor" },
    /** Explains to roles that may read all photos why they see only some. */
    own: {
      client: "",
      operator: "This page shows only your own photos.",
      auditor: "This page shows only your own photos, and auditors cannot add any.",
    },
    libraryOf: (/** @type {string} */ client) => `This is the library of ${client}. You can look at it, but not change it here.`,
    notAllowed: (/** @type {string} */ client) =>
      `These are your own photos: only operators and auditors can see those of ${client}.`,
    allClients: "All clients",
    ownLibrary: "Your own photos",
    noneOf: (/** @type {string} */ client) => `${client} has no photos`,
    noneOfYourOwn: "No photos of your own",
  },

  signInFailures: /** @type {Record<string, string>} */ ({
    "provider-unavailable":
      "The service that signs you in does not answer properly. Try again in a moment.",
    "sign-in-expired": "This sign-in took too long, was finished already, or was begun in another browser.",
    "sign-in-refused": "You were not signed in: you may not use Photolog, or the sign-in was cancelled.",
    "invalid-identity":
      "Photolog does not trust the answer of the service that signs you in. Try again; if that does not help, " +
      "tell whoever runs this Photolog.",
    "no-provider": "Here you sign in with a link or a token.",
  }),
  signInFailed: "Something did not work. Try again in a moment.",
  signIn: {
    at: (/** @type {string} */ provider) => `Sign in with ${provider}`,
    question: (/** @type {string} */ name) => `Sign in as ${name}?`,
    questionInstead: (/** @type {string} */ now, /** @type {string} */ name) =>
      `You are signed in as ${now}. Sign in as ${name} instead?`,
    detail: (/** @type {string} */ name, /** @type {string} */ clientId) =>
      `This link signs this browser in as ${name}. You will see the photos of ${clientId}, ` +
      `and photos that you add will belong to ${clientId}. Continue only if you asked for this link.`,
    yes: (/** @type {string} */ name) => `Sign in as ${name}`,
    stay: (/** @type {string} */ now) => `Stay signed in as ${now}`,
  },

  /** Problems that the page itself reports: message and advice. */
  problems: {
    unreachable: {
      message: "Photolog does not respond.",
      advice: "Check that it is running and that you are online, then try again.",
    },
    unexpected: {
      message: (/** @type {number} */ status) => `The server returned an error (${status}).`,
      advice: "Try again.",
    },
    notSignedIn: { message: "You are not signed in.", advice: "Sign in." },
    aborted: "The upload was cancelled.",
    noToken: "Paste a token first.",
    badToken: { message: "This token is not valid.", advice: "Create a new token and paste it here." },
    signedOutBefore: { message: "You were signed out before it was uploaded.", advice: "Sign in again." },
    interrupted: {
      message: "The upload was interrupted every time.",
      advice: "Check the file, then try again.",
    },
  },

  uploads: {
    begun: (/** @type {number} */ count) => `Uploading ${photos(count)}.`,
    held: (/** @type {number} */ count) => `${photos(count)} will be uploaded when the server is back.`,
    known: (/** @type {number} */ count) =>
      plural(count, { one: "# photo was already uploaded.", other: "# photos were already uploaded." }),
    failed: (/** @type {string} */ name, /** @type {string} */ why) => `${name} was not uploaded. ${why}`,
    title: "Uploads",
    upload: "Upload",
    uploading: (/** @type {string} */ percent) => `Uploading, ${percent}`,
    waitingForServer: "Uploaded, waiting for the server",
    waiting: (/** @type {number} */ count) => plural(count, { one: "# more is waiting", other: "# more are waiting" }),
    done: (/** @type {number} */ count) => plural(count, { one: "# photo uploaded", other: "# photos uploaded" }),
    notYet: "Waiting to upload",
    later: "Will be uploaded when the server is back.",
    notUploaded: "Not uploaded",
    alreadyUploaded: "Already uploaded",
    uploadedBefore: (/** @type {number} */ count) =>
      plural(count, { one: "You have uploaded this photo before.", other: "You have uploaded these photos before." }),
    chooseAgain: (/** @type {number} */ count) => plural(count, { one: "Choose this file again", other: "Choose these files again" }),
    lost: (/** @type {number} */ count) =>
      plural(count, {
        one: "The page was closed before it was uploaded, and it is too large to be kept in the browser.",
        other: "The page was closed before they were uploaded, and they are too large to be kept in the browser.",
      }),
    showPhoto: "Show photo",
    sortedIn: "Each is sorted in at the date on which it was taken.",
    showThem: "Show what was added last",
    dismissAll: "Dismiss all",
    unreadable: "The browser cannot read a folder among what you dropped. Nothing was added.",
    totals: "This upload",
    counted: {
      received: (/** @type {number} */ count) => plural(count, { one: "# received", other: "# received" }),
      duplicates: (/** @type {number} */ count) => plural(count, { one: "# uploaded before", other: "# uploaded before" }),
      processing: (/** @type {number} */ count) => plural(count, { one: "# in progress", other: "# in progress" }),
      completed: (/** @type {number} */ count) => plural(count, { one: "# done", other: "# done" }),
      failed: (/** @type {number} */ count) => plural(count, { one: "# failed", other: "# failed" }),
    },
    retryFailed: "Retry failed photos",
    lasting: "Photos whose file itself is the problem are not retried.",
    closeSession: "Finish this upload",
    andMore: (/** @type {number} */ count) => plural(count, { one: "and # more", other: "and # more" }),
    progress: (/** @type {number} */ at, /** @type {number} */ all) => `Uploading ${at} of ${all}`,
  },

  card: {
    damaged: "Damaged",
    waiting: "Waiting",
    processing: "Processing",
    failed: "Could not be processed",
    taken: (/** @type {string} */ day) => `Taken ${day}`,
    takenBy: {
      filename: (/** @type {string} */ day) => `${day}, by file name`,
      lastModified: (/** @type {string} */ day) => `${day}, by file change`,
    },
    fileDamaged: "The file is damaged.",
  },

  selection: {
    count: (/** @type {number} */ count) => plural(count, { one: "# selected", other: "# selected" }),
    clear: "Clear the selection",
    download: "Download",
    reprocess: "Process again",
    delete: "Delete",
    pick: (/** @type {string} */ name) => `Select ${name}`,
    pickDay: (/** @type {string} */ day) => `Select all photos of this day: ${day}`,
    question: (/** @type {number} */ count) => `Delete ${photos(count)}?`,
    yes: (/** @type {number} */ count) => `Delete ${photos(count)}`,
    no: (/** @type {number} */ count) => plural(count, { one: "Keep it", other: "Keep them" }),
    first: (/** @type {number} */ count) => plural(count, { one: "the first # selected, no more at once", other: "the first # selected, no more at once" }),
    keys: {
      all: "Ctrl+A selects all photos, Delete deletes them, Escape clears the selection.",
      escape: "Escape",
      delete: "Delete key",
    },
  },

  batch: {
    progress: "Progress",
    stop: "Stop",
    stopped: (/** @type {number} */ count) =>
      plural(count, { one: "You stopped before the last photo.", other: "You stopped before the last # photos." }),
    failed: (/** @type {number} */ count) =>
      plural(count, { one: "# photo did not work:", other: "# photos did not work:" }),
    deleting: (/** @type {number} */ done, /** @type {number} */ all) => `Deleting: ${done} of ${all}`,
    deleted: (/** @type {number} */ count) => `${photos(count)} deleted.`,
    requesting: (/** @type {number} */ done, /** @type {number} */ all) => `Starting: ${done} of ${all}`,
    requested: (/** @type {number} */ count) =>
      plural(count, { one: "# photo is processed again.", other: "# photos are processed again." }),
    downloading: (/** @type {number} */ parts) =>
      plural(parts, { one: "The download has begun.", other: "# downloads have begun, one after another." }),
  },

  timeline: {
    photos,
    scrubber: "Date",
  },

  viewer: {
    download: "Download original",
    downloadSmaller: "Download a smaller copy",
    information: "Information",
    play: "Slide show",
    pause: "Stop the slide show",
    more: "More",
    showOnMap: "Show on a map (openstreetmap.org)",
    again: "Process again",
    remove: "Delete",
    history: "History",
    previous: "Previous photo",
    next: "Next photo",
    waiting: "Waiting to be processed",
    failed: (/** @type {string} */ why) => `Could not be processed: ${why}`,
    ofTheFile: "The file itself is the problem: processing it again would fail the same way.",
    originalKept: "The original is kept as you uploaded it.",
    damaged: "The file is damaged: parts of the picture may be missing.",
    historyNotLoaded: (/** @type {string} */ why) => `The history could not be loaded. ${why}`,
    notFound: "Photo not found",
    notLoaded: "This photo could not be loaded",
    gone: "It was deleted, or the link is wrong.",
    showAll: "Show all photos",
    pictureNotLoaded: "The picture could not be loaded. Close the photo and open it again to retry.",
    noPicture: "No picture available.",
    preparing: "The picture is being prepared.",
  },

  stages: {
    label: "Stages",
    names: {
      validation: "Validation",
      metadata: "Metadata",
      thumbnails: "Thumbnails",
      placeholder: "Placeholder",
      optimization: "Optimization",
    },
    states: { queued: "waiting", completed: "done", retrying: "failed, will be retried", failed: "failed" },
  },

  history: {
    uploaded: (/** @type {string} */ size) => `Uploaded, ${size}`,
    requested: "Processing requested again",
    prioritized: (/** @type {number} */ priority) => `Priority changed to ${priority}`,
    hurried: "Next attempt brought forward",
    started: "Processing started",
    thumbnail: (/** @type {string} */ size, /** @type {string} */ bytes) => `Thumbnail ${size}, ${bytes}`,
    stageFailed: (/** @type {string} */ stage, /** @type {number} */ attempt, /** @type {string} */ why) =>
      `${stage} failed (attempt ${attempt}): ${why}`,
    nextAttempt: (/** @type {string} */ time) => `Next attempt at ${time}.`,
    completed: "Processing completed",
    failed: (/** @type {string} */ why) => `Processing failed: ${why}`,
    discarded: (/** @type {string} */ why) => `Failure discarded: ${why}`,
    superseded: "Older pictures replaced",
    removed: "Older pictures removed",
    restored: { missing: "Original restored: it was missing", altered: "Original restored: it was altered" },
    described: "Description changed",
    deleted: "Deleted",
    erased: "Files removed",
    damaged: (/** @type {string} */ why) => `damaged: ${why}`,
    partsMissing: "parts are missing",
    noCamera: "no camera information",
  },

  details: {
    title: "Title",
    caption: "Caption",
    taken: "Taken",
    camera: "Camera",
    lens: "Lens",
    exposure: "Exposure",
    mode: "Mode",
    size: "Size",
    colour: "Colour",
    raw: "RAW",
    motion: "Motion",
    place: "Place",
    keywords: "Keywords",
    rating: "Rating",
    creator: "Creator",
    copyright: "Copyright",
    software: "Software",
    file: "File",
    uploaded: "Uploaded",
    sha256: "SHA-256",
  },

  facts: {
    megapixels: (/** @type {string} */ count) => `${count} megapixels`,
    sources: { filename: "by the file name", lastModified: "by the file's last change" },
    video: "Video",
    bits: (/** @type {number} */ count) => `${count}\u00a0bits`,
    gainMap: "HDR gain map",
    developed: "developed",
    preview: "shown by its embedded preview",
    north: "N",
    south: "S",
    east: "E",
    west: "W",
    aboveSea: (/** @type {number} */ metres) => `${metres}\u00a0m above sea level`,
    belowSea: (/** @type {number} */ metres) => `${metres}\u00a0m below sea level`,
    facing: (/** @type {number} */ degrees) => `facing ${degrees}°`,
    metering: (/** @type {string} */ mode) => `${mode} metering`,
    flash: "flash",
    noFlash: "no flash",
    manualWhiteBalance: "manual white balance",
    /** The words of the metadata stage; a language without a word for one shows it as it is. */
    programs: /** @type {Record<string, string>} */ ({}),
    meteringModes: /** @type {Record<string, string>} */ ({}),
  },

  /** Why photos failed, by the code, in place of the server's English words. */
  failures: /** @type {Record<string, string>} */ ({}),

  /** Messages of the server by their code, in place of its English ones. */
  serverProblems: /** @type {Record<string, {message: string, advice: string}>} */ ({
    "job-running": { message: "This photo is still being processed.", advice: "Wait until it is done." },
  }),
};
