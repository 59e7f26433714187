/** Events as they happen: the channels of the AsyncAPI document and their messages. */

import { h } from "../dom.js";
import { nameIn } from "./document.js";
import { card, inline, json, prose } from "./prose.js";
import { fieldsOf, typeOf } from "./schema.js";

/** @typedef {import("./document.js").AsyncApi} AsyncApi */

/**
 * Return the section of a channel.
 * @param {AsyncApi} api
 * @param {string} name
 */
export function channelSection(api, name) {
  const channel = api.channels[name];
  const exchanges = Object.entries(api.operations).filter(
    ([, each]) => nameIn(each.channel.$ref) === name,
  );
  const received = exchanges
    .filter(([, { action }]) => action === "receive")
    .flatMap(([, { messages }]) => messages.map((each) => nameIn(each.$ref)));
  /** Some messages go both ways. */
  const sent = (/** @type {string} */ message) =>
    messageCard(api, message, "send", received.includes(message) ? `${message}-from-server` : message);
  return h(
    "section",
    { id: `channel-${name}` },
    h("h3", {}, h("code", {}, channel?.address ?? ""), ` ${channel?.title}`),
    ...prose(channel?.description),
    ...exchanges.flatMap(([, exchange]) => [
      ...exchange.messages
        .map((each) => nameIn(each.$ref))
        .map((each) => (exchange.action === "send" ? sent(each) : messageCard(api, each, "receive"))),
      ...(exchange.reply?.messages ?? [])
        .map((each) => nameIn(each.$ref))
        .filter((each) => each !== "error")
        .map(sent),
    ]),
    api.components.messages.error && name === "rooms" ? sent("error") : null,
  );
}

/**
 * @param {AsyncApi} api
 * @param {string} name
 * @param {"send" | "receive"} action of the server
 * @param {string} [key] unique among the cards of messages
 */
function messageCard(api, name, action, key = name) {
  const message = api.components.messages[name];
  const head = [
    h("span", { class: `method ${action}` }, action === "send" ? "FROM SERVER" : "FROM CLIENT"),
    " ",
    h("code", { class: "path" }, name),
    " ",
    h("span", { class: "summary" }, ...inline(message?.summary ?? "")),
  ];
  return card(`message-${key}`, head, () => {
    const payload = message?.payload ?? {};
    const schema = (payload.$ref && api.components.schemas[nameIn(payload.$ref)]) || payload;
    return [
      ...prose(schema.description),
      message?.headers ? fieldsOf("Fields of the frame", message.headers) : null,
      h("p", {}, ...typeOf(payload)),
      fieldsOf("Fields of the message", schema),
      ...(message?.examples ?? []).map((each) => json("Example message", each.payload)),
    ];
  });
}
