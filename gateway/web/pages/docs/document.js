/** The parts of the OpenAPI and AsyncAPI documents that the page reads. */

/**
 * @typedef {{
 *   $ref?: string, type?: string | string[], format?: string, const?: unknown, enum?: unknown[],
 *   oneOf?: Schema[], anyOf?: Schema[], items?: Schema, properties?: Record<string, Schema>,
 *   additionalProperties?: boolean | Schema, required?: string[], description?: string,
 *   title?: string, default?: unknown, minimum?: number, maximum?: number, minLength?: number,
 *   maxLength?: number, maxItems?: number, pattern?: string,
 * }} Schema
 *
 * @typedef {{schema: Schema, example?: unknown, examples?: Record<string, {$ref: string}>}} Media
 *
 * @typedef {{$ref?: string, description?: string, schema?: Schema}} Header
 *
 * @typedef {{
 *   description: string, content?: Record<string, Media>, headers?: Record<string, Header>,
 * }} Answer
 *
 * @typedef {{
 *   name: string, in: string, required?: boolean, description?: string, schema: Schema,
 *   example?: unknown,
 * }} Parameter
 *
 * @typedef {{
 *   operationId: string, tags: string[], summary: string, description: string,
 *   parameters?: Parameter[], requestBody?: {required?: boolean, content: Record<string, Media>},
 *   responses: Record<string, Answer>, security?: Record<string, string[]>[],
 * }} Operation
 *
 * @typedef {{title: string, status: number, code: string, advice: string}} Problem
 *
 * @typedef {{
 *   info: {title: string, version: string, description: string},
 *   tags: {name: string, description: string}[],
 *   paths: Record<string, Record<string, Operation>>,
 *   components: {schemas: Record<string, Schema>, examples: Record<string, {value: Problem}>},
 * }} OpenApi
 *
 * @typedef {{
 *   title: string, summary: string, payload: Schema, headers?: Schema,
 *   examples?: {payload: unknown}[],
 * }} Message
 *
 * @typedef {{
 *   action: "send" | "receive", channel: {$ref: string}, summary: string,
 *   messages: {$ref: string}[], reply?: {messages: {$ref: string}[]},
 * }} Exchange
 *
 * @typedef {{address: string, title: string, description?: string}} Channel
 *
 * @typedef {{
 *   info: {description: string},
 *   channels: Record<string, Channel>, operations: Record<string, Exchange>,
 *   components: {messages: Record<string, Message>, schemas: Record<string, Schema>},
 * }} AsyncApi
 */

/**
 * Load one of the documents.
 * @param {string} path
 * @returns {Promise<unknown>}
 */
export async function load(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}.`);
  return answer.json();
}

/**
 * Return the last part of a reference, which is the name of what it refers to.
 * @param {string} reference
 */
export function nameIn(reference) {
  return reference.slice(reference.lastIndexOf("/") + 1);
}
