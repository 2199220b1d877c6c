import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as module from "../warren.js";

const file = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");

test("the module needs no other", () => assert.doesNotMatch(file("warren.js"), /^import /m));

test("the declarations name what the module exports", () => {
  for (const name of Object.keys(module)) assert.match(file("warren.d.ts"), new RegExp(`export (class|function) ${name}\\b`));
});

test("the declarations need no library of browsers", () => {
  assert.doesNotMatch(file("warren.d.ts"), /\b(RequestCredentials|RequestInit|AddEventListenerOptions|EventListener\w*)\b/);
});

test("the declarations have every field of an error", () => {
  const [, declared] = /class WarrenError [^{]*{(.*?)\n}/s.exec(file("warren.d.ts"));
  for (const name of Object.keys(new module.WarrenError("x"))) if (name !== "name") assert.match(declared, new RegExp(`\\b${name}\\??:`), name);
});

test("the declarations have every public member of a subscription", () => {
  const declared = file("warren.d.ts");
  for (const { prototype } of [module.Warren, module.Subscription]) {
    for (const name of Object.getOwnPropertyNames(prototype)) {
      if (name !== "constructor") assert.match(declared, new RegExp(`\\b${name}[<(:]`), name);
    }
  }
});
