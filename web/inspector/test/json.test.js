import assert from "node:assert/strict";
import { test } from "node:test";
import { compact, isJSON, parse } from "../json.js";

// A node as the value that JSON.parse would make.
function value({ kind, value: text, entries }) {
  if (kind === "object") return Object.fromEntries(entries.map(([name, node]) => [name, value(node)]));
  if (kind === "array") return entries.map(([, node]) => value(node));
  return kind === "string" ? text : JSON.parse(text);
}

test("JSON is read as JSON.parse reads it", () => {
  const texts = [
    "null", " true ", "-0.5e+10", '""', '"a\\"b\\\\"', '"\\u00fc\\n"', "[]", "{}", "[[],{}]", ' { "a" : [ 1 , 2.50 , "x" ] , "b" : { "c" : null } } ',
    '[1,[2,[3,[4]]],{"a":{"b":[{}]}}]', '{"":0}', '"\\\\"',
  ];
  for (const text of texts) assert.deepEqual(value(parse(text)), JSON.parse(text), text);
});

test("what is no JSON is refused", () => {
  const texts = ["", " ", "{", "[", "[1,]", '{"a":1,}', '{"a"}', "{a:1}", "01", "1.", ".5", "+1", "nul", "nulll", '"', '"\n"', "'a'", "[1 2]", "1 2", "[1}", '{"a":1]', "\u00a01", '{"a" 1}'];
  for (const text of texts) assert.throws(() => parse(text), SyntaxError, text);
});

test("numbers keep their digits, names their order and repeats", () => {
  const { entries } = parse('{"b":12345678901234567890,"a":1.0,"b":1e400}');
  assert.deepEqual(entries.map(([name, node]) => [name, node.value]), [["b", "12345678901234567890"], ["a", "1.0"], ["b", "1e400"]]);
});

test("depth costs no stack", () => {
  const deep = 200_000;
  let node = parse("[".repeat(deep) + "]".repeat(deep));
  let depth = 0;
  for (; node; node = node.entries[0]?.[1]) depth++;
  assert.equal(depth, deep);
});

test("what is JSON is seen by its depth, too", () => {
  for (const [open, close] of [["[", "]"], ['{"a":', "}"], ['[0,{"a":', ',"b":1}]'], ['["]\\"[",{"{\\\\":', ',"b":"}"}]']]) {
    const levels = open.includes("{") && open.startsWith("[") ? 2 : 1;
    const nest = (n) => `${open.repeat(n)}null${close.repeat(n)}`;
    assert.ok(parse(nest(4)));
    assert.ok(isJSON(nest(4), 4 * levels), open);
    assert.ok(!isJSON(nest(4), 4 * levels - 1), open);
  }
  assert.ok(isJSON("[[],{}]", 2));
  assert.ok(!isJSON("[[],{}]", 1));
  assert.ok(isJSON("0", 0));
  for (const text of ["", "[", "{]", "nul", '"'+"\n"+'"']) assert.ok(!isJSON(text, 9), text);
});

test("a megabyte is read in no time", () => {
  const text = JSON.stringify(Array.from({ length: 20_000 }, (_, i) => ({ id: i, name: `name\\"${i}`, ok: true })));
  const begun = performance.now();
  parse(text);
  assert.ok(performance.now() - begun < 5000);
});

test("compacting takes only the space between tokens", () => {
  assert.equal(compact(' { "a b" : [ 1.0 , "\\" , \\\\" ] }\n'), '{"a b":[1.0,"\\" , \\\\"]}');
  assert.equal(compact('{"a":1}'), '{"a":1}');
});
