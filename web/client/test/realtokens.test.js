// The real gateway in token mode.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { Gateway } from "../testing/gateway.js";
import { client, collect } from "../testing/setup.js";

for (const transport of ["ws", "sse"]) {
  test(`tokens are presented, renewed and refused over ${transport}`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "warren-"));
    t.after(() => rmSync(directory, { recursive: true }));
    const secret = "a secret that is long enough for HS256 keys";
    writeFileSync(join(directory, "key"), secret);
    const mint = (seconds, bind = [{ exchange: "amq.*", routing_key: "#" }]) => {
      const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
      const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: "alice", exp: Math.floor(Date.now() / 1000) + seconds, warren: { bind } })}`;
      return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
    };
    const gateway = await Gateway.start(t, "--jwt-key", join(directory, "key"), "--jwt-hs256");
    await assert.rejects(client(t, gateway.url, { transport }).subscribe({ exchange: "amq.fanout" }), { code: "unauthorized" });
    await assert.rejects(client(t, gateway.url, { transport, token: mint(60, []) }).subscribe({ exchange: "amq.fanout" }), { code: "forbidden_binding" });

    let asked = 0;
    const sub = await client(t, gateway.url, { transport, token: async () => mint(asked++ ? 600 : 6) }).subscribe({ exchange: "amq.fanout" });
    const states = collect(sub, "state", ({ state }) => state);
    await until(() => asked === 2, "the token was renewed", 10_000);
    const old = client(t, gateway.url, { transport, token: mint(4) });
    const stale = await old.subscribe({ exchange: "amq.fanout" });
    await until(() => stale.state === "closed", "an expired string ends the stream", 10_000);
    assert.equal(stale.error.closeCode, 4401);
    assert.equal(sub.state, "live");
    assert.deepEqual(states.filter((state) => state !== "live"), [], "renewing does not interrupt the stream");
  });
}
