// Many messages, and many a second.
import assert from "node:assert/strict";
import { test } from "node:test";
import { flood, gateway } from "./gateway.js";
import { open, start, until } from "./page.js";

test("50,000 messages are a list like any other", async (t) => {
  const server = await gateway(t);
  const page = await open(t, server.url);
  const result = await page.evaluate(async () => {
    const { List } = await import("/inspector/list.js");
    const { Store, View } = await import("/inspector/store.js");
    const { filter } = await import("/inspector/filter.js");
    const store = new Store();
    const view = new View(store);
    const box = document.createElement("div");
    box.className = "list";
    document.querySelector(".stage").append(box);
    const list = new List(box, view, { pick() {}, moved() {}, drawn() {} });
    const payload = JSON.stringify({ project: "warren", state: "passed", padding: "x".repeat(200) });
    for (let i = 0; i < 60_000; i++) {
      view.add(store.add({ type: "message", time: i, id: `s.${i}`, exchange: "e", routing_key: `linux.${i}`, properties: {}, payload, payload_encoding: "string", size: payload.length }));
    }
    const once = (work) => {
      const begun = performance.now();
      work();
      box.getBoundingClientRect();
      return performance.now() - begun;
    };
    const timed = (work) => Math.min(once(work), once(work), once(work)); // others use the machine too
    const key = (i) => box.querySelectorAll(".entry")[i]?.querySelector(".key").textContent;
    list.draw();
    const draw = timed(() => list.draw());
    const top = key(0);
    const scroll = timed(() => {
      box.scrollTop = box.scrollTop === 800_000 ? 1_200_000 : 800_000;
      list.draw();
    });
    const rows = box.querySelectorAll(".entry").length;
    box.scrollTop = 1e9;
    list.draw();
    const bottom = [...box.querySelectorAll(".key")].some(({ textContent }) => textContent === "linux.10000");
    const search = timed(() => {
      view.filter(filter({ text: "nothing like it", key: "linux.#" }));
      list.draw();
    });
    return { length: store.length, dropped: store.dropped, top, bottom, rows, draw, scroll, search };
  });
  t.diagnostic(JSON.stringify(result));
  assert.equal(result.length, 50_000);
  assert.equal(result.dropped, 10_000);
  assert.equal(result.top, "linux.59999");
  assert.ok(result.bottom, "the oldest that is kept is at the end");
  assert.ok(result.rows < 60, `${result.rows} rows exist`);
  assert.ok(result.draw < 50 && result.scroll < 100 && result.search < 1000, JSON.stringify(result));
});

test("a row whose message gave way since it was drawn is not chosen", async (t) => {
  const server = await gateway(t);
  const page = await open(t, server.url);
  const picked = await page.evaluate(async () => {
    const { List } = await import("/inspector/list.js");
    const { Store, View } = await import("/inspector/store.js");
    const store = new Store({ maxEntries: 2 });
    const view = new View(store);
    const box = document.createElement("div");
    box.className = "list";
    document.querySelector(".stage").append(box);
    const picked = [];
    const list = new List(box, view, { pick: (entry) => picked.push(entry.routing_key), moved() {}, drawn() {} });
    const add = (key) => view.add(store.add({ type: "message", time: 0, exchange: "e", routing_key: key, properties: {}, payload: "", payload_encoding: "string", size: 0 }));
    const press = (key) => [...box.querySelectorAll(".entry")].find((row) => row.textContent.includes(key))
      .dispatchEvent(new PointerEvent("pointerdown", { bubbles: true, pointerType: "mouse" }));
    ["k.0", "k.1"].forEach(add);
    list.draw();
    press("k.1");
    add("k.2");
    press("k.0"); // not drawn anew yet
    return [...picked, store.get(list.selected).routing_key];
  });
  assert.deepEqual(picked, ["k.1", "k.1"]);
});

test("500 messages a second keep the page at 50 frames a second", async (t) => {
  const server = await gateway(t);
  await server.declare("e");
  const page = await open(t, `${server.url}/?exchange=e&routing_key=%23`, { viewport: { width: 1440, height: 900 } });
  await start(page);
  const load = flood(server.url, 500);
  t.after(load.stop);
  await until(async () => Number(await page.locator("#rate-now").textContent()) >= 400, "500 messages a second");
  const cpu = await processor(page);
  // A machine that is shared has bad moments, in which not even an empty page is drawn 50 times a second.
  const idle = await open(t, server.url);
  let [best, empty] = [0, 0];
  for (let i = 0; i < 4 && best < Math.min(50, 0.9 * (empty || 60)); i++) {
    await page.bringToFront();
    best = Math.max(best, await page.evaluate(frames));
    if (best >= 50) break;
    await idle.bringToFront();
    empty = Math.max(empty, await idle.evaluate(frames));
  }
  t.diagnostic(`${best.toFixed(1)} frames a second${empty ? `, an empty page ${empty.toFixed(1)}` : ""}; ${(cpu * 100).toFixed(0)} % of a processor`);
  // It was 0.26 to 0.34 on a slow machine; nothing that grows with the list would stay below twice that.
  assert.ok(cpu < 0.6, `the page takes ${cpu} of a processor: frames would be late on a slower one`);
  assert.ok(best >= Math.min(50, 0.9 * (empty || 60)), `${best} frames a second`);
});

// What the page's main thread takes of a processor, measured for two seconds.
async function processor(page) {
  const debug = await page.context().newCDPSession(page);
  await debug.send("Performance.enable", { timeDomain: "threadTicks" });
  const read = async () => {
    const { metrics } = await debug.send("Performance.getMetrics");
    const value = (wanted) => metrics.find(({ name }) => name === wanted).value;
    return [value("TaskDuration"), value("Timestamp")];
  };
  const [work, begun] = await read();
  await page.evaluate(frames);
  const [done, end] = await read();
  return (done - work) / (end - begun);
}

// Runs in the page: counts frames for two seconds.
function frames() {
  return new Promise((resolve) => {
    const begun = performance.now();
    let n = 0;
    const frame = (now) => {
      n++;
      if (now - begun < 2000) requestAnimationFrame(frame);
      else resolve((n * 1000) / (now - begun));
    };
    requestAnimationFrame(frame);
  });
}
