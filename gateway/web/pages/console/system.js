/** Clients, the photos of one of them, the read models, and the settings of this gateway. */

import { ask } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { actionButton, askFor, REASON, send, tell } from "./act.js";
import { by } from "./sort.js";
import { filterForm, link, table } from "./table.js";
import { moment, stateName, words } from "./words.js";

/**
 * @typedef {import("./server.js").Context} Context
 * @typedef {import("./server.js").View} View
 * @typedef {{clientId: string, usage: {photos: number, bytes: number, jobs: number},
 *   openRequests: number, own: Record<keyof typeof words.limitOf, number | null>}} Client
 * @typedef {{name: string, sizeBytes: number, changedAt: string, live: boolean}} Generation
 * @typedef {{name: string, value: unknown, source: string, meaning: string}} Setting
 */

/**
 * @param {Context} context
 * @returns {View}
 */
export function clients({ filter, mayAct, clientId: me, refresh }) {
  const list = h("div");
  const look = async () => {
    /** @type {{items: Client[], nextCursor: string | null}} */
    const { items, nextCursor } = await ask(`/api/ops/clients?${filter}`);
    const rows = items.map(({ clientId, usage, own, openRequests }) => [
      ...[clientId, usage.photos, by(usage.bytes, format.bytes(usage.bytes)), usage.jobs, openRequests, ownWords(own)],
      h("span", { class: "row-actions" }, libraryLink(clientId), link(words.clientPhotos, "photos", { clientId }), link(words.clientJobs, "jobs", { clientId })),
      ...(mayAct ? [actionButton(words.revoke, clientId, () => revoke(clientId, clientId === me, refresh), true)] : []),
    ]);
    const heads = mayAct ? [...words.clientHeads, words.actions] : words.clientHeads;
    return () => list.replaceChildren(table(words.clientsTitle, heads, rows, { paged: { view: "clients", filter, nextCursor } }));
  };
  const fields = [{ name: "prefix", label: words.idBegins }];
  return { element: h("div", {}, filterForm("clients", fields, filter), list), look };
}

/** @param {string} clientId */
function libraryLink(clientId) {
  return h("a", { href: `/?${new URLSearchParams({ client: clientId })}` }, words.clientLibrary);
}

/** @param {Client["own"]} own */
export function ownWords(own) {
  const names = /** @type {(keyof typeof words.limitOf)[]} */ (Object.keys(words.limitOf));
  const given = names.flatMap((name) => (own[name] === null ? [] : [`${words.limitOf[name]}: ${limit(name, own[name])}`]));
  return given.join(", ") || null;
}

/**
 * @param {string} name
 * @param {number} most
 */
function limit(name, most) {
  if (most === 0) return words.noLimit;
  return name === "bytes" ? format.bytes(most) : String(most);
}

/**
 * @param {string} clientId
 * @param {boolean} isSelf whether it is the operator's own
 * @param {() => Promise<void>} refresh
 */
async function revoke(clientId, isSelf, refresh) {
  const title = words.revokeQuestion(clientId);
  const detail = isSelf ? `${words.revokeDetail} ${words.revokeSelf}` : words.revokeDetail;
  const given = await askFor({ title, detail, yes: words.revoke, fields: [REASON] });
  if (given === null) return;
  if ((await send("POST", "/api/ops/tokens/revoke", { clientId, reason: given.reason })) !== null) tell(words.revoked);
  await refresh();
}

/**
 * @param {Context} context
 * @returns {View}
 */
export function photos({ filter }) {
  const list = h("div");
  const look = async () => {
    /** @type {{items: import("../photo.js").Photo[], nextCursor: string | null}} */
    const { items, nextCursor } = await ask(`/api/photos?${filter}`);
    const rows = items.map((photo) => [
      ...[by(photo.uploadedAt, moment(photo.uploadedAt)), h("a", { href: `/#photo/${photo.photoId}` }, photo.originalFilename)],
      ...[stateName(photo.processingStatus), by(photo.fileSize, format.bytes(photo.fileSize))],
    ]);
    const title = words.photosOf(filter.get("clientId") ?? "");
    return () => list.replaceChildren(table(title, words.photoHeads, rows, { paged: { view: "photos", filter, nextCursor } }));
  };
  return { element: list, look };
}

/**
 * @param {Context} _context
 * @returns {View}
 */
export function system(_context) {
  const [models, settings] = [h("div"), h("div")];
  const find = h("input", { type: "search", id: "find-setting", autocomplete: "off" });
  /** @type {Setting[]} */
  let known = [];
  const show = () => {
    const wanted = find.value.trim().toLowerCase();
    const rows = known
      .filter(({ name, meaning }) => `${name} ${meaning}`.toLowerCase().includes(wanted))
      .map(({ name, value, source, meaning }) => [name, value === null ? null : String(value), source, meaning]);
    settings.replaceChildren(table(words.settings, words.settingHeads, rows));
  };
  find.addEventListener("input", show);
  const look = async () => {
    /** @type {[{generations: Generation[]}, {items: Setting[]}]} */
    const [projections, found] = await Promise.all([ask("/api/ops/projections"), ask("/api/ops/settings")]);
    const rows = projections.generations.map(({ name, sizeBytes, changedAt, live }) => [
      ...[name, by(sizeBytes, format.bytes(sizeBytes)), by(changedAt, moment(changedAt)), live ? words.live : words.earlier],
    ]);
    return () => {
      models.replaceChildren(table(words.projections, words.generationHeads, rows));
      known = found.items;
      show();
    };
  };
  return { element: h("div", {}, models, h("label", { class: "find" }, h("span", {}, words.find), find), settings), look };
}
