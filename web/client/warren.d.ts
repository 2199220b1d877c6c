/** The client for a warren gateway. */

/** What to listen to. */
export interface Binding {
  exchange: string;
  /** A topic pattern, or the exact key on a direct exchange. Default `#`. */
  routing_key?: string;
  /** As in AMQP; for headers exchanges. */
  arguments?: Record<string, unknown>;
}

/** A binding as the gateway reports it. */
export interface BoundBinding extends Binding {
  /** Derived from the content: the same binding has the same id everywhere. */
  id: string;
  routing_key: string;
  state: "bound" | "missing";
}

export interface MessageProperties {
  content_type?: string;
  content_encoding?: string;
  headers?: Record<string, unknown>;
  delivery_mode?: number;
  priority?: number;
  correlation_id?: string;
  reply_to?: string;
  expiration?: string;
  message_id?: string;
  /** Seconds since 1970. */
  timestamp?: number;
  type?: string;
  user_id?: string;
  app_id?: string;
  cluster_id?: string;
}

/** One delivery. */
export interface Message<T = any> {
  type: "message";
  /** The event id: a position to go on after. Opaque. */
  id: string;
  exchange: string;
  routing_key: string;
  properties: MessageProperties;
  /** With `json` the value itself, with `string` and `base64` a string. */
  payload: T;
  payload_encoding: "json" | "string" | "base64";
}

/** Events are missing right here. */
export interface Gap {
  type: "gap";
  id: string;
  /** How many messages; null where nobody can know. */
  missed: number | null;
  reason:
    | "evicted" | "oversized" | "queue_overflow" | "broker_reconnected" | "queue_lost"
    | "binding_lost" | "subscription_lost" | "unknown_position" | (string & {});
  /** With `queue_overflow`: the messages are missing after this event. */
  since?: string;
  /** With `oversized`: what was dropped. */
  exchange?: string;
  routing_key?: string;
  size?: number;
}

/** The bindings changed. */
export interface Bindings {
  type: "bindings";
  id: string;
  bindings: BoundBinding[];
}

/** A stream was opened, for the first time or again. */
export interface Ready {
  type: "ready";
  id?: string;
  stream: string;
  /** The id of an owned subscription. */
  subscription?: string;
  bindings: BoundBinding[];
  /** It goes on from a known position. */
  resumed: boolean;
}

/** What has a place in the order of the stream. */
export type Frame<T = any> = Ready | Message<T> | Gap | Bindings;

export type State = "connecting" | "live" | "recovering" | "paused" | "closed";
export type Transport = "ws" | "sse";

export interface StateChange {
  state: State;
  previous: State;
  /** Of the open stream; null if there is none. */
  transport: Transport | null;
  /** Why the last stream ended: the gateway's word (`shutting_down`, `rate_limited`, …) or the client's (`timeout`, `unreachable`). */
  reason?: string;
  /** The close code of the contract. */
  code?: number;
  /** Until the next attempt, in milliseconds. */
  retry_ms?: number;
  error?: unknown;
}

export interface SubscriptionEvents<T = any> {
  message: Message<T>;
  gap: Gap;
  bindings: Bindings;
  ready: Ready;
  /** At every change of state or transport, and at every attempt that failed. */
  state: StateChange;
  ping: { time: string };
  /** The subscription closed for good by a refusal; `sub.error` is the same. */
  error: unknown;
}

/** The events as EventTarget hands them out. */
export interface FrameEvent<D> extends Event {
  readonly detail: D;
  /** The next frame waits for this promise. */
  waitUntil(promise: unknown): void;
}

export interface Cancellable {
  signal?: AbortSignal | undefined;
}

/** What is undefined has its default, also where exactOptionalPropertyTypes is on. */
export type Defaulted<T> = { [K in keyof T]: T[K] | undefined };

/**
 * A JWT, or a function that is asked for one: at first, before it expires, and once after a refusal. Its answer is
 * waited for as long as it takes: give a fetch within it a bound, as AbortSignal.timeout(10_000).
 */
export type TokenSource = string | ((about: { previous?: string }) => string | undefined | Promise<string | undefined>);

export interface WarrenOptions extends Cancellable {
  token?: TokenSource;
  /** Default `auto`: WebSocket, and Server-Sent Events where it does not come through. */
  transport?: "auto" | Transport;
  /** A WebSocket class, where there is no global one (Node 20: that of `ws`). Without any, and with null, SSE is used. */
  WebSocket?: unknown;
  /** Default: the global fetch, for REST and Server-Sent Events. */
  fetch?: typeof fetch;
  /** Used for Server-Sent Events in place of fetch. A token then goes into the query. */
  EventSource?: unknown;
  /** Of fetch. Default `same-origin`; `include` sends cookies to another origin. */
  credentials?: "omit" | "same-origin" | "include";
  /** Milliseconds assumed between pings until the gateway's own interval is known. Default 15,000; 2.5 of them without a frame end a stream, on a WebSocket until then only if it does not answer a ping either. */
  heartbeat?: number;
  /** Milliseconds from opening a stream to its `ready`. Default 10,000. */
  timeout?: number;
  /** First step of the backoff in milliseconds; full jitter. Default 500. */
  retryBase?: number;
  /** Last step of the backoff in milliseconds. Default 30,000. */
  retryCap?: number;
  /** Milliseconds on SSE before WebSocket is tried again; doubles with each failure up to 32 times that. Default 60,000. */
  upgradeAfter?: number;
  /** Frames that wait for a slow consumer before the stream is paused. Default 4,096; resumed at a quarter. */
  highWater?: number;
  /** The same in characters of JSON. Default 8 Mi. */
  highWaterBytes?: number;
  /** Reads the JSON of each frame, for who needs integers beyond 2^53 to the digit. Default JSON.parse; the same members must come out. */
  parse?: (text: string) => any;
}

/** The options of a Warren hold for its subscriptions; those of timing, transport and water marks can be given here too. */
export interface SubscribeOptions extends Omit<WarrenOptions, "token" | "credentials" | "fetch"> {
  /** Default true: one queue for all who ask for the same bindings. False: one's own; then bind and unbind lose nothing. */
  share?: boolean;
  /** An existing subscription, by its id. */
  subscription?: string;
  /** The event id to go on after (`sub.position`). */
  after?: string | null;
  /** Where to start without `after`: default `latest` on a shared subscription, `unread` on an owned one. */
  from?: "earliest" | "latest" | "unread";
  /** Start with the newest N retained frames; 0 is `latest`. */
  last?: number;
  /** `raw`: never `json` as payload encoding. */
  payload?: "auto" | "raw";
  /** How long an owned subscription outlives its last stream, in seconds. */
  lingerSeconds?: number;
}

/** RFC 9457, as the gateway answers. */
export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail?: string;
  code: string;
  binding?: number;
  field?: string;
  limit?: string;
  retry_after_seconds?: number;
}

/** A refusal or failure. */
export class WarrenError extends Error {
  /** `forbidden_binding`, `unauthorized`, … */
  code: string;
  /** The WebSocket close code of the contract, if there is one. */
  closeCode?: number;
  status?: number;
  /** Of a refusal by HTTP: when to try again, in milliseconds. */
  retry_ms?: number;
  problem?: Problem;
}

/**
 * The payload of a message as bytes, whatever its encoding. With `json` they are written anew from the value: white space
 * and numbers that JavaScript cannot hold, as integers beyond 2^53, may differ. With the option `payload: "raw"` they are exact.
 */
export function bytes(message: Message): Uint8Array;

/** One gateway. */
export class Warren {
  /** @param url of the gateway, with its path if it lives under one. Default: the page's origin. */
  constructor(url?: string | URL, options?: Defaulted<WarrenOptions>);
  /**
   * Resolves when the stream is open: what is published from then on comes. Rejects with a WarrenError when the gateway
   * refuses for good; while it cannot be reached, it goes on trying until `signal` aborts.
   */
  subscribe<T = any>(bindings: Binding | readonly Binding[], options?: Defaulted<SubscribeOptions>): Promise<Subscription<T>>;
  /** The same at once, still connecting: to follow `state` from the start. */
  open<T = any>(bindings?: Binding | readonly Binding[], options?: Defaulted<SubscribeOptions>): Subscription<T>;
  /** What the caller may bind, as far as the gateway knows. */
  exchanges(options?: Cancellable): Promise<{ name: string; type?: string }[]>;
  /** One REST call, `path` from `/v1`; rejects with a WarrenError when it is refused. */
  request(method: string, path: string, options?: Cancellable & { body?: unknown }): Promise<any>;
  /** This token from now on; open streams go on with it. Rejects where one may not; then the token before stays. */
  auth(token: TokenSource): Promise<void>;
  /** Closes all subscriptions. */
  close(): Promise<void>;
}

/** Those of an EventTarget, by whichever library declares it. */
export interface ListenerOptions {
  once?: boolean;
  capture?: boolean;
  passive?: boolean;
  signal?: AbortSignal;
}

/** Outlives its connections: it reconnects, resumes at its position and reports what is missing. */
export class Subscription<T = any> extends EventTarget implements AsyncIterable<Message<T>> {
  private constructor();
  readonly state: State;
  readonly transport: Transport | null;
  /** As the gateway last said. Until the first `ready`, those that were asked for, without id and state. */
  readonly bindings: BoundBinding[];
  /** The id of an owned subscription: a capability, keep it secret. */
  readonly id: string | null;
  /** The last event id that arrived, which may be ahead of what the consumer has seen. */
  readonly position: string | null;
  /** Why it is closed, if close() was not the reason. */
  readonly error: unknown;

  /**
   * Calls the handler; the next frame waits if it returns a promise. The first `message` listener starts the flow.
   * Returns a function that removes it.
   */
  on<K extends keyof SubscriptionEvents<T>>(
    type: K, handler: (this: Subscription<T>, detail: SubscriptionEvents<T>[K]) => unknown, options?: ListenerOptions,
  ): () => void;
  addEventListener<K extends keyof SubscriptionEvents<T>>(
    type: K, listener: (event: FrameEvent<SubscriptionEvents<T>[K]>) => void, options?: ListenerOptions | boolean,
  ): void;
  addEventListener(type: string, listener: ((event: Event) => void) | { handleEvent(event: Event): void } | null, options?: ListenerOptions | boolean): void;

  /** Messages in order. Leaving the loop closes the subscription; a refusal or an aborted signal is thrown. */
  [Symbol.asyncIterator](): AsyncIterator<Message<T>>;
  /** The same with options. */
  messages(options?: Cancellable & { preventClose?: boolean }): AsyncIterableIterator<Message<T>>;
  /** Messages with ready, gap and bindings frames at their place. */
  frames(options?: Cancellable & { preventClose?: boolean }): AsyncIterableIterator<Frame<T>>;

  /** Resolves when a stream is open, or was and waits for its reader; rejects when the subscription closes before. */
  whenReady(options?: Cancellable): Promise<void>;
  /** Resolves when the broker has confirmed. On a shared subscription the first change moves to an owned one, with a `gap`. */
  bind(bindings: Binding | readonly Binding[], options?: Cancellable): Promise<void>;
  /** The opposite; a binding that is not there is fine. */
  unbind(bindings: Binding | readonly Binding[], options?: Cancellable): Promise<void>;
  /** Nothing is handed out until resume(); the gateway's log holds what comes, as long as it can. */
  pause(options?: Cancellable): Promise<void>;
  resume(options?: Cancellable): Promise<void>;
  /** Moves to this transport without loss; `auto` goes back to choosing. */
  use(transport: "auto" | Transport): Promise<void>;
  /** Asks for the token again and presents it. */
  renew(): Promise<void>;
  close(): Promise<void>;
}
