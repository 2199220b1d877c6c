// What the network and the gateway do to a page: cuts, restarts, a blocked WebSocket. EventSource without a library, the
// client, and the inspector.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gateway, numbers, publishNumbers } from "./gateway.js";
import { expectKeys, open, rows, start, state, theBrowser, until } from "./page.js";
import { proxy } from "./proxy.js";

/** A gateway behind a network, and a page of it. */
async function setup(t, path = "/") {
  const network = await proxy(t);
  const run = async () => {
    const server = await gateway(t, [], { behind: network.url });
    await server.declare("e");
    network.target = server.port; // now: an EventSource that is refused does not come again
    return server;
  };
  const server = await run();
  const page = await open(t, network.url + path);
  return { network, server, page, run };
}

/** Opens a plain EventSource in the page; `events()` are [type, id, data] of what came. */
async function eventSource(page) {
  await page.evaluate(() => {
    window.events = [];
    window.source = new EventSource("/v1/sse?exchange=e");
    for (const type of ["ready", "message", "gap", "bye"]) {
      source.addEventListener(type, ({ lastEventId, data }) => window.events.push([type, lastEventId, JSON.parse(data)]));
    }
  });
  return {
    events: () => page.evaluate(() => window.events),
    numbers: () => page.evaluate(() => window.events.filter(([type]) => type === "message").map(([, , { payload }]) => payload)),
    types: () => page.evaluate(() => window.events.map(([type]) => type)),
  };
}

test("a plain EventSource that is cut before its first message misses nothing", async (t) => {
  const { network, server, page } = await setup(t);
  const source = await eventSource(page);
  await until(async () => (await source.types()).includes("ready"), "ready");
  network.up = false;
  network.cut();
  await publishNumbers(server, 1, 5);
  network.up = true;
  await until(async () => (await source.numbers()).length >= 5, "the messages");
  await publishNumbers(server, 6, 8);
  await until(async () => (await source.numbers()).length >= 8, "the rest");
  assert.deepEqual(await source.numbers(), numbers(1, 8));
  assert.deepEqual([...new Set(await source.types())], ["ready", "message"], "no gap");
});

test("a plain EventSource that is cut again and again gets everything once and in order", async (t) => {
  const { network, server, page } = await setup(t);
  const source = await eventSource(page);
  await until(async () => (await source.types()).includes("ready"), "ready");
  for (let round = 0; round < 2; round++) {
    await publishNumbers(server, round * 100 + 1, round * 100 + 50);
    await until(async () => (await source.numbers()).length > round * 100 + 10, "some messages");
    network.cut();
    await publishNumbers(server, round * 100 + 51, round * 100 + 100);
  }
  await until(async () => (await source.numbers()).length >= 200, "all messages");
  assert.deepEqual(await source.numbers(), numbers(1, 200));
  assert.ok(!(await source.types()).includes("gap"));
});

test("a plain EventSource hears of a gateway that was started anew", async (t) => {
  const { server, page, run } = await setup(t);
  const source = await eventSource(page);
  await until(async () => (await source.types()).includes("ready"), "ready");
  await publishNumbers(server, 1, 2);
  await until(async () => (await source.numbers()).length === 2, "two messages");
  await server.stop();
  const next = await run();
  await until(async () => (await source.types()).includes("gap"), "the gap");
  assert.equal((await source.events()).find(([type]) => type === "gap")[2].reason, "subscription_lost");
  await publishNumbers(next, 3, 4);
  await until(async () => (await source.numbers()).length === 4, "what comes after");
});

test("the five lines of the client work in a page, and a WebSocket that is blocked gives way to Server-Sent Events", async (t) => {
  const { network, server, page } = await setup(t);
  const listen = () => page.evaluate(async () => {
    const { Warren } = await import("/warren.js");
    const warren = new Warren(undefined, { retryBase: 50 });
    const sub = await warren.subscribe([{ exchange: "e", routing_key: "#" }]);
    window.sub = sub;
    window.got = [];
    (async () => { for await (const message of sub) window.got.push(message.payload); })();
    return sub.transport;
  });
  const got = () => page.evaluate(() => window.got);
  assert.equal(await listen(), "ws");
  await publishNumbers(server, 1, 3);
  await until(async () => (await got()).length === 3, "three by WebSocket");

  network.refuse("Upgrade: websocket");
  network.cut();
  await publishNumbers(server, 4, 6);
  await until(async () => (await got()).length === 6, "three more by Server-Sent Events");
  assert.equal(await page.evaluate(() => window.sub.transport), "sse");
  assert.deepEqual(await got(), numbers(1, 6));
  await page.evaluate(() => window.sub.close());
  assert.equal(await listen(), "sse");
});

test("a page whose policy forbids WebSockets listens by Server-Sent Events, and does not wait for a close that never comes", async (t) => {
  const server = await gateway(t);
  await server.declare("e");
  const page = await (await theBrowser()).newPage(); // that of open() must not break its policy
  t.after(() => page.close());
  await page.route("**/page", (route) => route.fulfill({ contentType: "text/html", headers: { "Content-Security-Policy": `connect-src ${server.url}` }, body: "" }));
  await page.goto(`${server.url}/page`);
  const transport = await page.evaluate(async () => {
    const { Warren } = await import("/warren.js");
    const warren = new Warren(undefined, { retryBase: 50, timeout: 1e9 });
    const sub = await warren.subscribe({ exchange: "e" }, { signal: AbortSignal.timeout(15_000) });
    return sub.transport;
  });
  assert.equal(transport, "sse");
});

test("a client that reads slowly gets everything, and does not hold it all in the page", async (t) => {
  const { server, page } = await setup(t);
  await page.evaluate(async () => {
    const { Warren } = await import("/warren.js");
    const sub = await new Warren(undefined, { highWater: 20 }).subscribe([{ exchange: "e", routing_key: "#" }]);
    Object.assign(window, { got: [], let: null, states: [] });
    sub.on("state", ({ state: word }) => window.states.push(word));
    sub.on("message", ({ payload }) => {
      window.got.push(payload);
      return new Promise((resolve) => { window.let = resolve; });
    });
  });
  await publishNumbers(server, 1, 300);
  const all = await page.evaluate(async () => {
    const end = Date.now() + 60_000;
    while (window.got.length < 300 && Date.now() < end) {
      window.let?.();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    return window.got;
  });
  assert.deepEqual(all, numbers(1, 300));
});

test("the inspector recovers from a cut without loss and says what it does", async (t) => {
  const { network, server, page } = await setup(t, "/?exchange=e&routing_key=%23");
  await start(page);
  await publishNumbers(server, 1, 2);
  await expectKeys(page, ["k.2", "k.1"]);
  network.up = false;
  network.cut();
  await state(page, "recovering");
  await publishNumbers(server, 3, 4);
  network.up = true;
  await state(page, "live");
  await expectKeys(page, ["k.4", "k.3", "k.2", "k.1"]);
  await page.locator('.entry[data-type="ready"]', { hasText: "goes on where it was" }).waitFor();
  assert.equal(await page.locator('.entry[data-type="gap"]').count(), 0);
});

test("a change that waits for the network when Stop is pressed stays in the form, without a complaint", async (t) => {
  const { network, page } = await setup(t, "/?exchange=e&routing_key=%23");
  await start(page);
  network.up = false;
  network.cut();
  await state(page, "recovering");
  await page.locator("#binding-form [name=exchange]").fill("f");
  await page.locator("#binding-form [name=exchange]").press("Enter");
  await page.locator("#bindings li[aria-busy=true]").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await state(page, "closed");
  await until(async () => (await page.locator("#bindings li[aria-busy=false]").count()) === 2, "both bindings, settled");
  assert.ok(await page.locator("#notice").isHidden());
});

test("the inspector outlives a restart of the gateway, and shows the gap at its place", async (t) => {
  const { server, page, run } = await setup(t, "/?exchange=e&routing_key=%23");
  await start(page);
  await publishNumbers(server, 1, 1);
  await rows(page, "k.1").waitFor();
  await server.stop();
  await state(page, "recovering");
  await until(async () => /gateway|attempt/.test(await page.locator("#state-detail").textContent()), "the reason");
  const next = await run();
  await state(page, "live");
  await page.locator('.entry[data-type="gap"]', { hasText: "an unknown number of messages missing here" }).waitFor();
  await publishNumbers(next, 2, 2);
  await expectKeys(page, ["k.2", "k.1"]);
});

test("a gateway that cannot be reached is said, and tried again by hand", async (t) => {
  const { network, page } = await setup(t, "/?exchange=e&routing_key=%23");
  network.up = false;
  network.cut();
  await page.locator("#start").click();
  await page.locator("#notice", { hasText: "The gateway cannot be reached" }).waitFor();
  network.up = true;
  await page.getByRole("button", { name: "Start again" }).click();
  await state(page, "live");
});

// A broker that goes away needs a broker: the network to it is cut.
if (process.env.WARREN_TEST_AMQP_URL) {
  test("the inspector shows that the broker was lost and found again", async (t) => {
    const broker = new URL(process.env.WARREN_TEST_AMQP_URL);
    const network = await proxy(t, Number(broker.port || 5672));
    broker.hostname = "127.0.0.1";
    broker.port = String(network.port);
    const server = await gateway(t, ["--broker", broker.href]);
    const page = await open(t, `${server.url}/?exchange=amq.topic&routing_key=%23`);
    await start(page);
    assert.ok(await page.locator("#publish-tool").isHidden(), "there is nothing to publish with");
    network.cut();
    await page.locator('.entry[data-type="gap"]', { hasText: "lost the broker and found it again" }).waitFor();
    await state(page, "live");
  });
}
