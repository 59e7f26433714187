/**
 * Load the parts of the page that the first view does not need: each on its first use, or before
 * that, when the browser has nothing else to do.
 */

/** How long to wait until a part that could not be loaded is requested again. */
const AGAIN = { firstMs: 500, longestMs: 8_000 };
/** The browser may be busy for long; then a part is loaded nevertheless. */
const IDLE_MS = 2_000;

/**
 * @template T
 * @param {() => Promise<T>} load imports modules, and makes the part
 * @returns {() => Promise<T>} the part, which is made once; while the server cannot be reached, its
 *   modules are requested again and again
 */
export function later(load) {
  /** @type {Promise<T> | null} */
  let part = null;
  return () => (part ??= persist(load));
}

/**
 * @template T
 * @param {() => Promise<T>} load
 * @returns {Promise<T>}
 */
async function persist(load) {
  for (let waitMs = AGAIN.firstMs; ; waitMs = Math.min(AGAIN.longestMs, 2 * waitMs)) {
    try {
      return await load();
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      await online(waitMs);
    }
  }
}

/** @param {unknown} error of `import`: browsers tell a failed request only by its words */
function isUnreachable(error) {
  return error instanceof TypeError && /dynamically imported module|importing a module script/i.test(error.message);
}

/** @param {number} waitMs at most, until the browser is online again */
function online(waitMs) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, waitMs);
    const act = () => {
      clearTimeout(timer);
      resolve(undefined);
    };
    addEventListener("online", act, { once: true, signal: AbortSignal.timeout(waitMs) });
  });
}

/**
 * Load parts one after another, each when the browser is idle.
 * @param {(() => Promise<unknown>)[]} parts from `later`
 */
export async function loadWhenIdle(parts) {
  for (const part of parts) {
    await idle();
    await part();
  }
}

/** @returns {Promise<unknown>} Safari has no `requestIdleCallback` */
function idle() {
  return new Promise((resolve) => {
    if ("requestIdleCallback" in globalThis) requestIdleCallback(resolve, { timeout: IDLE_MS });
    else setTimeout(resolve, IDLE_MS);
  });
}
