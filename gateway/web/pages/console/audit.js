/** The audit list: what operators did, when, to what and why. */

import { ask } from "../api.js";
import { h } from "../dom.js";
import { by } from "./sort.js";
import { ownWords } from "./system.js";
import { filterForm, link, ORDER, table } from "./table.js";
import { limitWords, moment, stageTitle, words } from "./words.js";

/**
 * @typedef {{time: string, actor: string, what: string, stage: string | null, photoId: string | null,
 *   clientId: string | null, reason: string | null, data: Record<string, unknown>}} Entry
 */

/**
 * @param {import("./server.js").Context} context
 * @returns {import("./server.js").View}
 */
export function audit({ filter }) {
  const list = h("div");
  /** @type {[string, string][]} */
  const kinds = [["", words.everything], ...Object.entries(words.events)];
  const fields = [
    { name: "actor", label: words.actor },
    { name: "what", label: words.what, options: kinds },
    { name: "stage", label: words.stage },
    { name: "clientId", label: words.client },
    { name: "photoId", label: words.photo },
    { name: "from", label: words.from, type: "date" },
    { name: "to", label: words.to, type: "date" },
    ORDER,
  ];
  const look = async () => {
    /** @type {{items: Entry[], nextCursor: string | null}} */
    const { items, nextCursor } = await ask(`/api/audit?${filter}`);
    const rows = items.map((entry) => [
      ...[by(entry.time, moment(entry.time)), link(entry.actor, "audit", { actor: entry.actor }), whatOf(entry)],
      ...[targetOf(entry), entry.reason ?? (entry.data.ended ? words.ended : null)],
    ]);
    return () => list.replaceChildren(table(words.auditTitle, words.auditHeads, rows, { paged: { view: "audit", filter, nextCursor, timeAt: 0 } }));
  };
  return { element: h("div", {}, filterForm("audit", fields, filter), list), look, isLive: true };
}

/** @param {Entry} entry */
function whatOf({ what, data }) {
  const facts = [words.events[what] ?? what];
  if (typeof data.until === "string") facts.push(words.until(moment(data.until) ?? ""));
  if (what === "pipeline.limited") facts.push(limitWords(/** @type {import("./words.js").Limit} */ (data.limit)));
  if (typeof data.priority === "number") facts.push(`${words.jobFacts.priority} ${data.priority}`);
  if (typeof data.tasks === "number") facts.push(String(data.tasks));
  if (what === "client.quota.changed") facts.push(ownWords(/** @type {import("./system.js").Client["own"]} */ (data.quota)) ?? words.defaultLimits);
  if (Array.isArray(data.scopes)) facts.push(data.scopes.join(" "));
  if (typeof data.expiresAt === "string") facts.push(words.until(moment(data.expiresAt) ?? ""));
  return facts.join(", ");
}

/**
 * @param {Record<string, unknown>} data
 * @param {Node | null} client
 */
function webhookOf({ webhookId, url, types, after }, client) {
  const id = String(webhookId);
  const facts = [url, types, after].flat().filter((each) => typeof each === "string");
  return h("span", {}, link(id, "webhook", { id }), facts.map((fact) => `, ${fact}`).join(""), ...(client ? [", ", client] : []));
}

/** @param {Entry} entry */
function targetOf({ what, stage, photoId, clientId, data }) {
  if (photoId !== null && typeof data.jobId === "string") return link(photoId, "job", { id: data.jobId });
  if (photoId !== null) return photoId;
  const client = clientId === null ? null : link(clientId, "clients", { prefix: clientId });
  if (what.startsWith("webhook.")) return webhookOf(data, client);
  if (what.startsWith("access.key.")) return h("span", {}, `${data.name} (${data.keyId})`, ...(client ? [", ", client] : []));
  if (what === "access.revoked" && typeof data.tokenId === "string") return data.tokenId;
  if (client) return client;
  return what.startsWith("pipeline.") ? stageTitle(stage ?? "all") : null;
}
