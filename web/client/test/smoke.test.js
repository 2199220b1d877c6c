import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { Warren } from "../warren.js";
import { FakeGateway, until } from "./fakegateway.js";

for (const transport of ["ws", "sse"]) {
  test(`five lines over ${transport}`, async () => {
    const gateway = await FakeGateway.start();
    const warren = new Warren(gateway.url, { WebSocket, transport });
    const opening = warren.subscribe([{ exchange: "builds", routing_key: "linux.#" }]);
    const a = await gateway.attached();
    a.ready().messages(1, 3);
    const sub = await opening;
    assert.equal(sub.state, "live");
    const got = [];
    for await (const message of sub) { got.push(message.payload); if (got.length === 3) break; }
    assert.deepEqual(got, [1, 2, 3]);
    assert.equal(sub.state, "closed");
    await until(() => a.closed);
    await gateway.stop();
  });
}
