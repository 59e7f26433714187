/**
 * Remember chosen files in the browser until they are safe on the server, so that a reload continues
 * their upload. Their bytes are kept within a budget; of others only the names, to ask for them again.
 *
 * Each file belongs to the client who chose it, and to one tab: a lock that ends with the tab tells
 * the others whether it still uploads them. Without locks, as on pages without TLS, nothing is kept.
 */

/**
 * @typedef {object} Remembered
 * @property {string} key idempotency key of its upload
 * @property {string} clientId
 * @property {string} tab
 * @property {string} name
 * @property {number} size bytes
 * @property {number} lastModified
 * @property {string | null} [sessionId] its upload session; older pages kept none
 * @property {File | null} file
 */

const DATABASE = "photolog-uploads";
const FILES = "files";
const BUDGET_BYTES = 500_000_000;
const LOCK = "photolog-uploads-";
/** The tab of files that no tab uploads: nobody ever holds this lock. */
const NO_TAB = `${LOCK}none`;

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export class UploadStore {
  #tab = `${LOCK}${Array.from(crypto.getRandomValues(new Uint32Array(3))).join("-")}`;
  /** @type {Promise<IDBDatabase> | null} null if this browser keeps nothing */
  #opened = null;
  /** Bytes kept by this tab, by key. @type {Map<string, number>} */
  #kept = new Map();
  /** Whose ends this tab waits for, with the client that it waits for. @type {Set<string>} */
  #awaited = new Set();

  constructor() {
    if (!("locks" in navigator) || !("indexedDB" in globalThis)) return;
    // Held until the tab ends.
    navigator.locks.request(this.#tab, () => new Promise(() => {}));
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(FILES, { keyPath: "key" });
    this.#opened = answer(opening);
    this.#opened.catch(() => (this.#opened = null));
  }

  /**
   * @param {string} clientId
   * @param {{key: string, sessionId: string | null}} upload
   * @param {File} file
   * @returns {Promise<boolean>} whether its bytes survive a reload
   */
  async keep(clientId, { key, sessionId }, file) {
    const { name, size, lastModified } = file;
    const used = [...this.#kept.values()].reduce((sum, one) => sum + one, 0);
    const isWithin = used + size <= BUDGET_BYTES;
    if (isWithin) this.#kept.set(key, size);
    const record = { key, sessionId, clientId, tab: this.#tab, name, size, lastModified };
    if (isWithin && (await this.#put({ ...record, file }))) return true;
    this.#kept.delete(key);
    await this.#put({ ...record, file: null });
    return false;
  }

  /** @param {string} key */
  async drop(key) {
    this.#kept.delete(key);
    try {
      await this.#do((store) => store.delete(key));
    } catch {
      // It is offered again after a reload, and recognized as uploaded before.
    }
  }

  /**
   * Take over the client's files that no open tab uploads, and those of each other tab once it ends.
   * @param {string} clientId
   * @param {() => boolean} isWanted whether this client is still signed in
   * @param {(left: Remembered[]) => void} take
   */
  async takeOver(clientId, isWanted, take) {
    for (const { tab } of await this.#of(clientId)) {
      const awaited = `${tab} ${clientId}`;
      if (tab === this.#tab || this.#awaited.has(awaited)) continue;
      this.#awaited.add(awaited);
      // Granted at once if that tab has ended. Only one tab at a time has the lock, and takes over.
      navigator.locks.request(tab, async () => {
        this.#awaited.delete(awaited);
        if (!isWanted()) return;
        const left = (await this.#of(clientId)).filter((one) => one.tab === tab);
        for (const one of left) {
          if (one.file) this.#kept.set(one.key, one.size);
          await this.#put({ ...one, tab: this.#tab });
        }
        take(left);
      });
    }
  }

  /**
   * Leave a file to the next tab in which its client signs in.
   * @param {string} key
   */
  async release(key) {
    this.#kept.delete(key);
    try {
      /** @type {Remembered | undefined} */
      const record = await this.#do((store) => store.get(key));
      if (record) await this.#put({ ...record, tab: NO_TAB });
    } catch {
      // Taken over when this tab ends.
    }
  }

  /**
   * @param {string} clientId
   * @returns {Promise<Remembered[]>} none if they cannot be read
   */
  async #of(clientId) {
    try {
      /** @type {Remembered[]} */
      const all = (await this.#do((store) => store.getAll())) ?? [];
      return all.filter((one) => one.clientId === clientId);
    } catch {
      return [];
    }
  }

  /** @param {Remembered} record */
  async #put(record) {
    try {
      return (await this.#do((store) => store.put(record))) !== undefined;
    } catch {
      return false; // For example because the disk is full.
    }
  }

  /**
   * @template T
   * @param {(store: IDBObjectStore) => IDBRequest<T>} act
   * @returns {Promise<T | undefined>}
   */
  async #do(act) {
    const database = await this.#opened;
    if (!database) return undefined;
    return answer(act(database.transaction(FILES, "readwrite").objectStore(FILES)));
  }
}
