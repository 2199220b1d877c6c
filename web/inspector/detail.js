// The pane of one message: payload as a tree, as text or as bytes; properties and headers.
import { $, copy, el, icon, segments } from "./dom.js";
import { clock, count, partEnd, plural, size, visible, visibleText } from "./format.js";
import { marker } from "./advice.js";
import { dump } from "./hex.js";
import { parse } from "./json.js";
import { line, propertiesText, save } from "./jsonl.js";
import { bytesOf } from "./payload.js";
import { long, tree } from "./tree.js";

const BYTES = 4096; // shown as hex at once

export class Detail {
  #form = "tree"; // what was chosen last, kept from message to message

  /** `step(by)` goes to another message, `closed()` is called when the pane is closed, `ask(key)` tries its key. */
  constructor({ step, closed, ask }) {
    this.pane = $("detail");
    Object.assign(this, { step, closed, ask });
    this.pane.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  close() {
    if (this.pane.hidden) return;
    this.pane.hidden = true;
    this.pane.replaceChildren();
    this.closed();
  }

  show(entry) {
    const focused = this.pane.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    this.pane.hidden = false;
    this.pane.scrollTop = 0;
    this.pane.replaceChildren(this.#head(entry), ...(entry.type === "message" ? this.#message(entry) : this.#marker(entry)));
    for (const name of this.pane.querySelectorAll(".heads > *")) if (name.scrollHeight > name.clientHeight) name.tabIndex = 0; // a long one scrolls, also by keyboard
    if (focused) this.pane.querySelector(`button[aria-label="${focused}"]`)?.focus(); // from message to message by one button
  }

  #head(entry) {
    const message = entry.type === "message";
    return el("header", {},
      el("div", { class: "heads" },
        el("h2", { class: "subject" }, message ? visible(entry.routing_key) || "(empty key)" : entry.type),
        el("p", { class: "quiet" }, message ? [el("b", {}, visible(entry.exchange)), " · "] : null, clock(entry.time), message ? ` · ${size(entry.size)}` : null)),
      el("div", { class: "row tight" },
        button("Newer", "m5 12 5-5 5 5", () => this.step(-1)),
        button("Older", "m5 8 5 5 5-5", () => this.step(1)),
        button("Close", "m5 5 10 10M15 5 5 15", () => this.close())));
  }

  #marker(entry) {
    return [el("p", { class: "lead" }, marker(entry.frame)), el("section", {}, el("h3", {}, "Frame"), tree(parse(JSON.stringify(entry.frame))))];
  }

  #message(entry) {
    const { entries } = parse(propertiesText(entry));
    const headers = entries.find(([name]) => name === "headers")?.[1].entries ?? [];
    return [
      this.#payload(entry),
      table("Properties", entries.filter(([name]) => name !== "headers").map(dated), "none"),
      table("Headers", headers, "none"),
      table("Delivery", [["event id", string(entry.id)], ["received at", string(new Date(entry.time).toISOString())]], ""),
      el("div", { class: "row actions" },
        el("button", { type: "button", onclick: (event) => copy(line(entry), event.currentTarget) }, "Copy as JSON"),
        el("button", { type: "button", onclick: () => this.ask(entry.routing_key) }, "Why did it match?")),
    ];
  }

  #payload(entry) {
    const json = entry.payload_encoding === "base64" ? undefined : attempt(entry.payload);
    const binary = entry.payload_encoding === "base64";
    const options = [
      { value: "tree", label: "JSON", disabled: !json },
      { value: "text", label: "Text", disabled: binary },
      { value: "hex", label: "Hex" },
    ];
    const chosen = [this.#form, "tree", "text", "hex"].find((form) => !options.find(({ value }) => value === form).disabled);
    const body = el("div", { class: "payload", dir: "ltr" });
    const draw = (form) => body.replaceChildren(...(entry.size ? forms[form](entry, json) : [el("p", { class: "hint" }, "An empty body.")]));
    const group = el("div", { class: "segments", role: "radiogroup", "aria-label": "Payload as" });
    segments(group, "payload-form", options, chosen, (form) => {
      this.#form = form;
      draw(form);
    });
    draw(chosen);
    return el("section", {},
      el("div", { class: "row spread" }, el("h3", {}, "Payload"), group),
      body,
      el("div", { class: "row" },
        el("button", { type: "button", onclick: (event) => copy(entry.payload, event.currentTarget) }, binary ? "Copy as base64" : "Copy"),
        el("button", { type: "button", onclick: () => save(new Blob([bytesOf(entry)]), `message-${entry.seq + 1}${json ? ".json" : binary ? ".bin" : ".txt"}`) }, "Save")));
  }
}

const forms = {
  tree: (entry, json) => [tree(json)],
  text: ({ payload }) => parts(payload.length, "characters", (from) => partEnd(payload, from), (from, to) => visibleText(payload.slice(from, to))),
  hex(entry) {
    const bytes = bytesOf(entry);
    return parts(bytes.length, "bytes", (from) => Math.min(from + BYTES, bytes.length), (from, to) => dump(bytes, from, to - from));
  },
};

// A long text in parts: laying out 1 MiB at once would stop the page for seconds.
function parts(length, unit, end, slice) {
  const pre = el("pre", { tabIndex: 0, "aria-label": "Payload" });
  let at = 0;
  const next = el("button", { type: "button", class: "link", onclick: () => add() });
  const add = () => {
    const to = end(at);
    pre.append(el("span", { class: "part" }, slice(at, to)));
    at = to;
    next.textContent = `${count(end(at) - at)} more of ${count(length - at)} ${unit}`;
    next.hidden = at >= length;
  };
  add();
  return [pre, next];
}

function attempt(text) {
  if (!/^[\s]*[[{"\d\-tfn]/.test(text)) return undefined;
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

const string = (value) => ({ kind: "string", value });

function dated([name, node]) {
  if (name !== "timestamp" || node.kind !== "number") return [name, node];
  const date = new Date(node.value * 1000);
  return [name, string(`${node.value} (${Number.isNaN(date.getTime()) ? "no date" : date.toISOString()})`)];
}

// Of [name, node] pairs, with the nodes of json.js.
function table(title, entries, none) {
  return el("section", {}, el("h3", {}, title), entries.length
    ? el("dl", {}, entries.map(([name, node]) => el("div", {}, el("dt", {}, visible(name)), el("dd", {}, node.entries ? tree(node) : long(node.value)))))
    : el("p", { class: "hint" }, none));
}

function button(label, path, onclick) {
  return el("button", { type: "button", class: "plain icon", "aria-label": label, title: label, onclick }, icon(path));
}

/** For the count of the list. */
export const shown = (n, all) => (n === all ? plural(all, "message") : `${count(n)} of ${plural(all, "message")}`);
