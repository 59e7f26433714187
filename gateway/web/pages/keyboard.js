/** Keyboard navigation in the grid: one card is in the tab order; arrow keys, Home and End move on. */

const CARD = ".card[data-photo-id]";

/** @param {Element} element */
function cardAt(element) {
  return /** @type {HTMLElement | null} */ (element.closest(CARD));
}

/**
 * @param {HTMLElement} card
 * @param {1 | -1} step
 * @returns {HTMLElement | null} the next photo's card in page order
 */
export function neighbour(card, step) {
  /** @type {Element | null} */
  let at = card;
  do {
    /** @type {Element | null} */
    const beside = step === 1 ? at.nextElementSibling : at.previousElementSibling;
    at = beside ?? edgeOfNextDay(at, step);
  } while (at && !(at instanceof HTMLElement && at.dataset.photoId));
  return at;
}

/**
 * @param {Element} card
 * @param {1 | -1} step
 */
function edgeOfNextDay(card, step) {
  const day = card.closest(".day");
  const other = step === 1 ? day?.nextElementSibling : day?.previousElementSibling;
  const list = other?.querySelector(".cards");
  return (step === 1 ? list?.firstElementChild : list?.lastElementChild) ?? null;
}

/**
 * Return the card above or below: the one in the next row that is closest to the same column.
 * @param {HTMLElement} card
 * @param {1 | -1} step
 */
function inNextRow(card, step) {
  const left = card.offsetLeft;
  const distance = (/** @type {HTMLElement} */ other) => Math.abs(other.offsetLeft - left);
  let at = neighbour(card, step);
  while (at && at.offsetTop === card.offsetTop) at = neighbour(at, step);
  let best = at;
  for (let one = at; one && at && one.offsetTop === at.offsetTop; one = neighbour(one, step)) {
    if (best && distance(one) < distance(best)) best = one;
  }
  return best;
}

/** @param {HTMLElement} days */
function first(days) {
  return /** @type {HTMLElement | null} */ (days.querySelector(CARD));
}

/** @param {HTMLElement} days */
function last(days) {
  return /** @type {HTMLElement | undefined} */ ([...days.querySelectorAll(CARD)].at(-1)) ?? null;
}

/** @param {HTMLElement} card */
export function linkOf(card) {
  return /** @type {HTMLAnchorElement} */ (card.querySelector(".frame"));
}

/** @param {HTMLElement} days */
export function moveByKeys(days) {
  /** @type {Record<string, (card: HTMLElement) => HTMLElement | null>} */
  const moves = {
    ArrowRight: (card) => neighbour(card, 1),
    ArrowLeft: (card) => neighbour(card, -1),
    ArrowDown: (card) => inNextRow(card, 1),
    ArrowUp: (card) => inNextRow(card, -1),
    Home: () => first(days),
    End: () => last(days),
  };
  /** @type {HTMLElement | null} */
  let current = null;
  let isChosen = false;
  const makeCurrent = (/** @type {HTMLElement} */ link) => {
    if (current) current.tabIndex = -1;
    current = link;
    link.tabIndex = 0;
  };

  days.addEventListener("keydown", (event) => {
    const link = /** @type {Element} */ (event.target);
    const card = cardAt(link);
    if (!card || !link.matches(".frame") || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = moves[event.key]?.(card);
    if (!to) return;
    event.preventDefault();
    linkOf(to).focus();
  });
  days.addEventListener("focusin", (event) => {
    const link = /** @type {HTMLElement} */ (event.target);
    if (!link.matches(".frame")) return;
    isChosen = true;
    makeCurrent(link);
  });
  // Cards come and go: one is always in the tab order, the first unless another was focused.
  new MutationObserver(() => {
    isChosen = isChosen && current !== null && current.isConnected;
    const card = first(days);
    if (card && !isChosen) makeCurrent(linkOf(card));
  }).observe(days, { childList: true, subtree: true, attributeFilter: ["data-photo-id"] });
}
