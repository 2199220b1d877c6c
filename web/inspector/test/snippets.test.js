import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { kinds, quote, snippet } from "../snippets.js";

const base = "http://localhost:8080/";
const plain = [{ exchange: "builds", routing_key: "linux.#" }, { exchange: "deploys", routing_key: "#" }];

test("curl asks with what a shell leaves of the command", () => {
  const hostile = [{ exchange: "it's $HOME `id` \\", routing_key: "a b\"!" }];
  const { text } = snippet("curl", base, hostile);
  const words = execFileSync("sh", ["-c", text.replace(/^curl/, "printf '%s\\n'")], { encoding: "utf8" }).trimEnd().split("\n");
  assert.deepEqual(words, ["-NG", "http://localhost:8080/v1/sse", "--data-urlencode", "exchange=it's $HOME `id` \\", "--data-urlencode", "routing_key=a b\"!"]);
});

test("EventSource has everything in its address", () => {
  assert.match(snippet("eventsource", base, plain).text, /new EventSource\("http:\/\/localhost:8080\/v1\/sse\?exchange=builds&routing_key=linux\.%23&exchange=deploys&routing_key=%23"\)/);
});

test("the JavaScript is JavaScript, whatever the names", () => {
  const { text } = snippet("client", base, [{ exchange: "\"</script>\\", routing_key: "\n" }]);
  new Function(`return async () => { ${text.replace(/^import.*$/m, "")} }`); // throws when it cannot be parsed
});

test("warren listen takes EXCHANGE[=KEY]", () => {
  assert.equal(snippet("listen", base, plain).text, "warren listen http://localhost:8080 'builds=linux.#' deploys");
  assert.equal(snippet("listen", base, [{ exchange: "e", routing_key: "" }]).text, "warren listen http://localhost:8080 e=");
  const odd = snippet("listen", base, [...plain, { exchange: "a=b", routing_key: "#" }]);
  assert.match(odd.note, /One binding/);
  assert.match(snippet("listen", base, [{ exchange: "-e", routing_key: "#" }]).note, /“-”/);
});

test("bindings with arguments go as JSON", () => {
  const list = [{ exchange: "h", routing_key: "", arguments: { "x-match": "any" } }];
  assert.match(snippet("curl", base, list).text, /--data-urlencode 'bindings=\[\{"exchange":"h","routing_key":"","arguments":\{"x-match":"any"\}\}\]'/);
});

test("a token is never written out, but its place is", () => {
  for (const { value } of kinds) assert.match(snippet(value, base, plain, true).text, /\$WARREN_TOKEN|WARREN_TOKEN=|\btoken\b/);
});

test("without bindings there is nothing to copy", () => {
  for (const { value } of kinds) assert.equal(snippet(value, base, []).text, "");
});

test("words are quoted where a shell would read them", () => {
  assert.equal(quote("a.b/c=d"), "a.b/c=d");
  assert.equal(quote(""), "''");
  assert.equal(quote("#"), "'#'");
});
