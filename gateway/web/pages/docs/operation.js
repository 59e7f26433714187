/** One operation: what to send, what comes back, and what can go wrong. */

import { h } from "../dom.js";
import { nameIn } from "./document.js";
import { block, card, inline, json, prose, table } from "./prose.js";
import { bounds, fieldsOf, typeOf } from "./schema.js";

/** @typedef {import("./document.js").Operation} Operation */
/** @typedef {import("./document.js").OpenApi} OpenApi */
/** @typedef {import("./document.js").Media} Media */

const PROBLEM = "application/problem+json";

/**
 * Return the card of an operation.
 * @param {OpenApi} api
 * @param {string} method in lower case
 * @param {string} path
 * @param {Operation} operation
 */
export function operationCard(api, method, path, operation) {
  const head = [
    h("span", { class: `method ${method}` }, method.toUpperCase()),
    " ",
    h("code", { class: "path" }, path),
    " ",
    h("span", { class: "summary" }, operation.summary),
  ];
  return card(operation.operationId, head, () => [
    ...prose(operation.description),
    access(operation),
    parameters(operation),
    ...body(api, operation),
    h("h3", {}, "Request"),
    block("Example request", curl(method, path, operation)),
    ...answers(operation),
    problems(api, operation),
  ]);
}

/** @param {Operation} operation */
function access(operation) {
  if (isOpen(operation)) return h("p", { class: "soft" }, "Needs no token.");
  const ways = (operation.security ?? []).flatMap(({ bearer }) => (bearer?.length ? [bearer] : []));
  const scopes = ways.flatMap((way, at) => [
    at ? ", or " : "",
    ...way.flatMap((each, nth) => [nth ? " and " : "", h("code", {}, each)]),
  ]);
  const many = ways.some((way) => way.length > 1);
  return h(
    "p",
    { class: "soft" },
    "Needs a token, an API key or a signed-in browser",
    ...(scopes.length ? [` with the scope${many ? "s" : ""} `, ...scopes] : []),
    ".",
  );
}

/** @param {Operation} operation */
function isOpen(operation) {
  return operation.security?.some((each) => Object.keys(each).length === 0);
}

/** @param {Operation} operation */
function parameters(operation) {
  const rows = (operation.parameters ?? []).map((each) => [
    [h("code", {}, each.name), h("span", { class: "soft" }, each.required ? " required" : "")],
    [each.in],
    typeOf(each.schema),
    [...inline(each.description ?? ""), " ", ...bounds(each.schema)],
  ]);
  return rows.length ? table("Parameters", ["Name", "In", "Type", "Meaning"], rows) : null;
}

/**
 * @param {OpenApi} api
 * @param {Operation} operation
 * @returns {(Node | null)[]}
 */
function body(api, operation) {
  return Object.entries(operation.requestBody?.content ?? {}).flatMap(([kind, media]) => [
    h("h3", {}, "Body: ", h("code", {}, kind)),
    media.schema.$ref ? h("p", {}, ...typeOf(media.schema)) : null,
    fieldsOf("Fields of the body", resolved(api, media)),
    kind === "application/json" ? json("Example body", media.example) : null,
  ]);
}

/**
 * @param {OpenApi} api
 * @param {Media} media
 */
function resolved(api, media) {
  const { $ref } = media.schema;
  return ($ref && api.components.schemas[nameIn($ref)]) || media.schema;
}

/**
 * @param {Operation} operation
 * @returns {(Node | null)[]}
 */
function answers(operation) {
  const successes = Object.entries(operation.responses).filter(([status]) => Number(status) < 400);
  return successes.flatMap(([status, answer]) => [
    h("h3", {}, `Answer ${status}`),
    ...prose(answer.description),
    ...Object.entries(answer.content ?? {}).flatMap(([kind, media]) => [
      h("p", {}, h("code", {}, kind), " ", ...typeOf(media.schema)),
      media.example === undefined ? null : json(`Example of ${status}`, media.example),
    ]),
  ]);
}

/**
 * @param {OpenApi} api
 * @param {Operation} operation
 */
function problems(api, operation) {
  const rows = Object.entries(operation.responses).flatMap(([status, answer]) =>
    Object.keys(answer.content?.[PROBLEM]?.examples ?? {}).map((code) => {
      const problem = api.components.examples[code]?.value;
      return [[status], [h("code", {}, code)], inline(`${problem?.title}. ${problem?.advice}`)];
    }),
  );
  return rows.length ? table("Errors", ["Status", "Code", "What to do"], rows) : null;
}

/**
 * Return a command line that sends the request to this server.
 * @param {string} method
 * @param {string} path
 * @param {Operation} operation
 */
function curl(method, path, operation) {
  /** @type {string[]} */
  const query = [];
  let address = path;
  for (const { name, in: place, required, example, schema } of operation.parameters ?? []) {
    const value = String(example ?? schema.enum?.[0] ?? schema.type);
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (place === "query" && required) query.push(`${name}=${encodeURIComponent(value)}`);
  }
  const url = `${location.origin}${address}${query.length ? `?${query.join("&")}` : ""}`;
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${url}'`];
  if (!isOpen(operation)) lines.push("-H \"Authorization: Bearer $TOKEN\"");
  const content = operation.requestBody?.content ?? {};
  if (content["multipart/form-data"]) lines.push("-F file=@photo.jpg");
  const sent = content["application/json"]?.example;
  if (sent !== undefined) {
    lines.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(sent)}'`);
  }
  return lines.join(" \\\n  ");
}
