import assert from "node:assert/strict";
import { test } from "node:test";
import { read, same, write } from "../urlstate.js";

const state = (bindings, text = "", key = "") => ({ bindings, text, key });

test("what is written is read again", () => {
  const states = [
    state([]),
    state([{ exchange: "builds", routing_key: "#" }]),
    state([{ exchange: "a&b=c#%", routing_key: "*.ü.#" }, { exchange: "deploys", routing_key: "#" }], "text & more", "linux.#"),
    state([{ exchange: "h", routing_key: "", arguments: { "x-match": "all", n: 1 } }, { exchange: "e", routing_key: "k" }]),
    state([{ exchange: "e", routing_key: "" }]),
  ];
  for (const wanted of states) assert.deepEqual(read(write(wanted)), wanted);
});

test("an empty state is an empty query", () => assert.equal(write(state([])), ""));

test("plain bindings are written as the gateway's streams take them", () => {
  assert.equal(write(state([{ exchange: "builds", routing_key: "linux.#" }])), "?exchange=builds&routing_key=linux.%23");
});

test("a link without keys means everything", () => {
  assert.deepEqual(read("?exchange=a&exchange=b").bindings, [{ exchange: "a", routing_key: "#" }, { exchange: "b", routing_key: "#" }]);
});

test("a broken link opens an empty form", () => {
  for (const query of ["?bindings=%7B", "?bindings=3", "?bindings=[null,3,{}]", "?exchange=", "?routing_key=a", "?bindings=[{\"exchange\":3}]", "?bindings={\"length\":1}",
    `?bindings=[{"exchange":"e","arguments":{"a":${"[".repeat(20_000)}${"]".repeat(20_000)}}}]`]) {
    assert.deepEqual(read(query).bindings, [], query.slice(0, 100));
  }
});

test("the same binding twice counts once", () => {
  assert.equal(read("?exchange=a&exchange=a").bindings.length, 1);
  assert.ok(same({ exchange: "a", routing_key: "#", arguments: { x: 1, y: 2 } }, { exchange: "a", routing_key: "#", arguments: { y: 2, x: 1 } }));
});
