/** Schemas as short phrases with links, and as tables of their fields. */

import { h } from "../dom.js";
import { nameIn } from "./document.js";
import { card, inline, prose, table } from "./prose.js";

/** @typedef {import("./document.js").Schema} Schema */

/**
 * Return the id of a schema's card.
 * @param {string} name
 */
export function idOf(name) {
  return `schema-${name}`;
}

/**
 * Return what values a schema allows.
 * @param {Schema} schema
 * @returns {(Node | string)[]}
 */
export function typeOf(schema) {
  if (schema.$ref) {
    const name = nameIn(schema.$ref);
    return [h("a", { href: `#${idOf(name)}` }, name)];
  }
  if (schema.const !== undefined) return [h("code", {}, JSON.stringify(schema.const))];
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices && !schema.type) return joined(choices.map(typeOf));
  if (schema.enum) {
    return joined(schema.enum.map((each) => [h("code", {}, JSON.stringify(each))]));
  }
  const types = [schema.type ?? "any value"].flat();
  return joined(types.map((type) => plain(type, schema)));
}

/**
 * @param {string} type
 * @param {Schema} schema
 * @returns {(Node | string)[]}
 */
function plain(type, schema) {
  if (type === "array") return ["array of ", ...typeOf(schema.items ?? {})];
  const others = schema.additionalProperties;
  if (type === "object" && typeof others === "object" && !schema.properties) {
    return ["object of ", ...typeOf(others)];
  }
  return [type === "string" && schema.format ? schema.format : type];
}

/**
 * @param {(Node | string)[][]} phrases
 * @returns {(Node | string)[]}
 */
function joined(phrases) {
  return phrases.flatMap((each, at) => (at ? [" or ", ...each] : each));
}

/**
 * Return the bounds of a schema as a sentence; empty if it has none.
 * @param {Schema} schema
 * @returns {(Node | string)[]}
 */
export function bounds(schema) {
  /** @type {string[]} */
  const parts = [];
  if (schema.minimum !== undefined) parts.push(`at least ${schema.minimum}`);
  if (schema.maximum !== undefined) parts.push(`at most ${schema.maximum}`);
  if (schema.maxLength !== undefined) parts.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) parts.push(`at most ${schema.maxItems} items`);
  if (schema.pattern) parts.push(`matches \`${schema.pattern}\``);
  const given = schema.default;
  if (given !== undefined && given !== null) parts.push(`default \`${JSON.stringify(given)}\``);
  const text = parts.join("; ");
  return text ? inline(`${text.charAt(0).toUpperCase()}${text.slice(1)}.`) : [];
}

/**
 * Return the table of a schema's fields; null if it has none.
 * @param {string} caption
 * @param {Schema} schema
 */
export function fieldsOf(caption, schema) {
  const fields = Object.entries(schema.properties ?? {});
  if (!fields.length) return null;
  const rows = fields.map(([name, each]) => {
    const needed = schema.required?.includes(name);
    return [
      [h("code", {}, name), needed ? "" : h("span", { class: "soft" }, " optional")],
      typeOf(each),
      [...inline(each.description ?? ""), " ", ...bounds(each)],
    ];
  });
  return table(caption, ["Field", "Type", "Meaning"], rows);
}

/**
 * Return the card of a named schema.
 * @param {string} name
 * @param {Schema} schema
 */
export function schemaCard(name, schema) {
  return card(idOf(name), [h("code", {}, name)], () => [
    ...prose(schema.description),
    schema.properties ? null : h("p", {}, ...typeOf(schema)),
    fieldsOf(`Fields of ${name}`, schema),
  ]);
}
