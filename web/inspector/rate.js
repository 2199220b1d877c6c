// Messages per second over the last minute.

export const SECONDS = 60;

export class Rate {
  #counts = new Array(SECONDS + 1).fill(0); // the last one is the second that is not over yet
  #second;

  constructor(now) {
    this.#second = Math.floor(now / 1000);
  }

  /** Counts n messages at a time in milliseconds. */
  add(now, n = 1) {
    this.#advance(now);
    this.#counts[SECONDS] += n;
  }

  /** The counts of the last 60 whole seconds, oldest first. */
  history(now) {
    this.#advance(now);
    return this.#counts.slice(0, SECONDS);
  }

  #advance(now) {
    const second = Math.floor(now / 1000);
    const steps = Math.min(Math.max(second - this.#second, 0), SECONDS + 1);
    for (let i = 0; i < steps; i++) {
      this.#counts.shift();
      this.#counts.push(0);
    }
    this.#second = Math.max(second, this.#second);
  }
}

/** SVG path data of bars: `width` and `height` in the units of the picture, the highest bar as high as it. */
export function bars(history, width, height, gap = 1) {
  const top = Math.max(...history, 1);
  const step = width / history.length;
  return history.map((n, i) => {
    const h = n ? Math.max((n / top) * height, 1) : 0.5; // silence is a line, and one message is seen
    return `M${round(i * step)} ${height}v${-round(h)}h${round(step - gap)}v${round(h)}z`;
  }).join("");
}

const round = (n) => Math.round(n * 100) / 100;
