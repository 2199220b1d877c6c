// What arrived, up to a cap, and views of it. Entries are numbered in the order of arrival; the oldest give way.

/** At most this many entries are kept. */
export const MAX_ENTRIES = 50_000;
/** And at most this many characters of what was published: a thousand messages of 1 MiB would be a gigabyte. */
export const MAX_CHARS = 64 * 1024 * 1024;

/** A list that grows at one end and shrinks at the other. */
class Deque {
  #items = [];
  #head = 0;

  get length() {
    return this.#items.length - this.#head;
  }

  /** The i-th from the oldest. */
  at(i) {
    return this.#items[this.#head + i];
  }

  push(item) {
    this.#items.push(item);
  }

  shift() {
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  clear() {
    this.#items = [];
    this.#head = 0;
  }
}

export class Store {
  #entries = new Deque();
  #chars = 0;
  #next = 0;
  /** How many gave way since the last clear(). */
  dropped = 0;
  /** How many of the entries are messages; the others are markers. */
  messages = 0;

  constructor({ maxEntries = MAX_ENTRIES, maxChars = MAX_CHARS } = {}) {
    this.maxEntries = maxEntries;
    this.maxChars = maxChars;
  }

  /** The number of the oldest entry that is kept, and the one that the next will have. */
  get first() {
    return this.#next - this.#entries.length;
  }

  get next() {
    return this.#next;
  }

  get length() {
    return this.#entries.length;
  }

  /** Adds an entry and gives it its `seq`. */
  add(entry) {
    entry.seq = this.#next++;
    entry.chars = weigh(entry);
    this.#entries.push(entry);
    this.#count(entry, 1);
    while (this.#entries.length > 1 && (this.#entries.length > this.maxEntries || this.#chars > this.maxChars)) {
      this.#count(this.#entries.shift(), -1);
      this.dropped++;
    }
    return entry;
  }

  #count({ type, chars }, n) {
    this.#chars += n * chars;
    if (type === "message") this.messages += n;
  }

  /** The entry of this number, undefined if it gave way. */
  get(seq) {
    return this.#entries.at(seq - this.first);
  }

  clear() {
    this.#entries.clear();
    this.#chars = this.messages = this.dropped = 0;
  }
}

// A hostile publisher need not write into the payload: a table of headers may have some 100 KiB.
function weigh({ payload = "", routing_key: key = "", properties, frame }) {
  return payload.length + key.length + JSON.stringify(properties ?? frame ?? {}).length;
}

/** The entries that a test accepts, newest first; markers (gap, ready, …) always. It can be held still. */
export class View {
  #seqs = new Deque();
  #held = null; // how many were there when it was held, as the number of the first one that is not shown

  constructor(store) {
    this.store = store;
    this.accepts = null;
  }

  /** How many there are to show. */
  get length() {
    this.#trim();
    return this.#seqs.length - this.pending;
  }

  /** How many messages pass, with those that came while it was held. Markers always pass. */
  get messages() {
    this.#trim();
    return this.#seqs.length - (this.store.length - this.store.messages);
  }

  /** How many came while it was held. */
  get pending() {
    if (this.#held === null) return 0;
    let [low, high] = [0, this.#seqs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#seqs.at(middle) < this.#held) low = middle + 1;
      else high = middle;
    }
    return this.#seqs.length - low;
  }

  get held() {
    return this.#held !== null;
  }

  /** Takes a new entry of the store. */
  add(entry) {
    this.#trim(); // nobody may look for hours: a hidden tab draws nothing
    if (this.#takes(entry)) this.#seqs.push(entry.seq);
  }

  /** The i-th from the newest that is shown. */
  at(i) {
    return this.store.get(this.#seqs.at(this.length - 1 - i));
  }

  /** Where an entry stands, -1 if it is not shown. */
  indexOf(seq) {
    let [low, high] = [0, this.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.#seqs.at(middle);
      if (found === seq) return this.length - 1 - middle;
      if (found < seq) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** Shows no newer entries until it is released. */
  hold(still) {
    if (still !== this.held) this.#held = still ? this.store.next : null;
  }

  /** Only what `accepts` answers true for; null for everything. */
  filter(accepts) {
    this.accepts = accepts;
    this.#seqs.clear();
    for (let seq = this.store.first; seq < this.store.next; seq++) this.add(this.store.get(seq));
  }

  clear() {
    this.#seqs.clear();
    this.#held = null;
  }

  /** Oldest first, with what came while it was held. */
  * [Symbol.iterator]() {
    this.#trim();
    for (let i = 0; i < this.#seqs.length; i++) yield this.store.get(this.#seqs.at(i));
  }

  #takes(entry) {
    return !this.accepts || entry.type !== "message" || this.accepts(entry);
  }

  #trim() {
    while (this.#seqs.length && this.#seqs.at(0) < this.store.first) this.#seqs.shift();
  }
}
