// The client for a warren gateway, in browsers and in Node 20 or newer. It hands out messages in the order of the
// queue, each once, or a `gap` where something is missing. Options and events are described in warren.d.ts.

const DEFAULTS = {
  transport: "auto",
  credentials: "same-origin",
  heartbeat: 15_000,
  timeout: 10_000,
  retryBase: 500,
  retryCap: 30_000,
  upgradeAfter: 60_000,
  highWater: 4096,
  highWaterBytes: 8 << 20,
  parse: JSON.parse,
};
const STEADY = 5_000; // ms: a stream that lived this long was a good one
const GRACE = 5_000; // ms for an answer after a wake-up
const SEEN = 4096; // ids remembered against repeats
const LONG_URL = 4000; // proxies refuse longer ones
const LOST = new Error("connection lost"); // why a request was left unanswered

const now = () => performance.now();
const offline = () => globalThis.navigator?.onLine === false;
const noop = () => {};
const defined = (options) => Object.fromEntries(Object.entries(options ?? {}).filter((entry) => entry[1] !== undefined));
const unlessLost = (error) => { if (error !== LOST) throw error; };
const rethrow = (error) => queueMicrotask(() => { throw error; });
// The `reconnect` column of the close codes.
const isFinal = (code) => code === 1009 || (code >= 4400 && code < 4500 && ![4408, 4425, 4429].includes(code));

/** A refusal or failure; `code` is the gateway's word for it. */
export class WarrenError extends Error {
  constructor(code, { closeCode, status, retry_ms, problem, cause } = {}) {
    const words = problem && [problem.title, problem.detail].filter(Boolean).join(": ");
    super(words ? `${words} (${code})` : code + (closeCode ? ` (${closeCode})` : ""), { cause });
    Object.assign(this, { name: "WarrenError", code, closeCode, status, retry_ms, problem });
  }
}

/** The payload of a message as bytes, whatever its encoding. */
export function bytes({ payload, payload_encoding: encoding }) {
  if (encoding === "base64") return Uint8Array.from(atob(payload), (c) => c.charCodeAt(0));
  return new TextEncoder().encode(encoding === "json" ? JSON.stringify(payload) : payload);
}

async function refusal(response, hold) {
  const problem = await response.json().catch(noop);
  const { status } = response;
  const known = typeof problem?.code === "string";
  const after = problem?.retry_after_seconds ?? response.headers.get("retry-after");
  return new WarrenError(known ? problem.code : `http_${status}`, {
    // A proxy's word about a gateway that was there is not final.
    closeCode: known || !hold ? 4000 + status : undefined,
    status,
    problem: known ? problem : undefined,
    retry_ms: after > 0 ? after * 1000 : undefined,
  });
}

function gatewayBase(url, from = globalThis.location?.href) {
  const { protocol, host, pathname } = new URL(url, from);
  return protocol.replace("ws", "http") + "//" + host + pathname.replace(/\/(v1(\/.*)?)?$/, "");
}

function attempt(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}

function abortable(signal, work) {
  if (!signal) return work();
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    work().then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

// When a JWT ends, in milliseconds; undefined if the token does not say.
const expiry = (token) => attempt(() => JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).exp * 1000);

const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

function normalize(bindings) {
  const list = [bindings ?? []].flat().map(({ exchange, routing_key = "#", arguments: args }) =>
    ({ exchange, routing_key, ...(args && Object.keys(args).length && { arguments: args }) }));
  return JSON.parse(JSON.stringify(list)); // what cannot be sent throws here, rather than at every attempt
}

const key = ({ exchange, routing_key, arguments: args }) =>
  JSON.stringify([exchange, routing_key, Object.entries(args ?? {}).sort()]);
const within = (list) => (binding) => list.some((other) => key(other) === key(binding));

// Event stream parser (HTML standard, 9.2.6). Only the data matters: each frame repeats its type and id.
// A chunk may end anywhere, and a CR ends its line at once, so that no event waits for the LF.
function eventStream(onData) {
  let rest = "";
  let data = [];
  let afterCR = false;
  return (chunk) => {
    if (!chunk) return;
    const text = afterCR && chunk[0] === "\n" ? chunk.slice(1) : chunk;
    afterCR = chunk.endsWith("\r");
    const lines = (rest + text).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) onData(data.join("\n"));
        data = [];
      } else if (/^data(:|$)/.test(line)) {
        data.push(line.slice(5).replace(/^ /, ""));
      }
    }
  };
}

function known(transport) {
  if (!/^(auto|ws|sse)$/.test(transport)) throw new TypeError(`no transport ${transport}`);
  return transport;
}

// Each opens one stream for `link`, calls onData for each frame and onEnd after the last.
const transports = {
  ws(link, url, token, { WebSocket }, onData, onEnd) {
    if (!WebSocket) throw new WarrenError("no_websocket", { closeCode: 4400 });
    const socket = new WebSocket(url.replace(/^http/, "ws"), "warren.v1");
    link.send = (request) => socket.send(JSON.stringify(request));
    link.close = (dead) => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = noop;
      if (dead && socket.terminate) socket.terminate(); // ws would wait for the peer
      else socket.close();
    };
    // A browser can send no header with a handshake: the token is the first message.
    socket.onopen = () => token && link.send({ type: "auth", token });
    socket.onmessage = (event) => onData(event.data);
    // In Node 22, and where a page's policy forbids it, no close follows an error.
    socket.onclose = socket.onerror = ({ code, reason }) => onEnd({ code, reason: reason || (link.ready ? "" : "unreachable") });
  },

  async sse(link, url, token, { fetch, credentials }, onData, onEnd, hold) {
    const abort = new AbortController();
    link.close = () => abort.abort();
    const response = await fetch(url, {
      headers: { Accept: "text/event-stream", ...bearer(token) }, cache: "no-store", credentials, signal: abort.signal,
    });
    if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
      throw await refusal(response, hold);
    }
    const parse = eventStream(onData);
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    // A large frame may take longer than a heartbeat.
    for (let part; !(part = await reader.read()).done;) {
      link.alive();
      parse(decoder.decode(part.value, { stream: true }));
    }
    onEnd({});
  },

  // Only where an EventSource is injected. It hides why it was refused: the next attempt asks with fetch.
  eventsource(link, url, token, { EventSource, credentials }, onData, onEnd) {
    const source = new EventSource(url + (token ? `&access_token=${encodeURIComponent(token)}` : ""),
      { withCredentials: credentials === "include" });
    link.close = () => source.close();
    for (const type of ["ready", "message", "gap", "bindings", "paused", "resumed", "ping", "bye"]) {
      source.addEventListener(type, (event) => onData(event.data));
    }
    source.onerror = () => onEnd({ refused: source.readyState === 2 });
  },
};

/** One gateway. */
export class Warren {
  #context;
  #subscriptions = new Set();
  #token; // promise of the current one
  #current;
  #pending; // #token, until it is answered

  constructor(url = globalThis.location?.origin, options = {}) {
    const { WebSocket, fetch } = globalThis;
    const settings = { WebSocket, fetch, ...DEFAULTS, ...defined(options) };
    this.#context = {
      base: gatewayBase(url),
      settings,
      token: () => this.#ask(),
      given: 0, // tokens by auth()
      // Ask again, once for all subscriptions. False if there is neither somebody to ask nor a newer token.
      expire: (token) => {
        if (this.#current === token) this.#token = this.#pending;
        return typeof settings.token === "function" || settings.token !== token;
      },
      request: this.request.bind(this),
      closed: (subscription) => this.#subscriptions.delete(subscription),
    };
  }

  open(bindings, options = {}) {
    const subscription = new Subscription(this.#context, normalize(bindings), options);
    this.#subscriptions.add(subscription);
    return subscription;
  }

  async subscribe(bindings, options) {
    const subscription = this.open(bindings, options);
    await subscription.whenReady();
    return subscription;
  }

  async exchanges({ signal } = {}) {
    return (await this.request("GET", "/v1/exchanges", { signal })).exchanges;
  }

  async request(method, path, { body, signal } = {}, base = this.#context.base, hold, again = true) {
    const { fetch, credentials } = this.#context.settings;
    const token = await abortable(signal, () => this.#ask());
    const response = await fetch(base + path, {
      method, credentials, signal,
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }), ...bearer(token) },
      body: body && JSON.stringify(body),
    });
    if (response.ok) {
      const text = await response.text(); // some answers, as that to PUT of an exchange, have no body
      return text ? JSON.parse(text) : undefined;
    }
    if (response.status === 401 && again && this.#context.expire(token)) {
      return this.request(method, path, { body, signal }, base, hold, false);
    }
    throw await refusal(response, hold);
  }

  async auth(token) {
    const { settings } = this.#context;
    const old = settings.token;
    const take = (value) => {
      settings.token = value;
      this.#token = this.#pending = undefined;
      return ++this.#context.given;
    };
    const given = take(token);
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.renew())).catch((error) => {
      // As the gateway does, unless there is a newer one.
      if (given === this.#context.given) take(old);
      throw error;
    });
  }

  async close() {
    for (const subscription of this.#subscriptions) await subscription.close();
  }

  async #ask() {
    const { given, settings: { token } } = this.#context;
    if (expiry(this.#current) < Date.now()) this.#token = this.#pending;
    this.#token ??= this.#pending = (async () => (typeof token === "function" ? token({ previous: this.#current }) : token))();
    const asked = this.#token;
    try {
      const answer = (await asked)?.trim();
      return given === this.#context.given ? (this.#current = answer) : this.#ask(); // auth() was faster
    } catch (error) {
      if (this.#token === asked) this.#token = undefined;
      throw new WarrenError("token_unavailable", { cause: error });
    } finally {
      if (this.#pending === asked) this.#pending = undefined;
    }
  }
}

class FrameEvent extends Event {
  waits = [];
  constructor(type, detail) {
    super(type);
    this.detail = detail;
  }
  waitUntil(promise) {
    if (promise?.then) this.waits.push(promise.then(noop, rethrow));
  }
}

/** A stream of messages that outlives its connections. */
export class Subscription extends EventTarget {
  bindings; // as the gateway last said
  error; // why it is closed, if not by close()
  #context;
  #settings;
  #base; // of the gateway to go to next
  #id; // of an owned subscription
  #share;
  #position; // the last event id that came
  #started; // there was a `ready`
  #closed;
  #ends = new AbortController(); // removes the page's listeners

  #link; // the open or opening stream: { kind, ready, send(), close(), due, … }
  #candidate; // one that takes its place once it is ready
  #prefer;
  #attempts = 0; // steps of the backoff
  #misses = 0; // attempts in a row without an answer
  #denied = 0; // tokens in a row that were refused
  #retry; // timer
  #retryFrom = 0; // when the next attempt is allowed: the gateway's retry_ms
  #upgrade; // timer
  #upgradeWait;
  #heartbeat;
  #learned; // from pings
  #frozen;
  #move; // from a shared subscription to an owned one

  #queue = []; // [frame, size]
  #size = 0;
  #full; // from the high-water mark down to the low one
  #held; // deliberately without a stream
  #paused; // by pause()
  #pausedThere; // the subscription, by whomever
  #flowing; // there is a message listener
  #iterators = 0;
  #pumping;
  #waiters = []; // iterators
  #watchers = []; // whenReady
  #seen = new Set();
  #requests = new Map();
  #ref = 0;
  #changes = Promise.resolve();
  #shown = { state: "connecting", transport: null };

  constructor(context, bindings, options) {
    super();
    this.#context = context;
    this.#settings = { ...context.settings, ...defined(options) };
    known(this.#settings.transport);
    this.#base = context.base;
    this.bindings = bindings;
    this.#id = options.subscription;
    this.#position = options.after;
    this.#share = bindings.length > 0 && options.share !== false;
    this.#heartbeat = this.#settings.heartbeat;
    this.#upgradeWait = this.#settings.upgradeAfter;
    // Captured, events of the document pass the window; Node has neither.
    for (const type of ["online", "offline", "pageshow", "visibilitychange", "resume", "freeze"]) {
      globalThis.addEventListener?.(type, () => this.#page(type), { signal: this.#ends.signal, capture: true });
    }
    for (const signal of [options.signal, context.settings.signal]) {
      const abort = () => this.#finish(signal.reason, true);
      signal?.addEventListener("abort", abort, { signal: this.#ends.signal });
      if (signal?.aborted) queueMicrotask(abort);
    }
    queueMicrotask(() => this.#connect());
  }

  get state() {
    if (this.#closed) return "closed";
    if (!this.#started) return "connecting";
    if (!this.#link?.ready && !this.#held) return "recovering";
    return this.#paused || this.#pausedThere ? "paused" : "live";
  }

  get transport() {
    return this.#link?.ready ? this.#link.kind : null;
  }

  get id() {
    return this.#id ?? null;
  }

  get position() {
    return this.#position ?? null;
  }

  on(type, handler, options) {
    const listener = (event) => event.waitUntil(handler.call(this, event.detail));
    this.addEventListener(type, listener, options);
    return () => this.removeEventListener(type, listener, options);
  }

  addEventListener(type, ...rest) {
    super.addEventListener(type, ...rest);
    if (type !== "message" || this.#flowing) return;
    this.#flowing = true;
    queueMicrotask(() => this.#pump()); // after the listeners that are added in the same breath
  }

  [Symbol.asyncIterator]() {
    return this.messages();
  }

  messages(options) {
    return this.#iterate((frame) => frame.type === "message", options);
  }

  frames(options) {
    return this.#iterate(() => true, options);
  }

  #iterate(wanted, options) {
    const left = {};
    const iterator = this.#loop(wanted, left, options);
    const end = iterator.return;
    // It would wait for a next() that waits for a message.
    iterator.return = (value) => {
      left.now = true;
      this.#notify(this.#waiters);
      return end.call(iterator, value);
    };
    return iterator;
  }

  whenReady({ signal } = {}) {
    return abortable(signal, async () => {
      // A stream that brings more than is held is left again at once, until somebody reads.
      for (;;) {
        if (this.#closed) throw this.error ?? new WarrenError("closed");
        if (this.#link?.ready || (this.#started && this.#held)) return;
        await new Promise((resolve) => this.#watchers.push(resolve));
      }
    });
  }

  async bind(bindings, options) {
    return this.#change("bind", normalize(bindings), options);
  }

  async unbind(bindings, options) {
    return this.#change("unbind", normalize(bindings), options);
  }

  pause({ signal } = {}) {
    return this.#setPaused(true, signal);
  }

  resume({ signal } = {}) {
    return this.#setPaused(false, signal);
  }

  async use(transport) {
    this.#settings = { ...this.#settings, transport: known(transport) };
    this.#misses = 0;
    const [kind] = this.#kinds();
    clearTimeout(this.#upgrade); // it was for the choice before
    this.#upgrade = 0;
    if (this.#candidate?.kind !== kind) this.#dismiss();
    const link = this.#link;
    if (link?.ready) this.#scheduleUpgrade();
    if (!link || link.kind === kind) return;
    if (link.ready) return void this.#challenge(kind)?.catch(noop);
    this.#drop();
    this.#connect(kind);
  }

  async renew() {
    const link = this.#link;
    if (!link?.ready) return;
    const token = await this.#context.token();
    if (link !== this.#link) return this.renew(); // replaced meanwhile
    if (!link.send) return this.#challenge(link.kind);
    await this.#request(link, { type: "auth", token }).catch(unlessLost);
    if (link === this.#link) this.#holdToken(link, token);
  }

  async close() {
    this.#finish(undefined, true);
  }

  // ---- streams

  #kinds() {
    const { transport, WebSocket } = this.#settings;
    if (transport !== "auto") return [transport];
    return WebSocket ? ["ws", "sse"] : ["sse"];
  }

  // What worked last, and now and then the other one.
  #choose() {
    const [first, second] = this.#kinds();
    if (!second) return first;
    const preferred = this.#prefer ?? first;
    const turn = this.#started ? 3 : 2;
    return this.#misses % turn === turn - 1 ? (preferred === first ? second : first) : preferred;
  }

  async #connect(kind = this.#choose(), role = "link") {
    if (this.#closed || this.#frozen) return;
    clearTimeout(this.#retry);
    if (role === "link" && !this.#move && (this.#full || (this.#paused && kind === "sse"))) {
      this.#held = true; // whoever resumes connects
      return this.#changed();
    }
    this.#held = false;
    const { given } = this.#context;
    const link = { kind, close: noop, done: noop, overlap: 0, given };
    if (role === "link") this.#link = link;
    else this.#candidate = link;
    link.alive = (ready = link.ready) => {
      link.grace = false;
      if (ready) link.due = now() + 2.5 * this.#heartbeat;
    };
    this.#changed();
    const current = () => link === this.#link || link === this.#candidate;
    const onEnd = (end) => current() && this.#ended(link, end);
    const onData = (text) => {
      const frame = attempt(() => this.#settings.parse(text));
      if (!frame) onEnd({ reason: "not_json" });
      else if (current()) this.#receive(link, frame, text.length);
    };
    try {
      const token = await this.#context.token();
      if (!current()) return;
      link.token = token;
      link.due = now() + this.#settings.timeout;
      this.#watch(link);
      const url = await this.#address(link);
      if (!current()) return;
      const events = kind === "sse" && this.#settings.EventSource && !this.#refused ? "eventsource" : kind;
      this.#refused = false;
      await transports[events](link, url, token, this.#settings, onData, onEnd, this.#started);
    } catch (error) {
      onEnd({ code: error.closeCode, reason: error.code ?? "unreachable", retry_ms: error.retry_ms, error });
    }
  }
  #refused = false; // the injected EventSource was

  async #address(link) {
    const { kind } = link;
    const { payload, lingerSeconds, from, last } = this.#settings;
    const { bindings, share } = this.#move ?? { bindings: normalize(this.bindings), share: this.#share };
    const query = new URLSearchParams();
    if (this.#position) query.set("after", this.#position);
    else if (from) query.set("from", from);
    else if (last != null) query.set("last", last);
    link.byId = this.#id && !this.#move;
    if (!link.byId) {
      const list = JSON.stringify(bindings);
      if (list.length > LONG_URL || (kind === "sse" && !bindings.length)) {
        const body = { bindings, payload, linger_seconds: lingerSeconds };
        ({ id: this.#id } = await this.#rest("POST", "", body));
        this.#share = false;
        link.byId = true;
      } else {
        if (bindings.length) query.set("bindings", list);
        if (bindings.length && !share) query.set("share", false);
        if (!share && lingerSeconds) query.set("linger_seconds", lingerSeconds);
        if (payload) query.set("payload", payload);
      }
    }
    return `${this.#base}/v1/${link.byId ? `subscriptions/${this.#id}/` : ""}${kind}?${query}`;
  }

  #receive(link, frame, size) {
    const { type } = frame;
    this.#calm(link);
    if (link === this.#candidate && type === "ready" && !this.#takeOver(link)) return;
    link.alive(type === "ready");
    if (type === "message" || type === "gap" || type === "bindings") this.#append(link, frame, size);
    else if (type === "ready") this.#ready(link, frame, size);
    else if (type === "ping") this.#learn(link, frame);
    else if (type === "bye") this.#ended(link, frame);
    else if (type === "ok" || type === "pong" || type === "error") this.#settle(frame);
    else if (type === "paused" || type === "resumed") {
      if (frame.scope === "subscription") this.#pausedThere = type === "paused";
      this.#changed();
    }
    link.pinged = type === "ping" && frame.time;
  }

  #ready(link, frame, size) {
    link.ready = now();
    clearTimeout(this.#retry);
    if (frame.id && (!frame.resumed || !this.#position)) this.#position = frame.id;
    if (this.#move) {
      this.#share = false;
      this.#move.done();
    }
    if (frame.subscription) this.#id = frame.subscription;
    if (frame.bindings) this.bindings = frame.bindings;
    this.#denied = 0;
    this.#prefer = link.kind;
    this.#started = true;
    this.#pausedThere = false;
    this.#holdToken(link, link.token);
    this.#watch(link);
    this.#scheduleUpgrade();
    this.#push(frame, size);
    this.#changed();
    this.#notify(this.#watchers);
    this.#flow();
    if (link.given !== this.#context.given) this.renew().catch(noop); // auth() came while it was being opened
  }

  #append(link, frame, size) {
    const { type, id } = frame;
    if (id) {
      const name = type[0] + id; // a marker may have the id of the gap before it
      if (this.#seen.has(name)) return;
      this.#seen.add(name);
      if (this.#seen.size > SEEN) this.#seen.delete(this.#seen.values().next().value);
      this.#position = id;
    }
    if (type === "bindings") this.bindings = frame.bindings;
    link.progress = true;
    if (this.#candidate) this.#candidate.overlap++;
    this.#push(frame, size);
  }

  // Two pings in a row are one heartbeat apart by the gateway's clock, whatever delayed them.
  #learn(link, { time }) {
    const apart = Date.parse(time) - Date.parse(link.pinged);
    if (apart > 0) {
      this.#learned = true;
      this.#assume(link, Math.max(apart, 1000));
    }
    link.progress = true;
    this.#emit("ping", { time });
  }

  // A stream that lived without a long silence shows that the heartbeat need not be assumed longer than it was set.
  #calm(link) {
    const at = now();
    const { heartbeat } = this.#settings;
    link.slow ||= at - link.last > 2.5 * heartbeat;
    link.last = at;
    if (link.slow || this.#learned || this.#heartbeat === heartbeat) return;
    if (at - link.ready > 2.5 * this.#heartbeat) this.#assume(link, heartbeat);
  }

  #assume(link, heartbeat) {
    this.#heartbeat = heartbeat;
    link.due = now() + 2.5 * heartbeat;
    this.#watch(link);
  }

  #watch(link) {
    clearTimeout(link.timer);
    link.timer = setTimeout(() => {
      if (link !== this.#link && link !== this.#candidate) return;
      const late = now() - link.due;
      if (late < 0) return this.#watch(link);
      // The timer slept, or a heartbeat longer than assumed looks like death: ask before judging.
      const unsure = late > 2000 || (link.send && !this.#learned);
      if (link.ready && unsure && !link.grace) return this.#probe(link);
      // The heartbeat may be longer, or a frame too large for the line. What was busy before says nothing of that.
      if (link.ready && !link.progress) this.#heartbeat = Math.min(this.#heartbeat * 2, 300_000);
      this.#ended(link, { reason: "timeout", dead: true });
    }, Math.max(link.due - now(), 0));
  }

  #probe(link) {
    if (link.grace) return;
    const overdue = link.due <= now();
    link.grace = true;
    link.send?.({ type: "ping" });
    const due = now() + GRACE + (link.send || overdue ? 0 : this.#heartbeat);
    link.due = overdue ? due : Math.min(link.due, due);
    this.#watch(link);
  }

  #page(type) {
    if (type === "freeze") { // or be cut as a slow reader
      this.#frozen = true;
      this.#drop();
    } else if (globalThis.document?.visibilityState !== "hidden" || this.#frozen) {
      const frozen = this.#frozen;
      this.#frozen = false;
      if (this.#link?.ready) this.#probe(this.#link);
      else if (this.#held) this.#flow(); // who read on while the page was frozen
      else if (!this.#link && (frozen || !offline())) this.#schedule(Math.random() * this.#settings.retryBase);
    }
  }

  // A second stream that takes over when it is ready; what both deliver is dropped by id.
  #challenge(kind) {
    if (!this.#link?.ready || this.#move || this.#candidate?.kind === kind) return;
    this.#dismiss();
    this.#connect(kind, "candidate");
    return new Promise((resolve, reject) => {
      this.#candidate.done = (error) => (error ? reject(error) : resolve());
    });
  }

  #dismiss() {
    this.#candidate?.done();
    this.#release(this.#candidate);
    this.#candidate = null;
  }

  #takeOver(link) {
    const old = this.#link;
    this.#candidate = null;
    this.#link = link;
    link.done();
    this.#release(old);
    this.#forget();
    if (link.overlap < SEEN) return true;
    this.#release(link); // more repeats than are remembered: come again without overlap
    this.#link = null;
    this.#connect(link.kind);
    return false;
  }

  #scheduleUpgrade() {
    const [first] = this.#kinds();
    const { upgradeAfter } = this.#settings;
    if (this.#prefer === first) {
      clearTimeout(this.#upgrade);
      this.#upgrade = 0;
      this.#upgradeWait = upgradeAfter;
    } else this.#upgrade ||= setTimeout(() => {
      this.#upgrade = 0;
      this.#upgradeWait = Math.min(this.#upgradeWait * 2, 32 * upgradeAfter);
      this.#scheduleUpgrade();
      this.#challenge(first)?.catch(noop);
    }, this.#upgradeWait * (0.75 + Math.random() / 2));
  }

  // A token that can be asked for again is renewed before it ends; until then also when there was none to be had.
  #holdToken(link, token, failed) {
    link.token = token;
    clearTimeout(link.renewal);
    const left = expiry(token) - Date.now();
    const wait = failed ? left / 5 : left - Math.min(left / 5, 30_000);
    if (left > 0) link.renewal = setTimeout(() => {
      if (this.#context.expire(token)) this.renew().catch((error) => { // a refused one says why at the old one's end
        if (error.code === "token_unavailable" && link === this.#link) this.#holdToken(link, token, true);
      });
    }, Math.min(Math.max(wait, 1000), 2 ** 31 - 1));
  }

  #release(link, dead) {
    if (!link) return;
    clearTimeout(link.timer);
    clearTimeout(link.renewal);
    link.close(dead);
  }

  #drop(detail) {
    this.#release(this.#link);
    this.#link = null;
    this.#dismiss();
    clearTimeout(this.#retry);
    this.#forget();
    this.#changed(detail);
  }

  #forget() {
    for (const { reject } of this.#requests.values()) reject(LOST);
    this.#requests.clear();
  }

  #ended(link, end) {
    this.#release(link, end.dead);
    const { code, reason } = end;
    const error = end.error instanceof WarrenError ? end.error : new WarrenError(reason || `closed_${code}`, { closeCode: code });
    if (link === this.#candidate) {
      this.#candidate = null;
      return link.done(isFinal(code) && error);
    }
    this.#link = null;
    this.#forget();
    this.#refused = end.refused;
    if (link.ready && now() - link.ready > STEADY) this.#attempts = this.#misses = 0;
    else if (link.progress) {
      this.#attempts = Math.min(this.#attempts, 2);
      this.#misses = 0;
    } else if (end.type !== "bye") this.#misses++;
    this.#base = this.#context.base;

    const gone = code === 4410 || (code === 4404 && link.byId && reason !== "exchange_not_found");
    const renewed = code === 4401 && this.#denied++ < 1 && this.#context.expire(link.token);
    if (gone && this.#started) this.#id = undefined; // a new one at the old position: the gateway sends the gap
    else if (this.#move && code >= 4400 && !renewed) this.#move.fail(error); // and back to the shared one
    else if (!renewed && !(end.reconnect ?? !isFinal(code))) return this.#finish(error);
    if (end.url) this.#base = attempt(() => gatewayBase(end.url, this.#base)) ?? this.#base;
    const { retryBase, retryCap } = this.#settings;
    const step = offline() ? retryCap : Math.min(retryCap, retryBase * 2 ** this.#attempts++);
    const asked = isFinal(code) ? 0 : Math.min(end.retry_ms ?? 0, 300_000); // what was refused is not asked again
    this.#retryFrom = now() + asked;
    this.#schedule(asked + Math.random() * step, end);
  }

  #schedule(wait, end = {}) {
    clearTimeout(this.#retry);
    wait = Math.max(wait, this.#retryFrom - now());
    this.#retry = setTimeout(() => this.#connect(), wait);
    this.#changed({ code: end.code, reason: end.reason, error: end.error, retry_ms: Math.round(wait) });
  }

  #finish(error, discard) {
    if (this.#closed) return;
    this.#closed = true;
    this.#held = false; // nobody comes back
    this.error = error;
    this.#drop({ error, code: error?.closeCode, reason: error?.code });
    clearTimeout(this.#upgrade);
    this.#ends.abort();
    this.#move?.fail(error ?? new WarrenError("closed"));
    if (discard) this.#queue = [];
    this.#notify(this.#watchers);
    this.#notify(this.#waiters);
    this.#context.closed(this);
    if (error && !discard) this.#emit("error", error);
    this.#pump();
  }

  // ---- the consumer's side

  // Returns what the next frame has to wait for, if anything.
  #emit(type, detail) {
    const event = new FrameEvent(type, detail);
    this.dispatchEvent(event);
    return event.waits.length ? Promise.all(event.waits) : undefined;
  }

  #changed(detail) {
    const { state, transport } = this;
    const { state: previous, transport: before } = this.#shown;
    if (state === previous && transport === before && !detail) return;
    this.#shown = { state, transport };
    this.#emit("state", { ...detail, state, previous, transport });
  }

  #notify(list) {
    for (const resolve of list.splice(0)) resolve();
  }

  #push(frame, size) {
    this.#queue.push([frame, size]);
    this.#size += size;
    this.#pump();
    this.#notify(this.#waiters);
    if (this.#fill >= 1 && !this.#full) {
      this.#full = true;
      this.#flow();
    } else if (this.#fill >= 4 && this.#link) { // the gateway did not pause: let its log hold the rest
      this.#held = true;
      this.#drop();
    }
  }

  get #fill() {
    const { highWater, highWaterBytes } = this.#settings;
    return Math.max(this.#queue.length / highWater, this.#size / highWaterBytes);
  }

  #take() {
    const [frame, size] = this.#queue.shift();
    this.#size -= size;
    if (this.#full && !(this.#fill > 0.25)) { // NaN with a mark of 0
      this.#full = false;
      queueMicrotask(() => this.#flow());
    }
    return frame;
  }

  async #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#flowing && !this.#iterators && this.#queue.length && (!this.#paused || this.#closed)) {
      const frame = this.#take();
      const busy = this.#emit(frame.type, frame);
      if (busy) await busy;
    }
    this.#pumping = false;
  }

  async *#loop(wanted, left, { signal, preventClose } = {}) {
    const wake = () => this.#notify(this.#waiters);
    signal?.addEventListener("abort", wake);
    this.#iterators++;
    try {
      for (;;) {
        signal?.throwIfAborted();
        if (left.now) return;
        if (this.#queue.length && (!this.#paused || this.#closed)) {
          const frame = this.#take();
          await this.#emit(frame.type, frame);
          if (wanted(frame)) yield frame;
        } else if (this.#closed) {
          if (this.error) throw this.error;
          return;
        } else {
          await new Promise((resolve) => this.#waiters.push(resolve));
        }
      }
    } finally {
      signal?.removeEventListener("abort", wake);
      this.#iterators--;
      this.#pump();
      if (!preventClose && !signal?.aborted) this.close();
    }
  }

  #setPaused(paused, signal) {
    return abortable(signal, () => {
      this.#paused = paused;
      this.#changed();
      this.#pump();
      this.#notify(this.#waiters);
      return this.#flow();
    });
  }

  // What pause() and the water marks want: by a request on a WebSocket, else by leaving and coming back at the
  // position. The gateway's log holds what lies between.
  async #flow() {
    const stop = Boolean(this.#paused || this.#full);
    const link = this.#link;
    if (this.#closed) return;
    if (this.#held && !link) {
      if (!stop || (this.#paused && !this.#full && this.#choose() === "ws")) this.#connect();
    } else if (link?.ready && stop !== Boolean(link.stopped)) {
      if (link.send) {
        link.stopped = stop;
        await this.#request(link, { type: stop ? "pause" : "resume" })
          .catch(unlessLost)
          .catch((error) => link === this.#link && this.#ended(link, { reason: error.code }));
      } else {
        this.#held = true;
        this.#drop();
      }
    }
  }

  // ---- requests

  #request(link, request) {
    return new Promise((resolve, reject) => {
      const ref = String(++this.#ref);
      this.#requests.set(ref, { resolve, reject });
      link.send({ ...request, ref });
    });
  }

  #settle({ type, ref, subscription, problem = {} }) {
    const request = this.#requests.get(ref);
    this.#requests.delete(ref);
    if (type === "error") request?.reject(new WarrenError(problem.code, { status: problem.status, problem }));
    else request?.resolve(subscription);
  }

  // One change at a time, in the order of the calls; what is aborted is not waited for.
  #change(type, list, { signal } = {}) {
    const before = this.#changes;
    const change = abortable(signal, async () => {
      await before;
      return this.#apply(type, list, signal);
    });
    this.#changes = before.then(() => change).catch(noop);
    return change;
  }

  async #apply(type, list, signal) {
    const { retryBase, retryCap } = this.#settings;
    for (let step = retryBase; ; step = Math.min(step * 2, retryCap)) {
      if (!this.#held) await this.whenReady();
      signal?.throwIfAborted();
      try {
        if (!this.#id) return await this.#moveTo(type, list);
        const link = this.#link;
        const changed = link?.send
          ? await this.#request(link, { type, bindings: list })
          : await this.#restChange(type, list, signal);
        if (changed) this.bindings = changed.bindings;
        return;
      } catch (error) {
        if (error.code === "binding_not_found") { // it is gone, as was wanted, but the others are still bound
          list = list.filter((_, index) => index !== (error.problem.binding ?? 0));
          if (list.length) continue;
          return;
        }
        if (this.#closed) throw this.error ?? new WarrenError("closed");
        if (error instanceof WarrenError) throw error;
        await new Promise((resolve) => { // a cut; both ways are idempotent
          const timer = setTimeout(resolve, Math.random() * step);
          this.#watchers.push(() => resolve(clearTimeout(timer))); // a new stream, or the end
        });
      }
    }
  }

  // Given up with the stream, as requests on a WebSocket are, and when no answer comes.
  async #rest(method, path, body, signal) {
    const abort = new AbortController(); // AbortSignal.any is too new
    const lost = () => abort.abort(LOST);
    this.#requests.set(abort, { reject: lost });
    const timer = setTimeout(lost, 3 * this.#settings.timeout);
    signal?.addEventListener("abort", lost, { signal: abort.signal });
    try {
      return await this.#context.request(method, `/v1/subscriptions${path}`, { body, signal: abort.signal }, this.#base, this.#started);
    } finally {
      clearTimeout(timer);
      this.#requests.delete(abort);
      lost(); // leaves `signal`
    }
  }

  async #restChange(type, list, signal) {
    const path = `/${this.#id}/bindings`;
    if (type === "bind") return this.#rest("POST", path, { bindings: list }, signal);
    let changed;
    for (const { id } of this.bindings.filter(within(list))) {
      changed = await this.#rest("DELETE", `${path}/${id}`, undefined, signal).catch((error) => {
        if (error.code !== "binding_not_found") throw error;
        return changed;
      });
    }
    return changed;
  }

  // A shared subscription cannot be changed: go on with an owned one. It numbers messages anew, and repeats could not
  // be told: so leave first, and let the gateway's `gap` say where that was.
  #moveTo(type, list) {
    const old = normalize(this.bindings);
    const kept = old.filter((binding) => !within(list)(binding));
    if (type === "bind" ? list.every(within(old)) : kept.length === old.length) return undefined;
    const bindings = type === "bind" ? [...kept, ...list] : kept;
    return new Promise((resolve, reject) => {
      const settle = (how) => (value) => {
        this.#move = null;
        how(value);
      };
      this.#move = { bindings, done: settle(resolve), fail: settle(reject) };
      this.#drop();
      this.#connect();
    });
  }
}
