// One subscription at a time, from Start to Stop. It is one of the page's own, so that bindings can change while it
// listens, and is made by REST, so that a refusal comes with all the server's words.
import { Warren } from "../warren.js";
import { readFrame } from "./digits.js";

/** Where the gateway is: this file is at /inspector/ below it. */
export const base = new URL("..", import.meta.url).href.replace(/\/$/, "");

const EVENTS = ["message", "gap", "bindings", "ready"];
const LINGER = 60; // seconds, for a laptop that is closed for a moment

export class Session extends EventTarget {
  #token;
  #warren;
  #sub;
  #starting; // AbortController of a start under way
  #begun; // promise of the last start's end
  #paused; // by pause()
  error; // why the last one closed, if not by stop()

  constructor(token) {
    super();
    this.#token = token || undefined;
    this.#warren = this.#gateway();
  }

  #gateway() {
    return new Warren(base, { token: this.#token, parse: readFrame });
  }

  get state() {
    if (this.#starting) return "connecting";
    return this.#sub?.state ?? "closed";
  }

  get transport() {
    return this.#sub?.transport ?? null;
  }

  get token() {
    return this.#token;
  }

  /** Begins to listen; events: `frame` (detail: the frame, with `propertiesText` where the values lost digits), `state` (detail: reason, retry_ms, error and what was asked for). */
  start(bindings) {
    return (this.#begun = this.#start(bindings));
  }

  async #start(bindings) {
    await this.stop();
    this.error = undefined;
    const starting = this.#starting = new AbortController();
    this.#tell("state", {});
    try {
      const { id } = await this.#warren.request("POST", "/v1/subscriptions", {
        body: { bindings, linger_seconds: LINGER, payload: "raw" }, signal: starting.signal,
      });
      if (starting.signal.aborted) return this.#discard(id);
      this.#starting = undefined;
      this.#follow(this.#warren.open(bindings, { subscription: id, share: false, payload: "raw", lingerSeconds: LINGER }));
    } catch (error) {
      if (starting.signal.aborted) return;
      this.#starting = undefined;
      this.error = error;
      this.#tell("state", { error, asked: bindings });
    }
  }

  #follow(sub) {
    this.#sub = sub;
    this.#paused = false;
    for (const type of EVENTS) sub.on(type, (frame) => { if (sub === this.#sub) this.#tell("frame", frame); });
    sub.on("state", (detail) => {
      if (sub !== this.#sub) return;
      if (detail.state === "closed") this.error = sub.error;
      this.#tell("state", detail);
    });
    this.#tell("state", {});
  }

  async stop() {
    this.#starting?.abort();
    this.#starting = undefined;
    const sub = this.#sub;
    if (!sub || sub.state === "closed") return this.#tell("state", {});
    const { id } = sub;
    await sub.close();
    if (id) this.#discard(id);
  }

  // Its queue need not wait for the linger. Whether it works out does not matter: it then ends by itself.
  #discard(id) {
    const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    fetch(`${base}/v1/subscriptions/${id}`, { method: "DELETE", headers, keepalive: true }).catch(() => {}); // also when the page is left
  }

  /** By whom it is paused: "page", "other" by a request to the gateway, undefined if by nobody. A pause of the page outlives its connections. */
  get paused() {
    if (this.open && this.#paused) return "page";
    return this.state === "paused" ? "other" : undefined;
  }

  pause() {
    this.#paused = true;
    return this.#sub.pause();
  }

  /** Lifts one pause, the page's own first. */
  async resume() {
    if (!this.#paused) return this.#warren.request("POST", `/v1/subscriptions/${this.#sub.id}/resume`);
    this.#paused = false;
    return this.#sub.resume();
  }

  /** Whether there is a subscription, whose bindings can be changed in place. */
  get open() {
    return Boolean(this.#sub) && this.#sub.state !== "closed";
  }

  /** The same once a start that is under way is over: what it has asked for is out of the hands of the page. */
  async settled() {
    await this.#begun;
    return this.open;
  }

  bind(binding) {
    return this.#sub.bind(binding);
  }

  unbind(binding) {
    return this.#sub.unbind(binding);
  }

  /** What the gateway says of the bindings, [] when there is no subscription. */
  get bindings() {
    return this.open ? this.#sub.bindings : [];
  }

  exchanges() {
    return this.#warren.exchanges();
  }

  /** Whether there is something to publish with: only a gateway with exchanges of its own has these routes. */
  async canPublish() {
    const response = await fetch(`${base}/v1/exchanges/any/publish`, { method: "OPTIONS" });
    return response.ok && (response.headers.get("allow") ?? "").includes("POST");
  }

  publish(exchange, message) {
    return this.#warren.request("POST", `/v1/exchanges/${encodeURIComponent(exchange)}/publish`, { body: message });
  }

  /** Declares an exchange; one that is there with this type is fine. */
  async declare(exchange, type) {
    try {
      await this.#warren.request("PUT", `/v1/exchanges/${encodeURIComponent(exchange)}`, { body: { type } });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error; // 201 comes without a body
    }
  }

  /** This token from now on, undefined for none. What listens goes on with it; if it is refused, with the one before. */
  async authorize(token) {
    const old = this.#token;
    this.#token = token || undefined;
    if (this.open && token) {
      return this.#warren.auth(token).catch((error) => {
        this.#token = old;
        throw error;
      });
    }
    await this.stop();
    this.#warren = this.#gateway();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
