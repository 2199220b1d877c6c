import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { binding, collect, payload, setup, subscribed, take } from "../testing/setup.js";

// Answers pause and resume requests as the gateway does.
function obedient(attachment) {
  const seen = [];
  const push = attachment.requests.push.bind(attachment.requests);
  attachment.requests.push = (request) => {
    seen.push(request.type);
    attachment.send({ type: "ok", ref: request.ref });
    if (request.type === "pause") attachment.send({ type: "paused", scope: "attachment" });
    if (request.type === "resume") attachment.send({ type: "resumed", scope: "attachment" });
    return push(request);
  };
  return seen;
}

test("pause and resume are requests on a WebSocket", async (t) => {
  const { sub, attachment } = await subscribed(t);
  const seen = obedient(attachment);
  const got = collect(sub, "message", payload);
  await sub.pause();
  assert.equal(sub.state, "paused");
  attachment.messages(1); // was under way
  await until(() => sub.position === "s.1");
  assert.deepEqual(got, []);
  await sub.resume();
  assert.equal(sub.state, "live");
  await until(() => got.length === 1);
  assert.deepEqual(seen, ["pause", "resume"]);
});

test("a paused WebSocket that is cut comes back paused", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  obedient(attachment);
  await sub.pause();
  attachment.cut();
  const next = await gateway.attached();
  next.ready();
  await next.request("pause");
  assert.equal(sub.state, "paused");
});

test("pause on SSE leaves, resume comes back at the position", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "sse" });
  const got = collect(sub, "message", payload);
  attachment.messages(1);
  await until(() => got.length === 1);
  await sub.pause();
  await until(() => attachment.closed);
  assert.equal(sub.state, "paused");
  const resumed = sub.resume();
  const next = await gateway.attached();
  assert.equal(next.query.get("after"), "s.1");
  next.ready().messages(2);
  await resumed;
  await until(() => got.length === 2);
  assert.equal(sub.state, "live");
});

test("a pause of the whole subscription shows as paused", async (t) => {
  const { sub, attachment } = await subscribed(t);
  attachment.send({ type: "paused", scope: "subscription" });
  await until(() => sub.state === "paused");
  attachment.send({ type: "resumed", scope: "subscription" });
  await until(() => sub.state === "live");
});

test("a slow reader pauses the socket at the high mark and resumes it at the low one", async (t) => {
  const { sub, attachment } = await subscribed(t, { highWater: 40 });
  attachment.messages(1, 39); // with ready, 40 frames wait
  const pause = await attachment.request("pause");
  attachment.send({ type: "ok", ref: pause.ref });
  assert.equal(sub.state, "live");
  const loop = sub.messages();
  const first = await take(loop, 28);
  assert.equal(attachment.requests.length, 0);
  first.push(...await take(loop, 2));
  const resume = await attachment.request("resume");
  attachment.send({ type: "ok", ref: resume.ref }).messages(40);
  const rest = await take(loop, 10);
  assert.deepEqual([...first, ...rest].map(payload), Array.from({ length: 40 }, (_, n) => n + 1));
});

test("bytes count as well as frames", async (t) => {
  const { attachment } = await subscribed(t, { highWaterBytes: 10_000 });
  attachment.send({ type: "message", id: "s.1", payload: "x".repeat(10_000), payload_encoding: "string" });
  await attachment.request("pause");
});

test("a gateway that does not pause is left until the reader has caught up", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { highWater: 40 });
  attachment.messages(1, 200);
  await until(() => attachment.closed);
  assert.equal(sub.state, "live");
  const loop = sub.messages();
  const count = Number(sub.position.split(".")[1]);
  assert.ok(count <= 160, `${count} frames were taken`);
  const got = await take(loop, count);
  const next = await gateway.attached();
  assert.equal(next.query.get("after"), `s.${count}`);
  next.ready().messages(count + 1, count + 10);
  got.push(...await take(loop, 10));
  assert.deepEqual(got.map(payload), Array.from({ length: count + 10 }, (_, n) => n + 1));
});

test("subscribe() resolves though its stream brings at once more than is held", async (t) => {
  const { gateway, warren } = await setup(t, { transport: "sse" });
  const opening = warren.subscribe(binding, { from: "earliest", highWater: 8, signal: AbortSignal.timeout(5000) });
  const frames = [{ type: "ready", id: "s.0", stream: "s", bindings: [binding], resumed: false }];
  for (let n = 1; n <= 12; n++) frames.push({ type: "message", id: `s.${n}`, payload: n, payload_encoding: "json" });
  const first = await gateway.attached();
  first.raw(frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join("")); // in one piece
  const sub = await opening;
  assert.equal(sub.state, "live");
  const loop = sub.messages();
  const got = await take(loop, 7);
  const next = await gateway.attached();
  assert.equal(next.query.get("after"), "s.7");
  next.ready().messages(8, 9);
  got.push(...await take(loop, 2));
  assert.deepEqual(got.map(payload), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a slow reader of SSE leaves and comes back at its position", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "sse", highWater: 40 });
  attachment.messages(1, 100);
  await until(() => attachment.closed);
  const loop = sub.messages();
  const count = Number(sub.position.split(".")[1]);
  await take(loop, count);
  const next = await gateway.attached();
  assert.equal(next.query.get("after"), `s.${count}`);
});

test("a refused pause is answered by leaving", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  const paused = sub.pause();
  const { ref } = await attachment.request("pause");
  attachment.send({ type: "error", ref, problem: { code: "rate_limited", title: "Too many requests", status: 429 } });
  await paused;
  const next = await gateway.attached();
  next.ready();
  await next.request("pause");
});

test("an aborted signal leaves pause() undone", async (t) => {
  const { sub, attachment } = await subscribed(t);
  const paused = sub.pause({ signal: AbortSignal.abort() }); // does not throw in place
  await assert.rejects(paused, { name: "AbortError" });
  assert.equal(sub.state, "live");
  const got = collect(sub, "message", payload);
  attachment.messages(1);
  await until(() => got.length === 1);
  assert.deepEqual(attachment.requests, []);
});
