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
    const timed = (work) => {
      const begun = performance.now();
      work();
      box.getBoundingClientRect();
      return performance.now() - begun;
    };
    const key = (i) => box.querySelectorAll(".entry")[i]?.querySelector(".key").textContent;
    list.draw();
    const draw = timed(() => list.draw());
    const top = key(0);
    const scroll = timed(() => {
      box.scrollTop = 25_000 * 32;
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

test("500 messages a second keep the page at 50 frames a second", async (t) => {
  const server = await gateway(t);
  await server.declare("e");
  const page = await open(t, `${server.url}/?exchange=e&routing_key=%23`, { viewport: { width: 1440, height: 900 } });
  await start(page);
  const load = flood(server.url, 500);
  t.after(load.stop);
  await until(async () => Number(await page.locator("#rate-now").textContent()) >= 450, "500 messages a second");
  // A machine that tests share has bad moments: the page must reach it in one of some windows.
  let best = { fps: 0 };
  for (let i = 0; i < 5 && best.fps < 50; i++) {
    const now = await page.evaluate(frames);
    if (now.fps > best.fps) best = now;
  }
  t.diagnostic(`${best.fps.toFixed(1)} frames a second, the longest ${best.longest.toFixed(0)} ms, at ${await page.locator("#rate-now").textContent()} messages a second`);
  assert.ok(best.fps >= 50, `${best.fps} frames a second`);
});

// Runs in the page: counts frames for two seconds.
function frames() {
  return new Promise((resolve) => {
    const begun = performance.now();
    let [n, last, longest] = [0, begun, 0];
    const frame = (now) => {
      n++;
      longest = Math.max(longest, now - last);
      last = now;
      const took = now - begun;
      if (took < 2000) requestAnimationFrame(frame);
      else resolve({ fps: (n * 1000) / took, longest });
    };
    requestAnimationFrame(frame);
  });
}
