/**
 * Requests that begin before the modules have arrived that need them: the first request of the same
 * address takes the response.
 */

/** Who is signed in. */
export const WHO = "/api/login/current";

/** @typedef {"taken" | "uploaded"} Order */

/** Photos that are shown before the days are known, by order. @type {Record<Order, number>} */
export const FIRST = { taken: 30, uploaded: 100 };

/** @typedef {Record<string, string | number | null>} Query null leaves a parameter out */

/** @type {Map<string, Promise<Response>>} */
const begun = new Map();
/** What was asked for already: an answer that begins later would wait for a question of much later. @type {Set<string>} */
const asked = new Set();

/**
 * @param {string} path of a GET request for JSON
 * @param {(response: Response) => Promise<void>} [next] what to do before others get the response
 */
export function begin(path, next = async () => {}) {
  if (asked.has(path)) return;
  const response = fetch(path, { headers: { Accept: "application/json" } }).then(async (answer) => {
    await next(answer.clone()).catch(() => {}); // whoever takes the response sees what is wrong
    return answer;
  });
  response.catch(() => {});
  begun.set(path, response);
}

/**
 * @param {string} path
 * @returns {Promise<Response> | undefined} the response of a request that has begun, only once
 */
export function take(path) {
  asked.add(path);
  const response = begun.get(path);
  begun.delete(path);
  return response;
}

/** @param {Query} query */
export function queryOf(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null);
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
}

/** @param {Query} query */
export function listPath(query) {
  return `/api/photos?${queryOf(query)}`;
}
