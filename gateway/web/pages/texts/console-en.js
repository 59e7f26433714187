/** The console's texts in English. */

import { pluralOf } from "../plural.js";

const plural = pluralOf("en");
const tasks = (/** @type {number} */ count) => plural(count, { one: "# task", other: "# tasks" });
const photos = (/** @type {number} */ count) => plural(count, { one: "# photo", other: "# photos" });
const waitingStay = (/** @type {number} */ count) => plural(count, { one: "# waiting task stays.", other: "# waiting tasks stay." });

/** @type {Record<string, string>} */
const events = {
  "pipeline.paused": "Paused",
  "pipeline.resumed": "Resumed",
  "pipeline.limited": "Limited",
  "pipeline.cancelled": "Waiting tasks cancelled",
  "pipeline.drained": "Waiting tasks cancelled (version 0.1)",
  "log.recovered": "Log recovered after a loss",
  "projections.rebuild.requested": "Rebuild of the read models requested",
  "client.quota.changed": "Quota changed",
  "access.key.created": "API key created",
  "access.key.revoked": "API key revoked",
  "access.revoked": "Access revoked",
  "webhook.created": "Webhook created",
  "webhook.changed": "Webhook changed",
  "webhook.disabled": "Webhook disabled",
  "webhook.enabled": "Webhook enabled",
  "webhook.secret.rotated": "Webhook secret rotated",
  "webhook.replayed": "Webhook replayed",
  "webhook.deleted": "Webhook deleted",
  "photo.processing.requested": "Job requested",
  "photo.processing.prioritized": "Priority changed",
  "photo.processing.hurried": "Delayed retries run now",
  "photo.processing.failed": "Job cancelled",
  "photo.processing.discarded": "Failure discarded",
  "photo.deleted": "Photo deleted",
};

/** @type {Record<string, string>} */
const states = {
  running: "running",
  draining: "pausing",
  paused: "paused",
  queued: "queued",
  processing: "processing",
  completed: "completed",
  failed: "failed",
  retrying: "failed, will be repeated",
  ok: "ok",
  degraded: "degraded",
  down: "down",
  closed: "closed, calls pass",
  "half-open": "half-open, one call is tried",
  open: "open, calls are rejected",
  delivering: "delivering",
  failing: "failing",
  unsigned: "sends nothing: its secret was made with another key",
  disabled: "disabled",
};

/** @type {Record<string, string>} */
const partNames = {
  redis: "log (Redis)",
  blobs: "photo storage",
  sqlite: "read model",
  systemResources: "this machine",
  workerPool: "workers",
  rooms: "live events",
  background: "long-running tasks",
  connections: "connections",
  webhooks: "webhooks",
  archive: "archive",
  libraries: "libraries",
};

/** @type {Record<string, string>} */
const factNames = {
  latencyMs: "answers in",
  memoryBytes: "memory",
  memoryMaxBytes: "of at most",
  freeBytes: "free",
  lagMs: "behind by",
  integrity: "integrity",
  memoryUsedPercent: "memory used",
  loadPerProcessor: "load per processor",
  workers: "running",
  open: "open",
  max: "of at most",
};

/** @type {Record<string, string>} */
const outcomes = {
  done: "done",
  already: "had been done already",
  skipped: "skipped",
  gone: "no longer matched when its turn came: it was retried, discarded or deleted meanwhile",
  "nothing-failed": "no longer a dead letter: it was retried or discarded meanwhile",
  "photo-deleted": "the photo was deleted meanwhile",
  "photo-not-found": "there is no such photo",
  "job-running": "the photo is being processed",
  "unknown-stage": "the stage no longer exists",
};

/** @type {Record<string, string>} */
const deliveryOutcomes = {
  delivered: "delivered",
  rejected: "rejected",
  gone: "gone",
  timeout: "no answer in time",
  unreachable: "not reachable",
  "not-allowed": "address not allowed",
  tls: "no valid certificate",
};

export const words = {
  views: {
    overview: "Overview",
    controls: "Controls",
    jobs: "Jobs",
    "dead-letters": "Dead letters",
    audit: "Audit",
    clients: "Clients",
    webhooks: "Webhooks",
    system: "System",
  },
  navigation: "Views",
  none: "None",
  yes: "yes",
  no: "no",
  all: "all stages",
  ago: (/** @type {string} */ time) => `${time} ago`,
  seconds: (/** @type {number} */ count) => `${count} s`,
  minutes: (/** @type {number} */ count) => `${count} min`,
  hours: (/** @type {number} */ count) => `${count} h`,
  days: (/** @type {number} */ count) => plural(count, { one: "# day", other: "# days" }),
  forOperators:
    "This page is for operators and auditors. On the machine that runs Photolog, `photolog link --role operator` " +
    "prints a link that signs you in as one.",
  signInFirst:
    "Sign in on the photo page first. On the machine that runs Photolog, `photolog link --role operator` " +
    "prints a link that signs you in as an operator.",
  signedOutElsewhere: "You have signed out in another tab.",
  toPhotos: "Go to the photo page",
  signedInAs: (/** @type {string} */ name, /** @type {string} */ role) => `${name}, ${role}`,
  roles: { operator: "operator", auditor: "auditor, who may look", client: "client" },
  updated: (/** @type {string} */ time) => `As of ${time}`,
  stale: "The server does not answer. What is shown may be old.",
  cancel: "Cancel",
  done: "Done.",
  show: "Show",
  clear: "Clear filters",
  any: "any",
  firstPage: "First page",
  nextPage: "Next page",
  sortBy: (/** @type {string} */ head) => `Sort by ${head}`,
  sortedPage: "Only this page is sorted in this way.",
  copy: "Copy",
  copied: "Copied",
  notCopied: "The browser does not let this page copy. Select the text and copy it yourself.",
  close: "Close",
  continue: "Continue",
  dismiss: "Dismiss",
  states,
  outcomes,
  events,

  stages: "Stages",
  delayedErasures:
    "A delayed task of erasure removes pictures that a later job has replaced, after an hour (PHOTOLOG_SUPERSEDED_GRACE_S), " +
    "or is the retry of an erasure that failed. The files of a deleted photo are removed at once.",
  stageHeads: ["Stage", "State", "Waiting", "In progress", "Delayed", "In per second", "Out per second", "Dead letters", "Waiting, last hour"],
  lanes: "Lanes",
  laneHeads: ["Stage", "High", "Normal", "Low"],
  lane: (/** @type {number} */ waiting, /** @type {number} */ running, /** @type {number} */ clients, /** @type {string} */ oldest) =>
    [`${waiting} waiting`, `${running} in progress`, waiting && `of ${plural(clients, { one: "# client", other: "# clients" })}`, oldest && `oldest ${oldest}`]
      .filter(Boolean)
      .join(", "),
  partNames,
  factNames,
  workers: "Workers",
  workerHeads: ["Worker", "Stage", "Photo", "Since"],
  idle: "idle",
  partitions: "Partitions",
  partitionHeads: ["Partition", "Server", "Answers", "To plan", "Read by", "Read model behind"],
  nobody: "nobody",
  parts: "Parts",
  partHeads: ["Part", "State", "Details"],
  alerts: "Alerts of the last day",
  alertHeads: ["Time", "Level", "Stage", "Category", "What happened", "Look at"],
  more: (/** @type {number} */ count) => `and ${count} more`,
  openJobs: "Open jobs",
  breakers: "Circuit breakers",
  breakerHeads: ["Name", "State", "Openings", "Calls again in"],
  quotas: "Clients closest to a quota",
  quotaHeads: ["Client", "Most used", "Photos", "Stored", "Jobs"],
  noQuotas: "No client uses a limited quota.",
  usedOf: (/** @type {string} */ used, /** @type {string} */ most) => `${used} of ${most}`,
  actions: "Actions",
  until: (/** @type {string} */ time) => `until ${time}`,
  lastHour: (/** @type {string} */ stage) => `Tasks waiting for ${stage} in the last hour`,
  memory: (/** @type {string} */ used, /** @type {string | null} */ most) =>
    most === null ? `Memory of the log: ${used}, without a limit` : `Memory of the log: ${used} of ${most}`,
  everythingPaused: "All stages are paused.",
  atOnce: (/** @type {number} */ count) => `Each worker runs ${tasks(count)} at once.`,
  noLimit: "no limit",
  concurrency: (/** @type {number} */ count) => `${count} at once`,
  rate: (/** @type {number} */ max, /** @type {string} */ time) => `${max} in ${time}`,

  pause: "Pause",
  resume: "Resume",
  limit: "Limit",
  drain: "Drain",
  cancelWaiting: "Cancel waiting",
  backfill: "Backfill",
  controlHeads: ["Stage", "State", "Limit", "Waiting", "Delayed", "In progress", "Actions"],
  question: {
    pause: (/** @type {string} */ stage) => `Pause ${stage}?`,
    resume: (/** @type {string} */ stage) => `Resume ${stage}?`,
    limit: (/** @type {string} */ stage) => `Limit ${stage}?`,
    drain: (/** @type {string} */ stage) => `Drain ${stage}?`,
    cancelWaiting: (/** @type {string} */ stage) => `Cancel what waits for ${stage}?`,
    backfill: (/** @type {string} */ stage) => `Run ${stage} for all stored photos?`,
  },
  touches: {
    pause: (/** @type {number} */ waiting, /** @type {number} */ running) =>
      `${waitingStay(waiting)} ${plural(running, { one: "# running task finishes.", other: "# running tasks finish." })}`,
    resume: (/** @type {number} */ waiting) => plural(waiting, { one: "# waiting task can begin.", other: "# waiting tasks can begin." }),
    limit: (/** @type {number} */ waiting) => plural(waiting, { one: "# task is waiting now.", other: "# tasks are waiting now." }),
    drain: (/** @type {number} */ waiting, /** @type {number} */ running) =>
      plural(running, {
        one: "It is paused, and this page tells you when # running task has finished.",
        other: "It is paused, and this page tells you when # running tasks have finished.",
      }) + ` ${waitingStay(waiting)}`,
    cancelWaiting: (/** @type {number} */ waiting, /** @type {number} */ delayed) =>
      `${plural(waiting, { one: "# task is waiting", other: "# tasks are waiting" })} and ` +
      `${plural(delayed, { one: "# is delayed", other: "# are delayed" })}: ` +
      `${plural(waiting + delayed, { one: "its job fails with your reason, and", other: "their jobs fail with your reason, and" })} can be retried.`,
    /** Of all stages: erasures are not counted. */
    notErasures: "Erasures cannot be cancelled, and go on.",
    backfill: (/** @type {number} */ count) =>
      `${plural(count, { one: "# photo is", other: "# photos are" })} stored. Photos that are being processed or have failed are skipped.`,
  },
  required: "required",
  reason: "Reason",
  reasonHelp: "Recorded with the change, for everyone who reads the audit list.",
  pauseFor: "For how long",
  forever: "until somebody resumes it",
  perWorker: "Tasks at once in each worker",
  rateTasks: "Tasks in a period, over all workers",
  ratePeriod: "Period in milliseconds",
  emptyIsNone: "Leave a field empty for no limit.",
  priority: "Priority, from 1 (first) to 10 (last)",
  keepPriority: "Priority, from 1 (first) to 10 (last); empty keeps that of each job",
  draining: (/** @type {string} */ stage, /** @type {number} */ running) => `${stage}: ${tasks(running)} still running`,
  drained: (/** @type {string} */ stage) => `${stage} is paused and idle.`,
  notDrained: (/** @type {string} */ stage) => `${stage} was resumed before it was idle.`,
  cancelled: (/** @type {number} */ count, /** @type {number} */ left) =>
    `${tasks(count)} cancelled, ${left} remaining.`,
  backfilled: (/** @type {number} */ requested, /** @type {number} */ skipped, /** @type {number | null} */ total) =>
    `${photos(requested)} requested, ${skipped} skipped${total === null ? "" : ` of ${total}`}`,
  stop: "Stop",
  stopped: "Stopped.",
  interrupted: "This run ended when you left the page.",
  allRequested: "All are requested; their tasks wait in the low lanes.",
  waitingForLanes: "(waiting for the low lanes to empty)",

  newestJobs: "Jobs, newest first",
  jobHeads: ["Created", "Status", "Client", "Priority", "Job"],
  filters: "Filters",
  photo: "Photo",
  client: "Client",
  session: "Session",
  trace: "Trace",
  state: "State",
  from: "From",
  to: "To",
  job: "Job",
  jobFacts: { status: "Status", pipeline: "Pipeline", created: "Created", began: "Began", ended: "Ended", error: "Error", priority: "Priority" },
  attempts: "Attempts",
  attemptHeads: ["Stage", "Attempt", "Queued", "Began", "Took", "Outcome"],
  waterfall: "Waiting and running of each attempt over time",
  legend: { waiting: "queued", delayed: "waiting for its time", running: "running", failed: "failed" },
  nextAt: (/** @type {string} */ time) => `next at ${time}`,
  notEnded: "not ended",
  runNow: "Run now",
  retry: "Retry",
  cancelJob: "Cancel job",
  prioritize: "Change priority",
  jobQuestion: {
    runNow: "Run the delayed retries now?",
    retry: "Retry this job?",
    cancelJob: "Cancel this job?",
    prioritize: "Change the priority of this job?",
  },
  oneJob: "This concerns 1 job.",
  jobDone: {
    runNow: (/** @type {number} */ moved) => `${tasks(moved)} due now.`,
    retry: "A new job continues.",
    cancelled: "Cancelled.",
    notCancelled: "The job had ended already.",
    prioritized: (/** @type {number} */ moved) => `${tasks(moved)} moved.`,
    incomplete: "A lane was too long to search all of it: a task may still wait with its old priority.",
  },

  reasons: "Reasons",
  groupHeads: ["Stage", "Category", "Code", "Count", "Latest", "Example"],
  letters: "Photos",
  letterHeads: ["Select", "Photo", "Client", "Stage", "Reason", "Attempts", "Last failure"],
  stage: "Stage",
  category: "Category",
  code: "Code",
  order: "Order",
  orders: { newest: "newest first", oldest: "oldest first" },
  selectAll: "Select all that match",
  selectPhoto: (/** @type {string} */ photo) => `Select ${photo}`,
  selected: (/** @type {number} */ count) => `${photos(count)} selected`,
  allSelected: (/** @type {number} */ count) =>
    plural(count, { one: "the # photo that matches is selected", other: "all # photos that match are selected" }),
  discard: "Discard",
  letterQuestion: {
    retry: (/** @type {number} */ count) => `Retry ${photos(count)}?`,
    discard: (/** @type {number} */ count) =>
      plural(count, { one: "Discard the failure of # photo?", other: "Discard the failures of # photos?" }),
  },
  letterDetail: {
    retry: (/** @type {number} */ count) =>
      plural(count, {
        one: "It gets a new job, which begins with the stage that failed.",
        other: "Each gets a new job, which begins with the stage that failed.",
      }),
    discard: (/** @type {number} */ count) =>
      plural(count, {
        one: "The photo stays as it is, and is no longer listed here.",
        other: "The photos stay as they are, and are no longer listed here.",
      }),
  },
  lasting: (/** @type {number} */ count) =>
    plural(count, { one: "# failure lies", other: "# failures lie" }) +
    " in the bytes of the photo (data, security) and will come back, unless the original was replaced or Photolog was " +
    "upgraded since then.",
  /** Outcomes of what succeeded. */
  swept: { retry: "a new job was requested", discard: "discarded" },
  allSwept: {
    retry: "Requested. A photo that fails again is listed below again.",
    discard: "Discarded.",
  },
  results: "Results",
  resultHeads: ["Photo", "Outcome"],
  progress: (/** @type {number} */ count) => `${photos(count)} so far`,
  meanwhile: "These no longer matched when their turn came, or changed meanwhile.",

  defaultLimits: "the limits of the settings",
  auditTitle: "What operators did",
  auditHeads: ["Time", "Actor", "What", "To what", "Reason"],
  actor: "Actor",
  what: "What",
  everything: "everything",
  ended: "its time had come",

  clientsTitle: "Clients",
  idBegins: "Id begins with",
  limitOf: { photos: "photos", bytes: "stored", jobs: "jobs", uploads: "unfinished uploads", idempotencyKeys: "idempotency keys" },
  clientHeads: ["Client", "Photos", "Stored", "Jobs", "Open requests here", "Own limits", "Look at"],
  revoke: "Revoke access",
  revokeQuestion: (/** @type {string} */ client) => `Revoke all access of ${client}?`,
  revokeDetail:
    "All tokens issued and all API keys created up to now, and the sessions that began with these tokens, end within " +
    "two seconds. Programs that use them need new ones.",
  revokeSelf: "This is you: you are signed out, too, and need a new link or token.",
  revoked: "Revoked.",
  clientJobs: "Jobs",
  clientLibrary: "Library",
  clientPhotos: "Photos",
  photosOf: (/** @type {string} */ client) => `Photos of ${client}`,
  photoHeads: ["Uploaded", "Name", "Status", "Size"],

  webhookTitle: "Webhooks",
  webhookHeads: ["URL", "Client", "Events", "State", "Last answer", "Waiting for", "Created"],
  noWebhooks: "There is no webhook. Clients create theirs over HTTP; `photolog webhooks create` makes one for everyone.",
  webhook: "Webhook",
  everyone: "everyone",
  allTypes: "all types",
  webhookFacts: {
    state: "State",
    url: "URL",
    description: "Description",
    types: "Events",
    created: "Created",
    disabled: "Disabled",
    delivered: "Delivered up to",
    waiting: "Oldest waiting event",
    failing: "Failing since",
    last: "Last attempt",
    previousSecret: "Previous secret signs, too",
  },
  webhookCauses: {
    requested: "on request",
    gone: "the receiver answered 410",
    exhausted: "an event could not be delivered in time",
    "access-revoked": "the access that created it was revoked",
  },
  deliveries: "Last deliveries",
  deliveryHeads: ["Time", "Event", "Position", "Attempt", "Outcome", "Took", "Answer"],
  noDeliveries: "Nothing has been sent yet.",
  deliveryOutcomes,
  enable: "Enable",
  disable: "Disable",
  replay: "Replay",
  rotate: "Rotate secret",
  webhookQuestion: {
    enable: (/** @type {string} */ url) => `Enable the webhook to ${url}?`,
    disable: (/** @type {string} */ url) => `Disable the webhook to ${url}?`,
    replay: (/** @type {string} */ url) => `Send events to ${url} again?`,
    rotate: (/** @type {string} */ url) => `Rotate the secret of the webhook to ${url}?`,
  },
  webhookDetail: {
    enable: "It continues where it stopped: everything since is sent.",
    disable: "Nothing is sent until it is enabled. Requests in flight may still arrive.",
    replay: "It continues after the position that you give. If that is later than where it is now, what lies between is not sent.",
    rotate: "A new secret signs what is sent. The current one signs as well for a while, so that the receiver can change over.",
    rotated: (/** @type {string} */ time) => `This is the only time that it is shown. The previous secret signs as well until ${time}.`,
  },
  newSecret: "The new secret",
  replayAfter: "After the position",
  replayHelp: "Such as 0:1795300000512-0, from the list of deliveries; 0:0-0 is the beginning. Those of several partitions are joined by commas.",

  projections: "Read models",
  generationHeads: ["File", "Size", "Changed", "State"],
  live: "live",
  earlier: "earlier",
  settings: "Settings of this gateway",
  settingHeads: ["Setting", "Value", "Source", "Meaning"],
  find: "Find",
};

/** @typedef {typeof words} Words */
