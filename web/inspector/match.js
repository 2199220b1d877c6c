// "Would it match?": each binding's verdict on a routing key, and which part of the pattern took which part of the key.
import { $, el } from "./dom.js";
import { visible } from "./format.js";
import { route } from "./pattern.js";

export class Match {
  /** `bindings()` are the bindings, `type(exchange)` the type of one, undefined if it is not known. */
  constructor(bindings, type) {
    this.bindings = bindings;
    this.type = type;
    this.input = $("try-key");
    this.input.addEventListener("input", () => this.draw());
  }

  /** Asks about this key. */
  ask(key) {
    this.input.value = key;
    this.draw();
  }

  draw() {
    const key = this.input.value;
    const list = this.bindings();
    if (!key || !list.length) {
      return $("try-result").replaceChildren(el("p", { class: "hint" }, list.length ? "Type a key, or press “Why did it match?” in a message." : "Add a binding first."));
    }
    const verdicts = list.map((binding) => [binding, route(binding, this.type(binding.exchange), key)]);
    const n = verdicts.filter(([, { matched }]) => matched).length;
    $("try-result").replaceChildren(
      el("p", { class: "hint" }, n === 0 ? "No binding matches." : `${n} of ${list.length} ${list.length === 1 ? "binding matches" : "bindings match"}.`),
      el("ul", { class: "verdicts" }, verdicts.map(([binding, verdict]) => item(binding, verdict))));
  }
}

function item({ exchange, routing_key: pattern }, { matched, parts, rest, why, note, assumed }) {
  const word = matched === null ? "depends" : matched ? "matches" : "no match";
  return el("li", { class: matched ? "yes" : matched === null ? "perhaps" : "no" },
    el("p", {}, el("b", {}, visible(exchange)), " ", el("code", {}, visible(pattern)), " ", el("span", { class: "verdict" }, word)),
    parts?.length || rest?.length ? el("ol", { class: "parts", "aria-label": "Pattern word, and what it took of the key" }, parts.map(part), rest.length ? el("li", { class: "left" }, el("code", {}, "left over"), el("span", {}, visible(rest.join(".")))) : null) : null,
    why && el("p", { class: "hint" }, `${why[0].toUpperCase()}${visible(why.slice(1))}.`),
    note && el("p", { class: "hint" }, note),
    assumed && el("p", { class: "hint" }, "The type of this exchange is not known; read as topic."));
}

function part({ word, took }) {
  const wild = word === "*" || word === "#";
  const text = took === null ? "–" : took.length ? took.join(".") : "nothing";
  return el("li", { class: took === null ? "open" : wild ? "wild" : "" },
    el("code", {}, visible(word) || "(empty)"), el("span", {}, visible(text) || "(empty)"));
}
