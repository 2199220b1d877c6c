// The bindings as a command or a piece of code.
import { $, copy, segments } from "./dom.js";
import { kinds, snippet } from "./snippets.js";

export class CopyAs {
  #kind = kinds[0].value;

  /** `state()` answers { base, bindings, token }. */
  constructor(state) {
    this.state = state;
    segments($("copy-kinds"), "copy-kind", kinds, this.#kind, (kind) => {
      this.#kind = kind;
      this.draw();
    });
    $("copy-snippet").addEventListener("click", (event) => copy($("snippet").textContent, event.currentTarget));
    this.draw();
  }

  draw() {
    const { base, bindings, token } = this.state();
    const { text, note } = snippet(this.#kind, base, bindings, token);
    $("snippet").textContent = text;
    $("snippet").hidden = $("copy-snippet").hidden = !text;
    $("snippet-note").textContent = note;
  }
}
