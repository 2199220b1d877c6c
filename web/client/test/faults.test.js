// The real gateway behind a network that breaks, and one that goes away.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { Gateway } from "../testing/gateway.js";
import { Proxy } from "../testing/proxy.js";
import { client, collect, numbers, payload } from "../testing/setup.js";

for (const transport of ["ws", "sse"]) {
  test(`a gateway that restarts is found again, with one gap, over ${transport}`, async (t) => {
    const gateway = await Gateway.start(t);
    const warren = client(t, gateway.url, { transport });
    for (const share of [true, false]) {
      const sub = await warren.subscribe({ exchange: "amq.fanout" }, { share });
      const gaps = collect(sub, "gap", ({ reason, missed }) => ({ reason, missed }));
      const got = collect(sub, "message", payload);
      await gateway.publish("amq.fanout", 1, 3);
      await until(() => got.length === 3);
      await gateway.restart();
      await sub.whenReady();
      await gateway.publish("amq.fanout", 4, 6);
      await until(() => got.length === 6);
      assert.deepEqual(got, numbers(1, 6));
      assert.deepEqual(gaps, [{ reason: "subscription_lost", missed: null }]);
      await sub.close();
    }
  });

  test(`a stream that dies silently over ${transport} is noticed and taken up again`, async (t) => {
    const gateway = await Gateway.start(t, "--heartbeat", "1s");
    const proxy = await Proxy.start(t, gateway.port);
    const sub = await client(t, proxy.url, { transport, heartbeat: 60_000 }).subscribe({ exchange: "amq.fanout" });
    const got = collect(sub, "message", payload);
    const states = collect(sub, "state");
    const pings = collect(sub, "ping");
    await until(() => pings.length >= 2, "two pings", 10_000);
    proxy.blackhole = true;
    await until(() => sub.state === "recovering", "noticed", 10_000);
    assert.equal(states[0].reason, "timeout");
    await gateway.publish("amq.fanout", 1, 3);
    proxy.blackhole = false;
    proxy.cut();
    await until(() => got.length === 3, "the messages", 10_000);
  });
}

test("a drained gateway is left at its word and found again", async (t) => {
  const gateway = await Gateway.start(t);
  const sub = await client(t, gateway.url).subscribe({ exchange: "amq.fanout" });
  const states = collect(sub, "state");
  await gateway.restart("SIGTERM");
  await until(() => sub.state === "live", "live again", 20_000);
  assert.equal(states[0].reason, "shutting_down");
  assert.ok(states[0].retry_ms >= 500);
});

test("a WebSocket that does not come through gives way to SSE and comes back", async (t) => {
  const gateway = await Gateway.start(t);
  const proxy = await Proxy.start(t, gateway.port);
  proxy.blockWebSocket = true;
  const sub = await client(t, proxy.url, { upgradeAfter: 300 }).subscribe({ exchange: "amq.fanout" });
  const got = collect(sub, "message", payload);
  assert.equal(sub.transport, "sse");
  const publishing = gateway.publish("amq.fanout", 1, 5000);
  proxy.blockWebSocket = false;
  await until(() => sub.transport === "ws");
  await publishing;
  await until(() => got.length >= 5000);
  assert.deepEqual(got, numbers(1, 5000));
});
