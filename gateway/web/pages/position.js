/** Positions in the log, `<partition>:<ms>-<seq>`. A client's events share one partition. */

/**
 * @param {string} position
 * @returns {[number, number]}
 */
function parts(position) {
  const [ms, seq] = position.slice(position.indexOf(":") + 1).split("-");
  return [Number(ms), Number(seq)];
}

/**
 * @param {string} a
 * @param {string | null} b `null` precedes every position
 */
export function isAfter(a, b) {
  if (b === null) return true;
  const [ms, seq] = parts(a);
  const [otherMs, otherSeq] = parts(b);
  return ms > otherMs || (ms === otherMs && seq > otherSeq);
}
