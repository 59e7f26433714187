/** The documentation of the API, made from the documents that the gateway serves. */

import { byId, h } from "../dom.js";
import { channelSection } from "./channel.js";
import { load } from "./document.js";
import { operationCard } from "./operation.js";
import { prose } from "./prose.js";
import { idOf, schemaCard } from "./schema.js";

/** @typedef {import("./document.js").OpenApi} OpenApi */
/** @typedef {import("./document.js").AsyncApi} AsyncApi */
/** @typedef {{title: string, id: string, links: {id: string, label: string, words: string}[]}} Part */

/**
 * @param {OpenApi} api
 * @returns {{part: Part, section: HTMLElement}[]} one for each tag
 */
function operationParts(api) {
  return api.tags.map((tag) => {
    const found = Object.entries(api.paths).flatMap(([path, item]) =>
      Object.entries(item)
        .filter(([, operation]) => operation.tags.includes(tag.name))
        .map(([method, operation]) => ({ method, path, operation })),
    );
    const id = `tag-${tag.name}`;
    const links = found.map(({ method, path, operation }) => ({
      id: operation.operationId,
      label: operation.summary,
      words: `${method} ${path} ${operation.operationId} ${operation.summary}`.toLowerCase(),
    }));
    const cards = found.map((each) => operationCard(api, each.method, each.path, each.operation));
    const section = h(
      "section",
      { id },
      h("h2", {}, titled(tag.name)),
      ...prose(tag.description),
      ...cards,
    );
    return { part: { title: titled(tag.name), id, links }, section };
  });
}

/**
 * @param {AsyncApi} api
 * @returns {{part: Part, section: HTMLElement}}
 */
function liveParts(api) {
  const names = Object.keys(api.channels);
  const links = names.map((name) => {
    const label = api.channels[name]?.title ?? name;
    return { id: `channel-${name}`, label, words: `${label} ${name} websocket`.toLowerCase() };
  });
  const section = h(
    "section",
    { id: "live" },
    h("h2", {}, "Live events"),
    ...prose(api.info.description),
    ...names.map((name) => channelSection(api, name)),
  );
  return { part: { title: "Live events", id: "live", links }, section };
}

/**
 * @param {OpenApi} api
 * @param {AsyncApi} live
 * @returns {{part: Part, section: HTMLElement}}
 */
function schemaParts(api, live) {
  const schemas = { ...live.components.schemas, ...api.components.schemas };
  const names = Object.keys(schemas).sort();
  const links = names.map((name) => ({ id: idOf(name), label: name, words: name.toLowerCase() }));
  const section = h(
    "section",
    { id: "schemas" },
    h("h2", {}, "Schemas"),
    ...names.map((name) => schemaCard(name, schemas[name] ?? {})),
  );
  return { part: { title: "Schemas", id: "schemas", links }, section };
}

/** @param {string} name */
function titled(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** @param {Part[]} parts */
function showContents(parts) {
  const groups = parts.map((part) => {
    const items = part.links.map((link) => ({
      words: link.words,
      element: h("li", {}, h("a", { href: `#${link.id}` }, link.label)),
    }));
    const group = h(
      "details",
      { open: part.id !== "schemas" && matchMedia("(min-width: 60rem)").matches },
      h("summary", {}, part.title),
      h("ul", {}, ...items.map((item) => item.element)),
    );
    return { group, items, opened: group.open };
  });
  byId("contents").append(...groups.map((each) => each.group));
  const filter = /** @type {HTMLInputElement} */ (byId("filter"));
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const { group, items, opened } of groups) {
      for (const item of items) item.element.hidden = !item.words.includes(wanted);
      group.hidden = items.every((item) => item.element.hidden);
      group.open = wanted ? !group.hidden : opened;
    }
  });
}

/** Open what the address names, and scroll to it. */
function showNamed() {
  const named = document.getElementById(addressed());
  if (!named) return;
  if (named instanceof HTMLDetailsElement) named.open = true;
  named.scrollIntoView();
}

/** @returns {string} what the address names; nothing if a link was cut off within a character */
function addressed() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

async function start() {
  const notice = byId("notice");
  try {
    const [openapi, asyncapi] = await Promise.all([
      load("/schema/openapi.json"),
      load("/schema/asyncapi.json"),
    ]);
    const api = /** @type {OpenApi} */ (openapi);
    const live = /** @type {AsyncApi} */ (asyncapi);
    byId("version").textContent = api.info.version;
    const parts = [...operationParts(api), liveParts(live), schemaParts(api, live)];
    byId("document").append(
      ...prose(api.info.description),
      ...parts.map((each) => each.section),
    );
    showContents(parts.map((each) => each.part));
    notice.hidden = true;
    addEventListener("hashchange", showNamed);
    showNamed();
  } catch (error) {
    notice.textContent = `The documents cannot be loaded: ${
      error instanceof Error ? error.message : error
    } Reload the page to try again.`;
    notice.classList.add("problem");
  }
}

start();
