import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { collect, payload, subscribed } from "../testing/setup.js";

// The parts of a page that the client listens to.
const page = new EventTarget();
const fire = (type) => page.dispatchEvent(new Event(type));
globalThis.document = {};
globalThis.addEventListener = page.addEventListener.bind(page);
Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });

beforeEach(() => {
  document.visibilityState = "visible";
  navigator.onLine = true;
});

const patient = { retryBase: 60_000, retryCap: 60_000 };

test("a frozen page leaves and comes back at its position", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  const got = collect(sub, "message", payload);
  attachment.messages(1);
  await until(() => got.length === 1);
  fire("freeze");
  await until(() => attachment.closed);
  assert.equal(sub.state, "recovering");
  fire("resume");
  const next = await gateway.attached();
  assert.equal(next.query.get("after"), "s.1");
});

test("a stream that was left for a slow reader comes back though the reader caught up in a frozen page", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, { transport: "sse" });
  await sub.pause();
  await until(() => attachment.closed);
  fire("freeze");
  await sub.resume();
  assert.equal(gateway.attachments.length, 1);
  fire("resume");
  (await gateway.attached()).ready();
  await until(() => sub.state === "live" && sub.transport === "sse");
});

test("a page that becomes visible does not wait for the backoff, but for what the gateway asked", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const { gateway, sub, attachment } = await subscribed(t, { ...patient });
  const begun = performance.now();
  attachment.bye(1001, "shutting_down", { retry_ms: 200 });
  await until(() => sub.state === "recovering");
  fire("visibilitychange");
  await gateway.attached();
  const waited = performance.now() - begun;
  assert.ok(waited >= 195 && waited < 3000, `waited ${waited} ms`);
});

test("a hidden page stays where it is", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, patient);
  const states = collect(sub, "state");
  t.mock.method(Math, "random", () => 0.5);
  attachment.cut();
  await until(() => sub.state === "recovering");
  document.visibilityState = "hidden";
  fire("visibilitychange");
  fire("offline");
  assert.equal(states.length, 1);
  assert.equal(gateway.attachments.length, 1);
});

test("a hidden page that was frozen comes back though it is offline by what the browser says", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  document.visibilityState = "hidden";
  fire("freeze");
  await until(() => attachment.closed);
  navigator.onLine = false;
  fire("resume");
  (await gateway.attached()).ready();
  await until(() => sub.state === "live");
});

test("coming online asks an open WebSocket whether it still lives", async (t) => {
  const { sub, attachment } = await subscribed(t);
  fire("online");
  await attachment.request("ping");
  attachment.send({ type: "pong" });
  assert.equal(sub.state, "live");
});

test("while offline the client tries as seldom as it ever does, online at once", async (t) => {
  t.mock.method(Math, "random", () => 0.001);
  const { gateway, sub, attachment } = await subscribed(t, { retryBase: 10, retryCap: 60_000_000 });
  const waits = collect(sub, "state", ({ retry_ms }) => retry_ms);
  navigator.onLine = false;
  attachment.cut();
  await until(() => waits.length === 1);
  assert.equal(waits[0], 60_000);
  navigator.onLine = true;
  fire("online");
  await gateway.attached();
});

test("a closed subscription no longer listens to the page", async (t) => {
  const { gateway, sub } = await subscribed(t);
  await sub.close();
  fire("online");
  fire("freeze");
  fire("resume");
  assert.equal(sub.state, "closed");
  assert.equal(gateway.attachments.length, 1);
});
