import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { bytes } from "../warren.js";
import { until } from "../testing/fakegateway.js";
import { collect, payload, setup, subscribed, take } from "../testing/setup.js";

for (const transport of ["ws", "sse"]) {
  test(`a loop reads messages in order over ${transport}, and leaving it closes the stream`, async (t) => {
    const { sub, attachment } = await subscribed(t, { transport });
    assert.equal(sub.state, "live");
    assert.equal(sub.transport, transport);
    assert.deepEqual(sub.bindings, [{ id: "b0", state: "bound", exchange: "e", routing_key: "k" }]);
    attachment.messages(1, 3);
    const got = [];
    for await (const message of sub) {
      got.push(message.payload);
      if (got.length === 3) break;
    }
    assert.deepEqual(got, [1, 2, 3]);
    assert.equal(sub.state, "closed");
    await until(() => attachment.closed);
  });
}

test("frames() shows ready, gaps and bindings at their place", async (t) => {
  const { sub, attachment } = await subscribed(t);
  attachment.messages(1).send({ type: "gap", id: "s.2", missed: 3, reason: "evicted" }).messages(3);
  attachment.send({ type: "bindings", id: "s.4", bindings: [] }).messages(5);
  const frames = await take(sub.frames(), 6);
  assert.deepEqual(frames.map((frame) => frame.type), ["ready", "message", "gap", "message", "bindings", "message"]);
  assert.deepEqual(sub.bindings, []);
  assert.equal(sub.position, "s.5");
});

test("listeners added after subscribe miss nothing and see gaps between messages", async (t) => {
  const { sub, attachment } = await subscribed(t);
  attachment.messages(1).send({ type: "gap", id: "s.2", missed: null, reason: "queue_lost" }).messages(3);
  await until(() => sub.position === "s.3");
  const order = [];
  sub.on("message", (message) => void order.push(message.payload));
  sub.addEventListener("gap", (event) => order.push(event.detail.reason));
  await until(() => order.length === 3);
  assert.deepEqual(order, [1, "queue_lost", 3]);
});

test("a listener that returns a promise holds the next message", async (t) => {
  const { sub, attachment } = await subscribed(t);
  const releases = [];
  const got = collect(sub, "message", payload);
  sub.on("message", () => new Promise((resolve) => releases.push(resolve)));
  attachment.messages(1, 3);
  await until(() => sub.position === "s.3" && releases.length);
  assert.deepEqual(got, [1]);
  releases.shift()();
  await until(() => releases.length);
  assert.deepEqual(got, [1, 2]);
  releases.shift()();
});

test("what the declarations take and say beyond the usual is so", async (t) => {
  const { gateway, warren } = await setup(t);
  const sub = warren.open(Object.freeze([Object.freeze({ exchange: "e" })]), { after: null });
  assert.deepEqual(sub.bindings, [{ exchange: "e", routing_key: "#" }]);
  const attachment = (await gateway.attached()).ready();
  assert.equal(attachment.query.get("after"), null);
  const seen = [];
  sub.on("message", function () { seen.push(this); });
  attachment.messages(1);
  await until(() => seen.length === 1);
  assert.equal(seen[0], sub);
  assert.equal(sub.bindings[0].state, "bound");
});

test("a removed listener hears nothing more", async (t) => {
  const { sub, attachment } = await subscribed(t);
  const all = collect(sub, "message", payload);
  const got = [];
  const off = sub.on("message", (message) => void got.push(message.payload));
  attachment.messages(1);
  await until(() => all.length === 1);
  off();
  attachment.messages(2);
  await until(() => all.length === 2);
  assert.deepEqual(got, [1]);
});

test("a loop with preventClose leaves the subscription open for the next one", async (t) => {
  const { sub, attachment } = await subscribed(t);
  attachment.messages(1, 2);
  for await (const message of sub.messages({ preventClose: true })) {
    assert.equal(message.payload, 1);
    break;
  }
  assert.equal(sub.state, "live");
  const [second] = await take(sub.messages(), 1);
  assert.equal(second.payload, 2);
});

test("an iterator can be left while it waits", async (t) => {
  const { sub, attachment } = await subscribed(t);
  const iterator = sub.messages({ preventClose: true });
  const next = iterator.next();
  assert.deepEqual(await iterator.return("enough"), { value: "enough", done: true });
  assert.equal((await next).done, true);
  assert.equal(sub.state, "live");
  const closing = sub.messages();
  closing.next();
  await closing.return();
  await until(() => attachment.closed);
});

test("a loop that is left leaves nothing on its signal", async (t) => {
  const { sub, attachment } = await subscribed(t);
  const { signal } = new AbortController();
  attachment.messages(1);
  for await (const message of sub.messages({ preventClose: true, signal })) {
    assert.equal(message.payload, 1);
    assert.equal(getEventListeners(signal, "abort").length, 1);
    break;
  }
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("repeats are dropped by id", async (t) => {
  const { sub, attachment } = await subscribed(t);
  attachment.messages(1, 3).messages(2, 4);
  const got = await take(sub.messages(), 4);
  assert.deepEqual(got.map(payload), [1, 2, 3, 4]);
});

test("unknown frames and fields are ignored", async (t) => {
  const { sub, attachment } = await subscribed(t);
  attachment.send({ type: "from_the_future", id: "s.9" }).messages(1);
  const [frame] = await take(sub.messages(), 1);
  assert.equal(frame.payload, 1);
  assert.equal(sub.position, "s.1");
});

test("close() ends a waiting loop quietly", async (t) => {
  const { sub } = await subscribed(t);
  const loop = take(sub.messages(), 1);
  await sub.close();
  assert.deepEqual(await loop, []);
  await assert.rejects(sub.whenReady(), { code: "closed" });
});

test("an aborted signal closes the subscription, and its loop throws the reason", async (t) => {
  const controller = new AbortController();
  const { sub, attachment } = await subscribed(t, {}, { signal: controller.signal });
  const loop = take(sub.messages(), 1);
  controller.abort();
  await assert.rejects(loop, { name: "AbortError" });
  assert.equal(sub.state, "closed");
  await until(() => attachment.closed);
});

test("the signal of a loop ends the loop alone", async (t) => {
  const { sub, attachment } = await subscribed(t);
  const controller = new AbortController();
  const loop = take(sub.messages({ signal: controller.signal }), 1);
  controller.abort();
  await assert.rejects(loop, { name: "AbortError" });
  assert.equal(sub.state, "live");
  const got = collect(sub, "message", payload);
  attachment.messages(1);
  await until(() => got.length === 1);
});

test("an event stream may be cut anywhere", async (t) => {
  const { sub, attachment } = await subscribed(t, { transport: "sse" });
  const frame = (n) => JSON.stringify({ type: "message", id: `s.${n}`, payload: `ä${n}€😀`, payload_encoding: "string" });
  const split = frame(3).indexOf(",") + 1;
  const text = [
    `: a comment\r\nid: s.1\r\ndata: ${frame(1)}\r\n\r\n`,
    `data:${frame(2)}\r\r`,
    `event: message\ndata: ${frame(3).slice(0, split)}\ndata: ${frame(3).slice(split)}\nunknown: x\ndatum: y\n\n`,
    `retry: 10\n\nid\ndata: ${frame(4)}\n\n`,
  ].join("");
  const got = collect(sub, "message", payload);
  for (const byte of Buffer.from(text)) attachment.raw(Buffer.of(byte));
  await until(() => got.length === 4);
  assert.deepEqual(got, ["ä1€😀", "ä2€😀", "ä3€😀", "ä4€😀"]);
});

test("bytes() gives the payload of each encoding", () => {
  assert.deepEqual([...bytes({ payload: "AP8=", payload_encoding: "base64" })], [0, 255]);
  assert.deepEqual([...bytes({ payload: "é", payload_encoding: "string" })], [0xc3, 0xa9]);
  assert.deepEqual([...bytes({ payload: [1], payload_encoding: "json" })], [91, 49, 93]);
});

test("frames are read by the function that is given", async (t) => {
  const parse = (text) => JSON.parse(text, (name, value) => (name === "payload" ? BigInt(value) : value));
  const { sub, attachment } = await subscribed(t, { parse });
  const got = collect(sub, "message", payload);
  attachment.messages(7);
  await until(() => got.length === 1);
  assert.equal(got[0], 7n);
});
