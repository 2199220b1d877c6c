// The rate as a number and as a picture of the last minute.
import { $ } from "./dom.js";
import { count } from "./format.js";
import { bars, Rate } from "./rate.js";

const WIDTH = 180;
const HEIGHT = 28;

export class Chart {
  #rate = new Rate(Date.now());

  constructor() {
    this.svg = $("chart");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.draw();
    setInterval(() => this.draw(), 1000);
  }

  add(now) {
    this.#rate.add(now);
  }

  draw() {
    if (document.hidden) return;
    const history = this.#rate.history(Date.now());
    const now = history.at(-1);
    this.svg.firstElementChild.setAttribute("d", bars(history, WIDTH, HEIGHT));
    this.svg.setAttribute("aria-label", `Messages per second over the last minute: now ${now}, at most ${Math.max(...history)}`);
    $("rate-now").textContent = count(now);
  }
}
