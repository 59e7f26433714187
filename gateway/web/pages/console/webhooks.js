/** Webhooks: the list of all, and one of them with its deliveries and what an operator can do. */

import { ask } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { actionButton, askFor, copyButton, REASON, send, tell } from "./act.js";
import { by } from "./sort.js";
import { facts, filterForm, link, table } from "./table.js";
import { moment, span, stateName, words } from "./words.js";

/**
 * @typedef {import("./server.js").Context} Context
 * @typedef {import("./server.js").View} View
 * @typedef {"requested" | "gone" | "exhausted" | "access-revoked"} Cause
 * @typedef {{id: string, url: string, types: string[], description: string, clientId: string | null,
 *   createdAt: string, state: "delivering" | "failing" | "unsigned" | "disabled", disabledCause: Cause | null,
 *   disabledAt: string | null, disabledReason: string | null, previousSecretUntil: string | null,
 *   positions: string[], waitingSince: string | null, failingSince: string | null,
 *   failingReason: string | null, lastAttemptAt: string | null, lastStatus: number | null}} Webhook
 * @typedef {{position: string, type: string, attempt: number, time: string, durationMs: number,
 *   outcome: string, status: number | null, answer: string, nextAttemptAt: string | null}} Delivery
 * @typedef {() => Promise<void>} Refresh
 */

/** The deliveries that are shown, the newest ones. */
const DELIVERIES = 100;
/** The longest list of positions that the server accepts. */
const POSITIONS = 4_096;

/** @param {string} webhookId */
const pathOf = (webhookId) => `/api/webhooks/${encodeURIComponent(webhookId)}`;

/**
 * @param {Context} context
 * @returns {View}
 */
export function webhooks({ filter }) {
  const list = h("div");
  const look = async () => {
    /** @type {{items: Webhook[]}} */
    const { items } = await ask(`/api/webhooks?${filter}`);
    const rows = items.map((one) => [
      ...[link(one.url, "webhook", { id: one.id }), clientOf(one), typesOf(one), state(one), one.failingReason ?? one.lastStatus],
      ...[by(one.waitingSince, one.waitingSince && span(ageOf(one.waitingSince))), by(one.createdAt, moment(one.createdAt))],
    ]);
    return () => list.replaceChildren(table(words.webhookTitle, words.webhookHeads, rows, { empty: words.noWebhooks }));
  };
  const fields = [{ name: "clientId", label: words.client }];
  return { element: h("div", {}, filterForm("webhooks", fields, filter), list), look, isLive: true };
}

/** @param {Webhook} webhook */
function clientOf({ clientId }) {
  return clientId === null ? words.everyone : link(clientId, "webhooks", { clientId });
}

/** @param {Webhook} webhook */
function typesOf({ types }) {
  return types.length === 0 ? words.allTypes : typeWords(types.join(", "));
}

/** @param {string} types which may break after each dot */
function typeWords(types) {
  return h("span", {}, ...types.split(/(?<=\.)/).flatMap((part) => [part, h("wbr")]));
}

/** @param {Webhook} webhook */
function state({ state: name }) {
  return h("span", { class: `state ${name}` }, stateName(name));
}

/** @param {string} time */
function ageOf(time) {
  return Date.now() - Date.parse(time);
}

/** @param {string | null} time */
function since(time) {
  return time === null ? null : words.ago(span(ageOf(time)));
}

/**
 * @param {Context} context
 * @returns {View}
 */
export function oneWebhook({ filter, mayAct, refresh }) {
  const webhookId = filter.get("id") ?? "";
  const body = h("div");
  const look = async () => {
    /** @type {[Webhook, {items: Delivery[]}]} */
    const [webhook, deliveries] = await Promise.all([
      ask(pathOf(webhookId)),
      ask(`${pathOf(webhookId)}/deliveries?limit=${DELIVERIES}`),
    ]);
    return () =>
      body.replaceChildren(
        facts(factsOf(webhook)),
        mayAct ? actions(webhook, refresh) : "",
        table(words.deliveries, words.deliveryHeads, deliveries.items.map(deliveryRow), { empty: words.noDeliveries }),
      );
  };
  return { element: h("div", {}, h("p", { class: "id" }, `${words.webhook} `, h("code", {}, webhookId)), body), look, isLive: true };
}

/**
 * @param {Webhook} webhook
 * @returns {[string, Node | string | null][]}
 */
function factsOf(webhook) {
  const { disabledAt, disabledCause, disabledReason } = webhook;
  const disabled = [moment(disabledAt), disabledCause && words.webhookCauses[disabledCause], disabledReason];
  return [
    [words.webhookFacts.state, state(webhook)],
    [words.webhookFacts.url, webhook.url],
    [words.webhookFacts.description, webhook.description],
    [words.client, clientOf(webhook)],
    [words.webhookFacts.types, typesOf(webhook)],
    [words.webhookFacts.created, moment(webhook.createdAt)],
    [words.webhookFacts.disabled, disabledCause === null ? null : disabled.filter(Boolean).join(" · ")],
    [words.webhookFacts.delivered, webhook.positions.join(", ")],
    [words.webhookFacts.waiting, since(webhook.waitingSince)],
    [words.webhookFacts.failing, [since(webhook.failingSince), webhook.failingReason].filter(Boolean).join(" · ")],
    [words.webhookFacts.last, [moment(webhook.lastAttemptAt), webhook.lastStatus].filter(Boolean).join(", ")],
    [words.webhookFacts.previousSecret, webhook.previousSecretUntil && words.until(moment(webhook.previousSecretUntil) ?? "")],
  ];
}

/** @param {Delivery} delivery */
function deliveryRow({ time, type, position, attempt, outcome, status, durationMs, answer, nextAttemptAt }) {
  const result = [words.deliveryOutcomes[outcome] ?? outcome, status].filter(Boolean).join(", ");
  const next = nextAttemptAt === null || outcome === "delivered" ? "" : words.nextAt(moment(nextAttemptAt) ?? "");
  return [
    ...[by(time, moment(time)), by(type, typeWords(type)), h("code", {}, position), attempt],
    ...[[result, next].filter(Boolean).join(" · "), by(durationMs, format.duration(durationMs)), answer || null],
  ];
}

/**
 * @param {Webhook} webhook
 * @param {Refresh} refresh
 */
function actions(webhook, refresh) {
  const { id } = webhook;
  const isOff = webhook.state === "disabled";
  return h(
    "p",
    { class: "row-actions" },
    isOff ? actionButton(words.enable, id, () => enable(webhook, refresh)) : actionButton(words.disable, id, () => disable(webhook, refresh), true),
    actionButton(words.replay, id, () => replay(webhook, refresh)),
    actionButton(words.rotate, id, () => rotate(webhook, refresh)),
  );
}

/**
 * @param {Webhook} webhook
 * @param {Refresh} refresh
 */
async function disable({ id, url }, refresh) {
  const { disable: title } = words.webhookQuestion;
  const given = await askFor({ title: title(url), detail: words.webhookDetail.disable, yes: words.disable, fields: [REASON] });
  if (given !== null) await change(`${pathOf(id)}/disable`, { reason: given.reason }, refresh);
}

/**
 * @param {Webhook} webhook
 * @param {Refresh} refresh
 */
async function enable({ id, url }, refresh) {
  const { enable: title } = words.webhookQuestion;
  const given = await askFor({ title: title(url), detail: words.webhookDetail.enable, yes: words.enable, harmless: true, fields: [REASON] });
  if (given !== null) await change(`${pathOf(id)}/enable`, { reason: given.reason }, refresh);
}

/**
 * @param {Webhook} webhook
 * @param {Refresh} refresh
 */
async function replay({ id, url }, refresh) {
  const given = await askFor({
    title: words.webhookQuestion.replay(url),
    detail: words.webhookDetail.replay,
    yes: words.replay,
    fields: [{ name: "after", label: words.replayAfter, help: words.replayHelp, required: true, longest: POSITIONS }, REASON],
  });
  if (given !== null) await change(`${pathOf(id)}/replay`, { after: given.after, reason: given.reason }, refresh);
}

/**
 * Rotate the secret, and show the new one, which no other answer does.
 * @param {Webhook} webhook
 * @param {Refresh} refresh
 */
async function rotate({ id, url }, refresh) {
  const { rotate: title } = words.webhookQuestion;
  const given = await askFor({ title: title(url), detail: words.webhookDetail.rotate, yes: words.rotate, harmless: true, fields: [] });
  if (given === null) return;
  /** @type {{secret: string, previousUntil: string} | null} */
  const rotated = await send("POST", `${pathOf(id)}/secret`, undefined);
  if (rotated === null) return;
  const secret = h("p", { class: "secret" }, h("code", {}, rotated.secret), copyButton("copy-secret", rotated.secret));
  const detail = words.webhookDetail.rotated(moment(rotated.previousUntil) ?? "");
  await askFor({ title: words.newSecret, detail, yes: words.close, harmless: true, shown: secret, fields: [] });
  await refresh();
}

/**
 * @param {string} path
 * @param {object} body
 * @param {Refresh} refresh
 */
async function change(path, body, refresh) {
  if ((await send("POST", path, body)) === null) return;
  tell(words.done);
  await refresh();
}
