/** Random names. */

/** @returns {string} 32 hexadecimal digits */
export function randomKey() {
  // randomUUID is missing without TLS, except on localhost.
  const numbers = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(numbers, (number) => number.toString(16).padStart(2, "0")).join("");
}
