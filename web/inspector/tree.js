// A JSON value as a tree that opens. What is closed does not exist yet, so that neither depth nor length costs anything.
import { el } from "./dom.js";
import { count, partEnd, visible } from "./format.js";

const PAGE = 100; // members shown at a time
const LONG = 1000; // characters of a string shown at first
const OPEN = 60; // members opened by themselves

/** The tree of a node of json.js; the first levels are open while they are small. */
export function tree(node) {
  const budget = { left: OPEN };
  return el("div", { class: "tree" }, branch(null, node, budget, 0));
}

function branch(name, node, budget, depth) {
  const label = name === null ? null : [el("span", { class: typeof name === "number" ? "index" : "name" }, typeof name === "number" ? String(name) : visible(name)), el("span", { class: "colon" }, ": ")];
  if (!node.entries) return el("div", { class: "leaf" }, label, scalar(node));
  const [open, close] = node.kind === "object" ? "{}" : "[]";
  const { length } = node.entries;
  if (!length) return el("div", { class: "leaf" }, label, `${open}${close}`);

  const body = el("div", { class: "members" });
  let filled = false;
  const fill = (rest) => {
    if (filled) return;
    filled = true;
    more(body, node, 0, rest, depth);
  };
  const noun = node.kind === "object" ? (length === 1 ? "member" : "members") : (length === 1 ? "item" : "items");
  const details = el("details", { ontoggle: () => { if (details.open) fill({ left: 0 }); } },
    el("summary", {}, label, el("span", { class: "brace" }, `${open}…${close}`), el("span", { class: "quiet" }, ` ${count(length)} ${noun}`)), body);
  if (length <= budget.left && depth < 4) {
    budget.left -= length;
    fill(budget);
    details.open = true;
  }
  return details;
}

function more(body, node, from, budget, depth) {
  const to = Math.min(from + PAGE, node.entries.length);
  for (const [name, child] of node.entries.slice(from, to)) body.append(branch(name, child, budget, depth + 1));
  const left = node.entries.length - to;
  if (!left) return;
  const button = el("button", { type: "button", class: "link", onclick: () => {
    button.remove();
    more(body, node, to, { left: 0 }, depth);
  } }, `${count(Math.min(left, PAGE))} more of ${count(left)}`);
  body.append(button);
}

function scalar({ kind, value }) {
  return kind === "string" ? long(value, '"') : el("span", { class: kind }, value);
}

/** A string of which the rest is shown when it is asked for. */
export function long(value, quote = "") {
  const props = { class: quote && "string" };
  if (value.length <= LONG) return el("span", props, quote + visible(value) + quote);
  const text = el("span", props, `${quote}${visible(value.slice(0, LONG))}…`);
  let at = 0;
  const button = el("button", { type: "button", class: "link", onclick: () => {
    if (!at) text.textContent = "";
    const to = partEnd(value, at);
    text.append(el("span", { class: "part" }, `${at ? "" : quote}${visible(value.slice(at, to))}${to < value.length ? "" : quote}`));
    at = to;
    if (at < value.length) label();
    else button.remove();
  } });
  const label = () => {
    const n = partEnd(value, at) - at;
    button.textContent = n === value.length ? `all ${count(n)} characters` : `${count(n)} ${at ? "more " : ""}of ${count(value.length - at)} characters`;
  };
  label();
  return el("span", {}, text, " ", button);
}
