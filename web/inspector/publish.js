// Publishing a test message: only where the gateway has exchanges of its own.
import { $, el } from "./dom.js";
import { explain } from "./advice.js";

export class Publish {
  /** `session` publishes; `suggest()` answers an exchange's name or undefined; `declared()` is called when one was made. */
  constructor(session, suggest, declared) {
    this.session = session;
    this.declared = declared;
    this.form = $("publish");
    this.answer = $("published");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.form.elements.payload.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    $("publish-tool").addEventListener("toggle", () => {
      this.form.elements.exchange.value ||= suggest() ?? "";
    });
  }

  show() {
    $("publish-tool").hidden = false;
    $("harmless").textContent = "Listening changes nothing for others. With the broker in memory you can also publish.";
  }

  async send() {
    const { exchange, routing_key: key, payload, content_type: type } = this.form.elements;
    try {
      const { routed } = await this.session.publish(exchange.value, {
        routing_key: key.value, payload: payload.value,
        properties: type.value ? { content_type: type.value } : {},
      });
      this.answer.textContent = routed ? "Published, and routed to somebody." : "Published, but no binding matched it.";
    } catch (error) {
      this.#refused(error, exchange.value);
    }
  }

  #refused(error, exchange) {
    const { title, detail } = explain(error);
    if (error.code !== "exchange_not_found") return void (this.answer.textContent = `${title}. ${detail}`);
    this.answer.replaceChildren(`${title}. `, el("button", { type: "button", class: "link", onclick: () => this.#declare(exchange) }, "Make it, as topic, and publish"));
  }

  async #declare(exchange) {
    try {
      await this.session.declare(exchange, "topic");
    } catch (error) {
      const { title, detail } = explain(error);
      return void (this.answer.textContent = `${title}. ${detail}`);
    }
    this.declared();
    return this.send();
  }
}
