/**
 * Create elements and icons. Text always becomes a text node, so no input is parsed as markup.
 */

/**
 * @typedef {string | number | boolean | (() => void) | ((event: MouseEvent) => void)} Prop
 */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, Prop>} [props] `class`, `role`, `aria-*` and `data-*` become attributes,
 *   `on*` functions become listeners, everything else is set as a property
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (/^(class|role|for)$|-/.test(name)) element.setAttribute(name, String(value));
    else Reflect.set(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * Return the element of the page with this id.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/**
 * Move the element into the open dialog, if any: a dialog hides the rest of the page, also from
 * screen readers.
 * @param {HTMLElement} element
 */
export function bringToFront(element) {
  const host = document.querySelector("dialog[open]") ?? document.body;
  if (element.parentElement !== host) host.append(element);
}

const SVG = "http://www.w3.org/2000/svg";

/** Paths in a 24 by 24 view box. */
const ICONS = {
  close: "M6 6l12 12M18 6L6 18",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  download: "M12 4v11m-5-5l5 5 5-5M5 20h14",
  remove: "M5 7h14M10 7V4.5h4V7m-7 0l1 13h8l1-13m-6 4v5m2-5v5",
  info: "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17zm0 7v6m0-9v.1",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  check: "M5 12.5l5 5L19.5 7",
  again: "M19 12a7 7 0 1 1-2-4.9M17 3v4.2h-4.2",
  warning: "M12 4.5l9 15H3l9-15zm0 5.5v4.5m0 2.4v.1",
};

/**
 * @param {keyof typeof ICONS} name
 * @returns {SVGElement} a decoration: the element that contains it needs its own label
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
