import assert from "node:assert/strict";
import { test } from "node:test";
import { filter } from "../filter.js";
import { Store, View } from "../store.js";

const message = (key, payload = "") => ({ type: "message", exchange: "e", routing_key: key, payload, payload_encoding: "string", properties: {} });
const keys = (view) => Array.from({ length: view.length }, (_, i) => view.at(i).routing_key);

function fill(limits, n, make = (i) => message(`k.${i}`)) {
  const store = new Store(limits);
  const view = new View(store);
  const add = (entry) => view.add(store.add(entry));
  for (let i = 0; i < n; i++) add(make(i));
  return { store, view, add };
}

test("the newest comes first, and the oldest gives way", () => {
  const { store, view } = fill({ maxEntries: 3 }, 5);
  assert.deepEqual(keys(view), ["k.4", "k.3", "k.2"]);
  assert.equal(store.dropped, 2);
  assert.equal(store.get(1), undefined);
});

test("large payloads give way sooner, but one always stays", () => {
  const { store } = fill({ maxChars: 100 }, 4, (i) => message(`k.${i}`, "x".repeat(60)));
  assert.equal(store.length, 1);
  store.add(message("huge", "x".repeat(1000)));
  assert.equal(store.length, 1);
});

test("headers count as payloads do, and so do markers", () => {
  const headers = (i) => ({ ...message(`k.${i}`), properties: { headers: { x: "x".repeat(60) } } });
  assert.equal(fill({ maxChars: 200 }, 10, headers).store.length, 2);
  assert.equal(fill({ maxChars: 200 }, 10, () => message("k".repeat(60))).store.length, 3);
  assert.equal(fill({ maxChars: 200 }, 10, () => ({ type: "gap", frame: { routing_key: "k".repeat(60) } })).store.length, 2);
  const { store, add } = fill({ maxChars: 200 }, 10, headers);
  store.clear();
  for (let i = 0; i < 2; i++) add(headers(i));
  assert.equal(store.length, 2);
});

test("a view that is held shows nothing newer, and says how much came", () => {
  const { view, add } = fill({}, 3);
  view.hold(true);
  add(message("k.3"));
  add(message("k.4"));
  assert.deepEqual(keys(view), ["k.2", "k.1", "k.0"]);
  assert.equal(view.pending, 2);
  view.hold(false);
  assert.equal(view.at(0).routing_key, "k.4");
});

test("a held view empties from its end when the store is full", () => {
  const { view, add } = fill({ maxEntries: 4 }, 4);
  view.hold(true);
  for (let i = 4; i < 7; i++) add(message(`k.${i}`));
  assert.deepEqual(keys(view), ["k.3"]);
  for (let i = 7; i < 20; i++) add(message(`k.${i}`));
  assert.deepEqual(keys(view), []);
  assert.equal(view.pending, 4);
});

test("a view that nobody looks at does not grow", () => {
  const { view, add } = fill({ maxEntries: 4 }, 1);
  view.hold(true);
  for (let i = 1; i <= 1000; i++) add(message(`k.${i}`));
  assert.equal(view.pending, 4);
});

test("a filter finds by text anywhere and by key, and lets markers through", () => {
  const { store, view, add } = fill({}, 0);
  add({ type: "ready", frame: {} });
  add(message("linux.a", "Hello (World)"));
  add(message("windows.a", "hello (world)"));
  add({ ...message("linux.b"), properties: { headers: { who: "World" } } });
  view.filter(filter({ text: "(WORLD)" }));
  assert.equal(view.messages, 2);
  view.filter(filter({ text: "world", key: "linux.*" }));
  assert.deepEqual(keys(view), ["linux.b", "linux.a", undefined]);
  add(message("linux.c", "world"));
  add(message("linux.d", "nothing"));
  assert.equal(view.at(0).routing_key, "linux.c");
  view.filter(filter({}));
  assert.equal(view.length, store.length);
});

test("an entry is found at its place", () => {
  const { view } = fill({ maxEntries: 50 }, 120, (i) => message(i % 3 ? "odd" : "even"));
  view.filter(filter({ key: "even" }));
  for (let i = 0; i < view.length; i++) assert.equal(view.indexOf(view.at(i).seq), i);
  assert.equal(view.indexOf(1), -1);
});

test("50,000 messages are filtered within a moment", () => {
  const { view } = fill({}, 50_000, (i) => message(`linux.amd64.${i}`, `{"build":${i},"state":"passed"}`));
  const begun = performance.now();
  view.filter(filter({ text: "49999", key: "linux.#" }));
  assert.equal(view.length, 1);
  assert.ok(performance.now() - begun < 5000);
});
