import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { Warren } from "../warren.js";
import { FakeGateway, until } from "../testing/fakegateway.js";
import { binding, collect, payload, setup, subscribed } from "../testing/setup.js";

for (const transport of ["ws", "sse"]) {
  test(`a cut over ${transport} resumes at the position`, async (t) => {
    const { gateway, sub, attachment } = await subscribed(t, { transport });
    const states = collect(sub, "state", ({ state }) => state);
    const got = collect(sub, "message", payload);
    attachment.messages(1, 2);
    await until(() => got.length === 2);
    attachment.cut();
    const next = await gateway.attached();
    assert.equal(next.query.get("after"), "s.2");
    next.ready().messages(3);
    await until(() => got.length === 3);
    assert.deepEqual(got, [1, 2, 3]);
    assert.equal(states[0], "recovering");
    assert.equal(states.at(-1), "live");
  });
}

test("a cut before the first message resumes at the position of ready", async (t) => {
  const { gateway, attachment } = await subscribed(t, {}, { ready: { id: "s.7" } });
  attachment.cut();
  assert.equal((await gateway.attached()).query.get("after"), "s.7");
});

test("a cut between ready and the gap that follows it hides nothing", async (t) => {
  const { gateway, attachment } = await subscribed(t, {}, { after: "old.9", ready: { id: "old.9", stream: "s", resumed: false } });
  attachment.cut();
  assert.equal((await gateway.attached()).query.get("after"), "old.9");
});

test("a drain is waited for as long as it asks, and its url comes first, once", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  const other = await FakeGateway.start();
  t.after(() => other.stop());
  const states = collect(sub, "state");
  const begun = performance.now();
  attachment.bye(1001, "shutting_down", { retry_ms: 150, url: other.url });
  const there = await other.attached();
  assert.ok(performance.now() - begun >= 150);
  assert.equal(states[0].reason, "shutting_down");
  assert.ok(states[0].retry_ms >= 150);
  there.cut();
  await gateway.attached();
});

test("refusals slow the client down", async (t) => {
  const { gateway, warren } = await setup(t, { retryBase: 20, retryCap: 10_000 });
  t.mock.method(Math, "random", () => 1);
  const sub = warren.open(binding);
  const waits = collect(sub, "state", (change) => change.retry_ms);
  for (let n = 1; n <= 4; n++) {
    (await gateway.attached()).bye(4429, "rate_limited", { retry_ms: 5 });
    await until(() => waits.length === n);
  }
  assert.deepEqual(waits, [25, 45, 85, 165]);
});

test("a refusal that will not pass stops and says why", async (t) => {
  const { gateway, warren } = await setup(t);
  const opening = warren.subscribe(binding);
  (await gateway.attached()).bye(4403, "forbidden_binding");
  await assert.rejects(opening, { name: "WarrenError", code: "forbidden_binding", closeCode: 4403 });
});

test("a close code without a bye follows the reconnect column", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  attachment.end(4408, "slow_reader");
  (await gateway.attached()).ready().end(1009, "frame_too_large");
  await until(() => sub.state === "closed");
  assert.equal(sub.error.code, "frame_too_large");
});

test("messages before a final refusal are still read, then the loop throws", async (t) => {
  const { sub, attachment } = await subscribed(t);
  attachment.messages(1, 2).bye(4403, "forbidden");
  await until(() => sub.state === "closed");
  const got = [];
  await assert.rejects(async () => {
    for await (const message of sub) got.push(message.payload);
  }, { code: "forbidden" });
  assert.deepEqual(got, [1, 2]);
});

test("a problem on SSE is final or passing by its status", async (t) => {
  const { gateway, warren } = await setup(t, { transport: "sse" });
  const answers = [
    [503, { code: "broker_unavailable", title: "The broker cannot be used", status: 503 }, { "Retry-After": "0" }],
    [403, { code: "forbidden_binding", title: "Not allowed", detail: "ask for less", status: 403 }],
  ];
  gateway.refuseStream = () => answers.shift();
  await assert.rejects(warren.subscribe(binding), {
    code: "forbidden_binding", status: 403, message: "Not allowed: ask for less (forbidden_binding)",
  });
  assert.equal(answers.length, 0);
});

test("a proxy's own 404 is final at first, but not for a stream that was open", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "sse" });
  const answers = [[404, "not here"]];
  gateway.refuseStream = () => answers.shift();
  attachment.cut();
  (await gateway.attached()).ready();
  await until(() => sub.state === "live");
  gateway.refuseStream = () => [404, "not here"];
  await assert.rejects(new Warren(gateway.url, { transport: "sse" }).subscribe(binding), { code: "http_404" });
});

test("nor when the subscription has to be made anew by REST", async (t) => {
  const { gateway, warren } = await setup(t, { transport: "sse" });
  gateway.rest = () => [201, { id: "ID" }];
  const sub = warren.open([]);
  const first = (await gateway.attached()).ready({ subscription: "ID" });
  await sub.whenReady();
  const answers = [[404, "not here"], [201, { id: "ID2" }]];
  gateway.rest = () => answers.shift();
  first.bye(4410, "subscription_expired");
  assert.equal((await gateway.attached()).path, "/v1/subscriptions/ID2/sse");
  gateway.rest = () => [404, "not here"];
  await assert.rejects(new Warren(gateway.url, { transport: "sse" }).subscribe([]), { code: "http_404", closeCode: 4404 });
});

test("an owned subscription is taken up by its id, and made anew once when it is gone", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, {}, { share: false, ready: { subscription: "ID" } });
  assert.equal(attachment.query.get("share"), "false");
  assert.equal(sub.id, "ID");
  const gaps = collect(sub, "gap", (gap) => gap.reason);
  const got = collect(sub, "message", payload);
  attachment.messages(1);
  await until(() => got.length === 1);
  attachment.cut();
  const second = await gateway.attached();
  assert.equal(second.path, "/v1/subscriptions/ID/ws");
  assert.equal(second.query.get("after"), "s.1");
  second.bye(4404, "subscription_not_found");
  const third = await gateway.attached();
  assert.equal(third.path, "/v1/ws");
  assert.equal(third.query.get("after"), "s.1");
  assert.deepEqual(JSON.parse(third.query.get("bindings")), [binding]);
  third.ready({ id: "s.1", subscription: "ID2", resumed: false, stream: "t" });
  third.send({ type: "gap", id: "t.0", missed: null, reason: "subscription_lost" }).messages(1, 1, "t");
  await until(() => got.length === 2);
  assert.deepEqual(gaps, ["subscription_lost"]);
  assert.equal(sub.id, "ID2");
});

test("a deleted subscription is made anew too", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, {}, { share: false, ready: { subscription: "ID" } });
  attachment.bye(4410, "subscription_deleted");
  assert.equal((await gateway.attached()).path, "/v1/ws");
  assert.equal(sub.state, "recovering");
});

test("a missing exchange is final", async (t) => {
  const { gateway, warren } = await setup(t);
  const opening = warren.subscribe(binding, { share: false });
  (await gateway.attached()).bye(4404, "exchange_not_found");
  await assert.rejects(opening, { code: "exchange_not_found" });
});

for (const transport of ["ws", "sse"]) {
  test(`a dead stream over ${transport} is noticed by the missing ping`, async (t) => {
    const { gateway, attachment } = await subscribed(t, { transport, heartbeat: 40 });
    const begun = performance.now();
    await until(() => gateway.attachments.length === 2, "another attachment", 10_000); // a WebSocket is asked first
    assert.ok(performance.now() - begun >= 80, "not before 2.5 heartbeats");
    await until(() => attachment.closed);
  });
}

test("a WebSocket whose heartbeat is not known is asked before it is left", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { heartbeat: 40 });
  await attachment.request("ping");
  attachment.send({ type: "pong" }).messages(1);
  await until(() => sub.position === "s.1");
  assert.equal(sub.state, "live");
  assert.equal(gateway.attachments.length, 1);
});

test("streams that were busy and died do not make the client more patient", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "sse", heartbeat: 40 });
  let last = attachment;
  for (let n = 1; n <= 8; n++) {
    last.messages(n);
    await until(() => sub.position === `s.${n}`);
    last = (await gateway.attached()).ready(); // it waits for 5 s; doubled each time, the eighth would come after 12.8 s
  }
});

test("pings keep a silent stream alive and teach the heartbeat", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { heartbeat: 60 });
  const pings = collect(sub, "ping");
  attachment.send({ type: "ping", time: "2026-01-02T03:04:05Z", newest: null });
  attachment.send({ type: "ping", time: "2026-01-02T03:05:05Z", newest: null });
  await until(() => pings.length === 2);
  const silent = performance.now();
  await until(() => performance.now() - silent > 400);
  assert.equal(gateway.attachments.length, 1);
  assert.equal(sub.state, "live");
});

test("a busy stream makes up for silent ones that made the client patient", async (t) => {
  const { gateway, sub } = await subscribed(t, { transport: "sse", heartbeat: 160 });
  for (let n = 0; n < 2; n++) (await gateway.attached()).ready(); // after 400 and 800 ms
  const busy = (await gateway.attached()).ready(); // after 1.6 s: the heartbeat is assumed to be 1,280 ms by now
  const begun = performance.now();
  for (let n = 1; performance.now() - begun < 4000; n++) { // 2.5 of them
    busy.messages(n);
    await until(() => sub.position === `s.${n}`);
  }
  for (let n = 0; n < 3; n++) (await gateway.attached()).ready(); // anew from 400 ms; without, after 3.2, 3.2 and 6.4 s: it waits for 5 s
});

test("an event stream that brings a large frame slowly is alive", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "sse", heartbeat: 400 });
  const frame = `data: ${JSON.stringify({ type: "message", id: "s.1", payload: "x".repeat(12) })}\n\n`;
  for (const piece of frame.match(/[^]{1,4}/g)) { // some 18, in 2.7 s: two heartbeats and a half are 1 s
    attachment.raw(piece);
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  await until(() => sub.position === "s.1");
  assert.equal(gateway.attachments.length, 1);
});

test("a frame too large for the line comes through in the end, over WebSocket too, though the heartbeat is known", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "ws", heartbeat: 40 });
  attachment.send({ type: "ping", time: "2026-01-02T03:04:05Z", newest: null });
  attachment.send({ type: "ping", time: "2026-01-02T03:04:06Z", newest: null }); // the heartbeat is a second: 2.5 s are waited
  const slow = async () => { // which takes 4 s
    const stream = (await until(() => gateway.waiting.shift(), "an attachment", 10_000)).ready();
    setTimeout(() => stream.closed || stream.messages(1), 4000);
  };
  await slow(); // after the pings, which say nothing about the line
  await slow();
  await until(() => sub.position === "s.1", "the frame", 10_000);
  assert.equal(gateway.attachments.length, 3);
});

test("a gateway that cannot be reached over WebSocket is unreachable, and a cut is not", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "ws" });
  const reasons = collect(sub, "state", ({ reason }) => reason);
  gateway.refuseWebSocket = true;
  attachment.cut();
  await until(() => reasons.includes("unreachable"));
  assert.equal(reasons[0], "");
});

test("a handshake that is never answered is given up", async (t) => {
  const { gateway } = await setup(t, { timeout: 60, transport: "ws" }).then(({ gateway, warren }) => ({ gateway, sub: warren.open(binding) }));
  const first = await gateway.attached();
  await gateway.attached();
  await until(() => first.closed);
});

test("aborting while connecting rejects and stops", async (t) => {
  const { gateway, warren } = await setup(t);
  const controller = new AbortController();
  const opening = warren.subscribe(binding, { signal: controller.signal });
  const attachment = await gateway.attached();
  controller.abort(new Error("enough"));
  await assert.rejects(opening, { message: "enough" });
  await until(() => attachment.closed);
  await assert.rejects(warren.subscribe(binding, { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("a gateway under a path, and options of the first attach", async (t) => {
  const { gateway } = await setup(t);
  const warren = new Warren(`${gateway.url}/events/`, { transport: "sse" });
  t.after(() => warren.close());
  const sub = warren.open(binding, { from: "earliest", payload: "raw", share: false, lingerSeconds: 5 });
  const attachment = await gateway.attached();
  assert.equal(attachment.path, "/events/v1/sse");
  assert.equal(attachment.query.get("from"), "earliest");
  assert.equal(attachment.query.get("payload"), "raw");
  assert.equal(attachment.query.get("linger_seconds"), "5");
  attachment.ready();
  await sub.whenReady();
  warren.open(binding, { last: 0 }); // on an owned subscription it is not the default
  assert.equal((await gateway.attached()).query.get("last"), "0");
});

test("an option that is undefined has its default", async (t) => {
  const nothing = Object.fromEntries(["transport", "timeout", "heartbeat", "retryBase", "retryCap", "upgradeAfter", "highWater", "highWaterBytes", "fetch"]
    .map((name) => [name, undefined]));
  const { gateway } = await setup(t);
  t.mock.method(Math, "random", () => 0.1);
  for (const [options, own, waited] of [[nothing, {}, 50], [{ retryBase: 20 }, nothing, 2]]) {
    const warren = new Warren(gateway.url, { WebSocket, ...options });
    t.after(() => warren.close());
    const sub = warren.open(binding, own);
    const states = collect(sub, "state");
    const attachment = (await gateway.attached()).ready().messages(1);
    await until(() => sub.position === "s.1");
    assert.equal(sub.transport, "ws");
    attachment.cut();
    await until(() => sub.state === "recovering");
    assert.equal(states.at(-1).retry_ms, waited);
    assert.equal((await gateway.attached()).kind, "ws");
    assert.equal(attachment.requests.length, 0, "no pause at the first frame");
  }
});
