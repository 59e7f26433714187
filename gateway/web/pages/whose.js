/** Who is signed in, and whose library the page shows: one's own, or the client's that `/?client=…` names. */

import { byId, h } from "./dom.js";
import { t } from "./language.js";

/** @typedef {import("./api.js").Login} Login */

/** @param {Login} login */
export function nameOf({ clientId, name, provider, role }) {
  // The client id of a provider's person may be a hash, which says nothing to them.
  const who = (provider !== null && name) || clientId;
  return role === "client" ? who : `${who}, ${t.session.roles[role]}`;
}

/**
 * @param {Login} login
 * @returns {string} the client whose library is shown; clients see only their own
 */
export function shownClient({ clientId, role }) {
  const wanted = new URLSearchParams(location.search).get("client");
  return role === "client" || !wanted ? clientId : wanted;
}

/**
 * Say whose library this is, and lead operators and auditors to the console and all clients.
 * @param {Login} login
 */
export function sayWhose(login) {
  const { clientId, role } = login;
  const shown = shownClient(login);
  const isOwn = shown === clientId;
  const isClient = role === "client";
  const words = isOwn ? t.session.own[role] : t.session.libraryOf(shown);
  const links = [
    h("a", { href: "/console#clients" }, t.session.allClients),
    isOwn ? null : h("a", { href: "/" }, t.session.ownLibrary),
  ];
  const wanted = new URLSearchParams(location.search).get("client");
  const denied = isClient && wanted && wanted !== clientId ? [h("span", {}, t.session.notAllowed(wanted)), h("a", { href: "/" }, t.session.ownLibrary)] : [];
  byId("own").replaceChildren(...(isClient ? denied : [h("span", {}, words), ...links.filter((link) => link !== null)]));
  byId("none").textContent = isOwn ? (role === "auditor" ? t.session.noneOfYourOwn : t.page.noPhotos) : t.session.noneOf(shown);
  byId("to-console").hidden = byId("to-console-first").hidden = isClient;
}
