/**
 * The language of the page: the person's choice, else the browser's first one that has texts.
 *
 * Only the texts of that language are loaded, before any module that imports this one runs.
 */

/** @typedef {import("./texts/en.js").Texts} Texts */
/** @typedef {import("./texts/en.js").StaticText} StaticText */

const STORED = "photolog-language";

/** Each language under its own name, with the locale of a browser that asks for another language. */
export const LANGUAGES = {
  en: { name: "English", locale: "en-GB", load: () => import("./texts/en.js") },
  de: { name: "Deutsch", locale: "de-DE", load: () => import("./texts/de.js") },
};

/** @typedef {keyof typeof LANGUAGES} Language */

/**
 * @param {string | null} locale
 * @returns {Language | null} the language of the locale, if there are texts in it
 */
function languageOf(locale) {
  const language = (locale ?? "").split("-")[0]?.toLowerCase() ?? "";
  return language in LANGUAGES ? /** @type {Language} */ (language) : null;
}

/** @returns {string | null} the person's choice, if the browser keeps it */
function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

const wished = navigator.languages.find((locale) => languageOf(locale) !== null) ?? null;

export const language = languageOf(stored()) ?? languageOf(wished) ?? "en";

/** The locale of dates and numbers: the browser's own region if it fits the language. */
export const locale =
  navigator.languages.find((one) => languageOf(one) === language) ?? LANGUAGES[language].locale;

/** The texts of the page. @type {Texts} */
export const t = (await LANGUAGES[language].load()).texts;

/**
 * Remember the language and load the page in it.
 * @param {Language} chosen
 */
export function choose(chosen) {
  try {
    localStorage.setItem(STORED, chosen);
  } catch {
    return; // The browser keeps nothing for this page: a reload would change nothing.
  }
  location.reload();
}

/**
 * Append the text; the parts between backticks become code.
 * @param {Element} element
 * @param {string} text
 */
export function fill(element, text) {
  const parts = text.split("`").map((part, index) => {
    if (index % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
  element.replaceChildren(...parts);
}

/** Fill the elements that name their text (`data-text`) or their label (`data-label`). */
export function fillTexts() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    fill(element, t.page[/** @type {StaticText} */ (element.getAttribute("data-text"))]);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    const name = /** @type {StaticText} */ (element.getAttribute("data-label"));
    element.setAttribute("aria-label", t.page[name]);
  }
}

/** @param {HTMLSelectElement} select becomes the choice of languages */
export function offerLanguages(select) {
  for (const [code, { name }] of Object.entries(LANGUAGES)) {
    const option = new Option(name, code, false, code === language);
    option.lang = code;
    select.append(option);
  }
  select.addEventListener("change", () => choose(/** @type {Language} */ (select.value)));
}
