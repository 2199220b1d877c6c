// The client against the real gateway and its memory broker.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { Gateway } from "../testing/gateway.js";
import { client, collect, numbers, payload, take } from "../testing/setup.js";

for (const transport of ["ws", "sse"]) {
  test(`the five lines of the README over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const warren = client(t, gateway.url, { transport });
    const sub = await warren.subscribe([{ exchange: "amq.topic", routing_key: "linux.#" }]);
    await gateway.publish("amq.topic", 1, 1, { key: "windows.x" });
    await gateway.publish("amq.topic", 2, 4, { key: "linux.x" });
    assert.deepEqual((await take(sub.messages(), 3)).map(payload), [2, 3, 4]);
    assert.equal(sub.bindings[0].state, "bound");
    assert.ok((await warren.exchanges()).some(({ name }) => name === "amq.topic"));
  });

  test(`a high-water mark of 0 holds nothing back for good over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const sub = await client(t, gateway.url, { transport, highWater: 0 }).subscribe({ exchange: "amq.fanout" });
    const got = collect(sub, "message", payload);
    await gateway.publish("amq.fanout", 1, 5);
    await until(() => got.length === 5);
    assert.deepEqual(got, numbers(1, 5));
  });

  test(`bindings change live without loss over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const sub = await client(t, gateway.url, { transport }).subscribe([], { share: false });
    const gaps = collect(sub, "gap");
    const markers = collect(sub, "bindings");
    const got = collect(sub, "message", payload);
    await sub.bind({ exchange: "amq.fanout" });
    await gateway.publish("amq.fanout", 1, 3);
    await sub.bind({ exchange: "amq.topic", routing_key: "a.*" });
    await gateway.publish("amq.topic", 4, 6, { key: "a.b" });
    await sub.unbind({ exchange: "amq.fanout" });
    await gateway.publish("amq.fanout", 7, 9);
    await gateway.publish("amq.topic", 10, 10, { key: "a.b" });
    await until(() => got.at(-1) === 10);
    assert.deepEqual(got, [1, 2, 3, 4, 5, 6, 10]);
    assert.deepEqual(gaps, []);
    assert.ok(markers.length >= 3);
    assert.deepEqual(sub.bindings.map(({ exchange }) => exchange), ["amq.topic"]);
    await assert.rejects(sub.bind({ exchange: "nowhere" }), { code: "exchange_not_found" });
    assert.equal(sub.state, "live");
  });

  test(`a binding that somebody else took away is no obstacle to unbinding others over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const warren = client(t, gateway.url, { transport });
    const list = ["a", "b", "c"].map((key) => ({ exchange: "amq.topic", routing_key: key }));
    const sub = await warren.subscribe(list, { share: false });
    await sub.pause(); // on SSE it then does not hear of the deletion
    const path = `/v1/subscriptions/${sub.id}`;
    const { id } = sub.bindings.find((binding) => binding.routing_key === "a");
    await warren.request("DELETE", `${path}/bindings/${id}`);
    await sub.unbind(list.slice(0, 2));
    assert.deepEqual((await warren.request("GET", path)).bindings.map((binding) => binding.routing_key), ["c"]);
    assert.deepEqual(sub.bindings.map((binding) => binding.routing_key), ["c"]);
  });

  test(`a shared subscription that changes becomes an owned one with one gap over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const sub = await client(t, gateway.url, { transport }).subscribe({ exchange: "amq.fanout" });
    assert.equal(sub.id, null);
    const gaps = collect(sub, "gap", (gap) => gap.reason);
    const got = collect(sub, "message", payload);
    await gateway.publish("amq.fanout", 1, 3);
    await until(() => got.length === 3);
    await assert.rejects(sub.bind({ exchange: "nowhere" }), { code: "exchange_not_found" });
    await sub.whenReady();
    await gateway.publish("amq.fanout", 4, 5);
    await until(() => got.length === 5);
    assert.deepEqual(gaps, []);
    await sub.bind({ exchange: "amq.topic" });
    assert.ok(sub.id);
    await gateway.publish("amq.fanout", 6, 7);
    await gateway.publish("amq.topic", 8);
    await until(() => got.length === 8);
    assert.deepEqual(got, numbers(1, 8));
    assert.deepEqual(gaps, ["subscription_lost"]);
    assert.equal(sub.bindings.length, 2);
  });

  test(`what is published during a pause comes after it over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const sub = await client(t, gateway.url, { transport }).subscribe({ exchange: "amq.fanout" });
    const got = collect(sub, "message", payload);
    await gateway.publish("amq.fanout", 1, 2);
    await until(() => got.length === 2);
    await sub.pause();
    assert.equal(sub.state, "paused");
    await gateway.publish("amq.fanout", 3, 50);
    assert.equal(got.length, 2);
    await sub.resume();
    await until(() => got.length === 50);
    assert.deepEqual(got, numbers(1, 50));
  });

  test(`what is kept may be more than the client holds over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const warren = client(t, gateway.url, { transport });
    const first = await warren.subscribe({ exchange: "amq.fanout" });
    await gateway.publish("amq.fanout", 1, 200);
    await until(() => first.position.endsWith(".200"));
    const sub = await warren.subscribe({ exchange: "amq.fanout" }, { from: "earliest", highWater: 8, signal: AbortSignal.timeout(10_000) });
    assert.deepEqual((await take(sub.messages(), 200)).map(payload), numbers(1, 200));
  });

  test(`a slow reader over ${transport} holds a bounded number of frames and gets exact gaps`, async (t) => {
    const gateway = await Gateway.start(t, "--log-frames", "2000");
    const sub = await client(t, gateway.url, { transport, highWater: 100 }).subscribe({ exchange: "amq.fanout" });
    const padding = "x".repeat(2000);
    const total = 6000;
    await gateway.publish("amq.fanout", 1, total, { padding });
    const arrived = Number(sub.position.split(".").pop());
    assert.ok(arrived < total, `${arrived} frames were taken at once`);
    let expected = 1;
    let gaps = 0;
    for await (const frame of sub.frames()) {
      if (frame.type === "message") assert.equal(frame.payload.n, expected++);
      if (frame.type === "gap") {
        assert.equal(frame.reason, "evicted");
        expected += frame.missed;
        gaps++;
      }
      if (expected > total) break;
    }
    assert.ok(gaps > 0, "the log was shorter than what was published");
  });
}

test("refusals stop the client with the gateway's reason", async (t) => {
  const gateway = await Gateway.start(t, "--deny-exchange", "secret*");
  await gateway.declare("secrets");
  for (const transport of ["ws", "sse"]) {
    const warren = client(t, gateway.url, { transport });
    await assert.rejects(warren.subscribe({ exchange: "secrets" }), { code: "forbidden_binding", closeCode: 4403 });
    await assert.rejects(warren.subscribe({ exchange: "nowhere" }), { code: "exchange_not_found", closeCode: 4404 });
    await assert.rejects(warren.subscribe({ exchange: "amq.topic", routing_key: "x".repeat(300) }), { code: "invalid_request" });
  }
});

test("a lost subscription is the same on SSE that comes back after a deletion", async (t) => {
  const gateway = await Gateway.start(t);
  const warren = client(t, gateway.url);
  const sub = await warren.subscribe({ exchange: "amq.fanout" }, { share: false });
  const gaps = collect(sub, "gap", (gap) => gap.reason);
  const got = collect(sub, "message", payload);
  const { id } = sub;
  await warren.request("DELETE", `/v1/subscriptions/${id}`);
  await until(() => sub.id !== id && sub.state === "live");
  await gateway.publish("amq.fanout", 1);
  await until(() => got.length === 1);
  assert.deepEqual(gaps, ["subscription_lost"]);
});

for (const transport of ["ws", "sse"]) {
  test(`a token is no obstacle where none is needed, over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const sub = await client(t, gateway.url, { transport, token: "not.a.token" }).subscribe({ exchange: "amq.fanout" });
    const got = collect(sub, "message", payload);
    await gateway.publish("amq.fanout", 1);
    await until(() => got.length === 1);
    assert.equal(sub.state, "live");
  });
}
