// The list of messages: only the rows that are seen exist, however many there are.
import { el } from "./dom.js";
import { clock, size, visible } from "./format.js";
import { marker } from "./advice.js";

const ROW = 32; // px, as in the style sheet
const MARGIN = 6; // rows above and below the seen ones
const PREVIEW = 160; // characters
const PAUSE = 60; // ms between two updates: more than anybody can read, and the frames between are free

export class List {
  #rows = new Map(); // by seq
  #spare = [];
  #due = false;
  #last = 0;

  /** `pick(entry)` is called when a message is chosen, `moved()` when the list was scrolled. */
  constructor(container, view, { pick, moved, drawn }) {
    this.container = container;
    this.view = view;
    this.pick = pick;
    this.moved = moved;
    this.drawn = drawn;
    this.selected = null; // seq
    this.space = el("div", { class: "space", role: "presentation" });
    container.append(this.space);
    container.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    container.addEventListener("keydown", (event) => this.#key(event));
    // A mouse chooses at the press: until the release the row may have moved on. A finger may be about to scroll.
    container.addEventListener("pointerdown", (event) => event.pointerType === "mouse" && this.#pointer(event));
    container.addEventListener("click", (event) => event.pointerType !== "mouse" && this.#pointer(event));
    new ResizeObserver(() => this.draw()).observe(container);
  }

  /** Draws soon; many calls are one. */
  update() {
    if (this.#due) return;
    this.#due = true;
    const frame = (now) => {
      if (now - this.#last < PAUSE) return requestAnimationFrame(frame);
      this.#due = false;
      this.#last = now;
      this.draw();
    };
    requestAnimationFrame(frame);
  }

  draw() {
    const { container, view, space } = this;
    const count = view.length;
    const height = container.clientHeight;
    space.style.height = `${count * ROW}px`;
    const top = Math.min(container.scrollTop, Math.max(0, count * ROW - height));
    const from = Math.max(0, Math.floor(top / ROW) - MARGIN);
    const to = Math.min(count, Math.ceil((top + height) / ROW) + MARGIN);

    const wanted = new Map();
    for (let i = from; i < to; i++) {
      const entry = view.at(i);
      wanted.set(entry.seq, [entry, i]);
    }
    for (const [seq, row] of this.#rows) {
      if (wanted.has(seq)) continue;
      this.#rows.delete(seq);
      this.#spare.push(row);
    }
    for (const [seq, [entry, i]] of wanted) {
      let row = this.#rows.get(seq);
      if (!row) {
        row = this.#spare.pop() ?? this.#make();
        this.#fill(row, entry);
        this.#rows.set(seq, row);
      }
      if (row.index !== i) row.style.transform = `translateY(${(row.index = i) * ROW}px)`;
      this.#mark(row, seq, i, count);
    }
    for (const row of this.#spare.splice(0)) row.remove(); // few, and only when the window shrinks or scrolls to its end
    const active = this.#rows.get(this.selected);
    if (active) container.setAttribute("aria-activedescendant", active.id);
    else container.removeAttribute("aria-activedescendant");
    this.drawn();
  }

  #make() {
    const cells = ["time", "exchange", "key", "preview", "size"].map((name) => el("span", { class: name }));
    cells[0].append("", el("small"));
    const row = el("div", { class: "entry", role: "option" }, cells);
    row.cells = cells;
    this.space.append(row);
    return row;
  }

  #fill(row, entry) {
    const [time, exchange, key, preview, bytes] = row.cells;
    row.id = `entry-${entry.seq}`;
    row.seq = entry.seq;
    row.index = -1;
    const at = clock(entry.time);
    time.firstChild.data = at.slice(0, 8);
    time.lastChild.textContent = at.slice(8); // the milliseconds, where there is room
    row.dataset.type = entry.type;
    const message = entry.type === "message";
    exchange.textContent = message ? visible(entry.exchange) : entry.type;
    key.textContent = message ? visible(entry.routing_key) : marker(entry.frame);
    preview.textContent = message ? previewOf(entry) : "";
    bytes.textContent = message ? size(entry.size) : "";
  }

  #mark(row, seq, i, count) {
    const selected = String(seq === this.selected);
    if (row.getAttribute("aria-selected") !== selected) row.setAttribute("aria-selected", selected);
    // Both change with every message: said where a screen reader looks, and left alone elsewhere.
    if (seq === this.selected) {
      row.setAttribute("aria-posinset", i + 1);
      row.setAttribute("aria-setsize", count);
    }
  }

  #scrolled() {
    const away = this.container.scrollTop > ROW / 2;
    if (away !== this.view.held) {
      this.view.hold(away);
      this.moved();
    }
    this.draw();
  }

  /** Back to the newest. */
  toNewest() {
    this.container.scrollTop = 0;
    this.view.hold(false);
    this.moved();
    this.draw();
  }

  #pointer(event) {
    const row = event.target.closest(".entry");
    if (row && event.button === 0) this.select(row.seq);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Home") this.toNewest();
    const page = Math.max(1, Math.floor(this.container.clientHeight / ROW) - 1);
    const at = this.selected === null ? -1 : this.view.indexOf(this.selected);
    const last = this.view.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.go(Math.min(Math.max(to, 0), last));
  }

  /** Selects the i-th from the newest and brings it into sight. */
  go(i) {
    const { container, view } = this;
    const entry = view.at(i);
    if (!entry) return;
    const y = i * ROW;
    if (y < container.scrollTop) container.scrollTop = y;
    else if (y + ROW > container.scrollTop + container.clientHeight) container.scrollTop = y + ROW - container.clientHeight;
    this.select(entry.seq);
  }

  /** One on (1, older) or back (-1, newer) from the selected one. */
  step(by) {
    const at = this.view.indexOf(this.selected);
    if (at >= 0) this.go(Math.min(Math.max(at + by, 0), this.view.length - 1));
  }

  /** Null for none. What gave way since it was drawn cannot be chosen any more. */
  select(seq) {
    const entry = seq === null ? null : this.view.store.get(seq);
    if (entry !== undefined) this.selected = seq;
    this.draw();
    if (entry) this.pick(entry);
  }
}

function previewOf(entry) {
  if (entry.payload_encoding === "base64") return "binary";
  const text = entry.payload;
  return visible(text.length > PREVIEW ? `${text.slice(0, PREVIEW)}…` : text);
}
