import assert from "node:assert/strict";
import { test } from "node:test";
import { Warren } from "../warren.js";
import { until } from "../testing/fakegateway.js";
import { binding, collect, payload, setup, subscribed } from "../testing/setup.js";

test("SSE takes over where WebSocket does not come through, and WebSocket comes back", async (t) => {
  const { gateway, warren } = await setup(t, { upgradeAfter: 40 });
  gateway.refuseWebSocket = true;
  const sub = warren.open(binding);
  const got = collect(sub, "message", payload);
  const sse = await gateway.attached();
  assert.equal(sse.kind, "sse");
  sse.ready().messages(1);
  await until(() => got.length === 1);
  await until(() => gateway.refused >= 2, "a second try of WebSocket");
  gateway.refuseWebSocket = false;
  const ws = await gateway.attached();
  assert.equal(ws.kind, "ws");
  assert.equal(ws.query.get("after"), "s.1");
  sse.messages(2, 3);
  await until(() => got.length === 3);
  assert.equal(sub.transport, "sse");
  ws.ready().messages(2, 4);
  await until(() => got.length === 4);
  assert.deepEqual(got, [1, 2, 3, 4]);
  assert.equal(sub.transport, "ws");
  await until(() => sse.closed);
  assert.equal(sub.position, "s.4");
});

test("a gateway that was away is looked for on both transports", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  gateway.refuseWebSocket = true;
  attachment.cut();
  const sse = await gateway.attached();
  assert.equal(sse.kind, "sse");
  assert.ok(gateway.refused >= 1, "what worked is tried first");
  sse.ready();
  await until(() => sub.transport === "sse");
});

test("use() moves back and forth without a pause", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  const states = collect(sub, "state", ({ state }) => state);
  const got = collect(sub, "message", payload);
  attachment.messages(1);
  await until(() => got.length === 1);
  sub.use("sse");
  const sse = await gateway.attached();
  sse.ready().messages(2);
  await until(() => got.length === 2);
  sub.use("auto");
  const ws = await gateway.attached();
  ws.ready().messages(3);
  await until(() => got.length === 3);
  assert.deepEqual(states.filter((state) => state !== "live"), []);
});

test("use() is not undone by a return to WebSocket that was planned or under way", async (t) => {
  for (const underWay of [false, true]) {
    const { gateway, warren } = await setup(t, { upgradeAfter: 60 });
    gateway.refuseWebSocket = true;
    const sub = warren.open(binding);
    (await gateway.attached()).ready();
    await sub.whenReady();
    gateway.refuseWebSocket = false;
    const ws = underWay && await gateway.attached();
    sub.use("sse");
    if (ws) ws.ready();
    const begun = performance.now();
    await until(() => performance.now() - begun > 200);
    assert.equal(sub.transport, "sse");
    assert.equal(gateway.attachments.length, underWay ? 2 : 1);
  }
});

test("use(\"auto\") tries again where WebSocket does not come through yet", async (t) => {
  const { gateway, warren } = await setup(t, { upgradeAfter: 40 });
  const sub = warren.open(binding, { transport: "sse" });
  (await gateway.attached()).ready();
  await sub.whenReady();
  gateway.refuseWebSocket = true;
  sub.use("auto");
  await until(() => gateway.refused >= 2);
  gateway.refuseWebSocket = false;
  (await gateway.attached()).ready();
  await until(() => sub.transport === "ws");
});

test("use() turns a stream that is being opened around", async (t) => {
  for (const [from, to] of [["auto", "sse"], ["sse", "auto"]]) {
    const { gateway, warren } = await setup(t, { transport: from });
    const sub = warren.open(binding);
    const first = await gateway.attached();
    await sub.use(to); // does not last as long as the stream
    const second = await gateway.attached();
    await until(() => first.closed);
    assert.equal(second.kind, to === "sse" ? "sse" : "ws");
    second.ready();
    await sub.whenReady();
    assert.equal(sub.transport, second.kind);
    assert.equal(gateway.attachments.length, 2);
  }
});

test("a transport that there is not is refused at once", async (t) => {
  const { warren, sub } = await subscribed(t);
  await assert.rejects(warren.subscribe(binding, { transport: "websocket" }), TypeError);
  await assert.rejects(sub.use("eventsource"), TypeError);
  assert.equal(sub.state, "live");
});

test("use() leaves a stream alone that is being opened over the same transport", async (t) => {
  const { gateway, warren } = await setup(t);
  const sub = warren.open(binding);
  const attachment = await gateway.attached();
  await sub.use("ws");
  attachment.ready();
  await sub.whenReady();
  assert.equal(gateway.attachments.length, 1);
});

test("a newcomer that fails leaves the stream alone", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  const got = collect(sub, "message", payload);
  sub.use("sse");
  (await gateway.attached()).bye(4503, "over_capacity", { retry_ms: 1000 });
  attachment.messages(1);
  await until(() => got.length === 1);
  assert.equal(sub.transport, "ws");
});

test("a newcomer with more repeats than are remembered comes again without overlap", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "sse" });
  const got = collect(sub, "message", payload);
  sub.use("ws");
  const ws = await gateway.attached();
  attachment.messages(1, 4100);
  await until(() => got.length === 4100);
  ws.ready();
  const again = await gateway.attached();
  assert.equal(again.query.get("after"), "s.4100");
  again.ready().messages(4101);
  await until(() => got.length === 4101);
  assert.equal(got.every((n, index) => n === index + 1), true);
});

// An EventSource as the standard has it, on top of fetch, as far as the client can see it.
class FetchEventSource extends EventTarget {
  static made = [];
  readyState = 0;
  #abort = new AbortController();

  constructor(url, options) {
    super();
    Object.assign(this, { url, ...options });
    FetchEventSource.made.push(this);
    this.#run().catch(() => this.#fail(0));
  }

  async #run() {
    const response = await fetch(this.url, { signal: this.#abort.signal, headers: { Accept: "text/event-stream" } });
    if (response.status !== 200) return this.#fail(2);
    this.readyState = 1;
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      const events = (text + chunk).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const field = (name) => new RegExp(`^${name}: (.*)$`, "m").exec(event)?.[1];
        if (field("data")) this.dispatchEvent(new MessageEvent(field("event") ?? "message", { data: field("data") }));
      }
    }
    this.#fail(0);
  }

  #fail(state) {
    if (this.readyState === 2) return;
    this.readyState = state;
    this.onerror?.(new Event("error"));
  }

  close() {
    this.readyState = 2;
    this.#abort.abort();
  }
}

test("an injected EventSource is used, with the token in the query", async (t) => {
  const { gateway, warren } = await setup(t, { transport: "sse", EventSource: FetchEventSource, token: "T&T", credentials: "include" });
  const sub = warren.open(binding);
  const got = collect(sub, "message", payload);
  const first = await gateway.attached();
  assert.equal(first.query.get("access_token"), "T&T");
  assert.equal(FetchEventSource.made.at(-1).withCredentials, true);
  first.ready().messages(1);
  await until(() => got.length === 1);
  first.cut();
  const second = await gateway.attached();
  assert.equal(second.query.get("after"), "s.1");
  second.ready().messages(2);
  await until(() => got.length === 2);
});

test("a refused EventSource asks once with fetch to learn why", async (t) => {
  const { gateway, warren } = await setup(t, { transport: "sse", EventSource: FetchEventSource });
  const seen = [];
  gateway.refuseStream = (request) => {
    seen.push(request.headers.authorization ?? "none");
    return [403, { code: "forbidden_binding", title: "Not allowed", status: 403 }];
  };
  await assert.rejects(warren.subscribe(binding), { code: "forbidden_binding" });
  assert.equal(seen.length, 2);
});

test("without any WebSocket the client streams by fetch, and a forced one says what is missing", async (t) => {
  const { gateway } = await setup(t);
  const warren = new Warren(gateway.url, { WebSocket: null });
  t.after(() => warren.close());
  const sub = warren.open(binding);
  (await gateway.attached()).ready();
  await sub.whenReady();
  assert.equal(sub.transport, "sse");
  await assert.rejects(new Warren(gateway.url, { WebSocket: null, transport: "ws" }).subscribe(binding), { code: "no_websocket" });
});
