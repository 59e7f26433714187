/** Choose the form of a sentence that fits a count, by the rules of its language. */

/**
 * @typedef {{one: string, other: string}} Forms `#` stands for the count
 */

/**
 * @param {string} locale of the sentences
 * @returns {(count: number, forms: Forms) => string}
 */
export function pluralOf(locale) {
  const rules = new Intl.PluralRules(locale);
  const numbers = new Intl.NumberFormat(locale);
  return (count, { one, other }) =>
    (rules.select(count) === "one" ? one : other).replaceAll("#", numbers.format(count));
}
