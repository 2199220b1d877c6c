// 100,000 numbered messages, 20 cuts of the network and 5 forced changes of transport.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { Gateway } from "../testing/gateway.js";
import { Proxy } from "../testing/proxy.js";
import { client } from "../testing/setup.js";

const total = 100_000;
const changes = ["sse", "ws", "sse", "ws", "sse"];

test("every message comes once and in order, or a gap counts what is missing", async (t) => {
  const gateway = await Gateway.start(t);
  const proxy = await Proxy.start(t, gateway.port);
  const sub = await client(t, proxy.url, { retryBase: 10, retryCap: 100, upgradeAfter: 50 }).subscribe({ exchange: "amq.fanout" });
  const transports = [sub.transport];
  sub.on("state", ({ transport }) => transport && transport !== transports.at(-1) && transports.push(transport));

  let received = 0;
  let missed = 0;
  let cuts = 0;
  let next = 3500;
  let wanted = "ws";
  let sent = 0;
  const gaps = [];
  // The publisher stays within what the log holds, and waits for a change of transport to have happened.
  const publishing = gateway.publish("amq.fanout", 1, total, {
    paced: (n) => {
      sent = n;
      return until(() => n - received - missed < 12_000 && (sub.transport ?? wanted) === wanted, "the reader keeps up", 20_000);
    },
  });

  for await (const frame of sub.frames()) {
    if (frame.type === "gap") {
      gaps.push(frame);
      missed += frame.missed;
    } else if (frame.type === "message") {
      received++;
      if (frame.payload !== received + missed) assert.equal(frame.payload, received + missed, JSON.stringify(gaps));
    }
    const seen = received + missed;
    if (seen >= total) break;
    if (frame.type !== "message" || cuts === 22 || seen < next || sub.transport !== wanted) continue;
    cuts++;
    next = seen + 3500;
    if (cuts % 4 === 0 && changes.length) { // the way of the transport changes as well
      wanted = changes.shift();
      proxy.blockWebSocket = wanted === "sse";
    }
    proxy.cut();
  }
  await publishing;
  t.diagnostic(`${received} received, ${missed} missed in ${gaps.length} gaps, ${cuts} cuts, transports ${transports.join(" ")}`);
  assert.equal(received + missed, total);
  assert.equal(sent, total);
  assert.equal(cuts, 22);
  assert.deepEqual(transports, ["ws", "sse", "ws", "sse", "ws", "sse"]);
});
