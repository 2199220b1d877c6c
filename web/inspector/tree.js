// A JSON value as a tree that opens. What is closed does not exist yet, so that neither depth nor length costs anything.
import { el } from "./dom.js";
import { count, visible } from "./format.js";

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
  if (kind !== "string") return el("span", { class: kind }, value);
  if (value.length <= LONG) return el("span", { class: "string" }, `"${visible(value)}"`);
  const text = el("span", { class: "string" }, `"${visible(value.slice(0, LONG))}…`);
  const button = el("button", { type: "button", class: "link", onclick: () => {
    text.textContent = `"${visible(value)}"`;
    button.remove();
  } }, `all ${count(value.length)} characters`);
  return el("span", {}, text, " ", button);
}
