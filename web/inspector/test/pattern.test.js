import assert from "node:assert/strict";
import { test } from "node:test";
import { explain, matches, route } from "../pattern.js";

test("patterns match as RabbitMQ has it", () => {
  const cases = [
    ["#", "", true], ["#", "a.b", true], ["*", "", false], ["*", "a", true], ["*", "a.b", false],
    ["a.#", "a", true], ["a.#", "a.b.c", true], ["a.#", "ab", false], ["#.c", "a.b.c", true], ["a.*.c", "a.b.c", true],
    ["a.*.c", "a..c", true], ["a.*.c", "a.c", false], ["#.b.#", "a.b.c", true], ["#.b.#", "b", true], ["a*", "ab", false],
    ["a*", "a*", true], ["", "", true], ["", "a", false], ["*.#", "", false], ["*.#", ".", true], ["#.#", "", true],
  ];
  for (const [pattern, key, want] of cases) assert.equal(matches(pattern, key), want, `${pattern} and ${key}`);
});

test("patterns match as a regular expression would, whatever they are", () => {
  const words = ["a", "b", "", "*", "#"];
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const text = (from) => Array.from({ length: random(6) }, () => words[random(from)]).join(".");
  for (let i = 0; i < 5000; i++) {
    const [pattern, key] = [text(5), text(3)];
    const want = oracle(pattern === "" ? [] : pattern.split("."), key === "" ? [] : key.split("."));
    assert.equal(matches(pattern, key), want, `${pattern} and ${key}`);
    const { matched, parts, rest } = explain(pattern, key);
    assert.equal(matched, want, `${pattern} and ${key}, explained`);
    // Whatever was taken, with what is left, is the key.
    assert.equal([...parts.flatMap(({ took }) => took ?? []), ...rest].join("."), key, `${pattern} and ${key}, in parts`);
  }
});

function oracle(pattern, key) {
  if (!pattern.length) return !key.length;
  const [word, ...rest] = pattern;
  if (word === "#") return oracle(rest, key) || (key.length > 0 && oracle(pattern, key.slice(1)));
  return key.length > 0 && (word === "*" || word === key[0]) && oracle(rest, key.slice(1));
}

test("an explanation says which word took what", () => {
  const { parts } = explain("linux.#.passed", "linux.amd64.warren.passed");
  assert.deepEqual(parts, [
    { word: "linux", took: ["linux"] }, { word: "#", took: ["amd64", "warren"] }, { word: "passed", took: ["passed"] },
  ]);
});

test("an explanation says why not", () => {
  assert.equal(explain("linux.*.warren", "linux.amd64.burrow").why, "“burrow” is not “warren”");
  assert.equal(explain("linux.*", "linux.amd64.burrow").why, "the pattern ends, and “burrow” is left");
  assert.equal(explain("linux.*.*", "linux").why, "the key ends, and 2 more words would have to come");
});

test("a long key with many wildcards is judged at once", () => {
  const begun = performance.now();
  matches(Array(40).fill("#").join(".") + ".z", Array(120).fill("a").join("."));
  assert.ok(performance.now() - begun < 2000);
});

test("the type of the exchange decides", () => {
  const binding = { exchange: "e", routing_key: "a.*" };
  assert.equal(route(binding, "fanout", "whatever").matched, true);
  assert.equal(route(binding, "direct", "a.b").matched, false);
  assert.equal(route(binding, "direct", "a.*").matched, true);
  assert.equal(route(binding, "headers", "a.b").matched, null);
  assert.equal(route(binding, "topic", "a.b").matched, true);
  assert.equal(route(binding, undefined, "a.b").assumed, true);
});
