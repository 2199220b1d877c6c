// The form of bindings. It holds what was asked for; what the gateway made of it is shown beside.
import { $, el, icon, say } from "./dom.js";
import { visible } from "./format.js";
import { same } from "./urlstate.js";

export class Bindings extends EventTarget {
  list = [];
  types = new Map(); // of the known exchanges, by name
  #reported = []; // by the gateway
  #busy = new Set();

  /** `change(what, binding)` is called with "bind" or "unbind" before a change counts; if it throws, nothing changed. */
  constructor(bindings, change) {
    super();
    this.list = bindings;
    this.change = change;
    this.form = $("binding-form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.form.elements.exchange.addEventListener("input", () => this.#showArguments());
    $("clear-bindings").addEventListener("click", () => this.clear());
    this.draw();
  }

  /** The exchanges that are known, for completion. */
  offer(exchanges) {
    this.types = new Map(exchanges.map(({ name, type }) => [name, type]));
    $("exchanges").replaceChildren(...exchanges.map(({ name, type }) => el("option", { value: name, label: type ? `${name} (${type})` : name })));
    this.draw();
  }

  /** What the gateway says of them. */
  report(bindings) {
    this.#reported = bindings;
    this.draw();
  }

  async #submit() {
    const { exchange, routing_key: key, arguments: args } = this.form.elements;
    if (!exchange.value) return this.#fail("Name an exchange.", exchange);
    const binding = { exchange: exchange.value, routing_key: key.value };
    if (!$("arguments-field").hidden && args.value.trim()) {
      try {
        binding.arguments = JSON.parse(args.value);
      } catch {
        return this.#fail("The arguments are not JSON.", args);
      }
    }
    if (!(await this.add(binding))) return;
    exchange.value = args.value = "";
    key.value = "#";
    this.#showArguments();
    exchange.focus();
  }

  /** Takes in what stands in the form, if anything does; answers whether there is something to listen to. */
  async complete() {
    const { exchange } = this.form.elements;
    if (exchange.value || !this.list.length) await this.#submit();
    return this.list.length > 0 && !exchange.value;
  }

  /** Whether it worked. */
  async add(binding) {
    this.#fail("");
    if (this.list.some((other) => same(other, binding))) {
      this.#fail("This binding is there already.");
      return false;
    }
    this.list = [...this.list, binding];
    return this.#try("bind", binding, () => this.#without(binding));
  }

  async remove(binding) {
    this.#fail("");
    const at = this.list.indexOf(binding);
    this.#without(binding);
    return this.#try("unbind", binding, () => { // the others may have changed meanwhile
      if (!this.list.some((other) => same(other, binding))) this.list = [...this.list.slice(0, at), binding, ...this.list.slice(at)];
    });
  }

  async clear() {
    for (const binding of this.list) if (!(await this.remove(binding))) return;
    this.form.elements.exchange.focus();
  }

  async #try(what, binding, undo) {
    this.#busy.add(binding);
    this.draw();
    try {
      await this.change(what, binding);
      say(`${what === "bind" ? "Added" : "Removed"} ${binding.exchange} ${binding.routing_key}`);
      return true;
    } catch {
      undo();
      return false;
    } finally {
      this.#busy.delete(binding);
      this.draw();
      this.dispatchEvent(new Event("change"));
    }
  }

  #without(binding) {
    this.list = this.list.filter((other) => other !== binding);
  }

  #fail(text, field) {
    $("binding-error").textContent = text;
    $("binding-error").hidden = !text;
    field?.focus();
  }

  #showArguments() {
    const { exchange, arguments: args } = this.form.elements;
    $("arguments-field").hidden = this.types.get(exchange.value) !== "headers" && !args.value;
  }

  draw() {
    const focused = document.activeElement?.binding; // that of a Remove button
    $("bindings").replaceChildren(...this.list.map((binding) => this.#item(binding)));
    if (focused) [...$("bindings").querySelectorAll("button")].find((button) => button.binding === focused)?.focus();
    $("clear-bindings").hidden = this.list.length < 2;
    document.body.classList.toggle("unbound", !this.list.length);
  }

  #item(binding) {
    const { exchange, routing_key: key, arguments: args } = binding;
    const missing = this.#reported.some((other) => same(other, binding) && other.state === "missing");
    const type = this.types.get(exchange);
    return el("li", { "aria-busy": String(this.#busy.has(binding)) },
      el("span", { class: "what" },
        el("b", {}, visible(exchange)),
        el("code", {}, key === "" ? "(empty key)" : visible(key)),
        args && el("code", { class: "quiet" }, visible(JSON.stringify(args)))),
      el("span", { class: missing ? "tag warn" : "tag" }, missing ? "exchange missing" : type ?? ""),
      el("button", { type: "button", class: "plain icon", "aria-label": `Remove ${exchange} ${key}`, binding, onclick: () => this.#leave(binding) },
        icon("m5 5 10 10M15 5 5 15")));
  }

  // Whoever removes by keyboard goes on from the next one.
  async #leave(binding) {
    const at = this.list.indexOf(binding);
    await this.remove(binding);
    const buttons = $("bindings").querySelectorAll("button");
    (buttons[Math.min(at, buttons.length - 1)] ?? this.form.elements.exchange).focus();
  }
}
