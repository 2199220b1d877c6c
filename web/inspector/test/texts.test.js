import assert from "node:assert/strict";
import { test } from "node:test";
import { explain, marker, word } from "../advice.js";
import { longProperties } from "../digits.js";
import { filter } from "../filter.js";
import { partEnd, size, visible, visibleText } from "../format.js";
import { dump } from "../hex.js";
import { line } from "../jsonl.js";
import { bytesOf, textOf } from "../payload.js";
import { bars, Rate, SECONDS } from "../rate.js";
import { about, clean, fault } from "../token.js";

test("sizes are short", () => {
  assert.deepEqual([0, 1023, 1024, 4300, 1_048_576, 120_000_000].map(size), ["0 B", "1023 B", "1.0 KiB", "4.2 KiB", "1.0 MiB", "114 MiB"]);
});

test("what hides or reorders is spelt out", () => {
  assert.equal(visible("a\u202eb\u0000\n\u200b"), "a⟨U+202E⟩b␀␊⟨U+200B⟩");
  assert.equal(visibleText("a\n\tb\u2066"), "a\n\tb⟨U+2066⟩");
  assert.equal(visible("مرحبا 日本 👩‍🚀".replace("\u200d", "")), "مرحبا 日本 👩🚀");
});

test("every character that shows nothing is spelt out", () => {
  const ranges = [[0, 0x1f], [0x7f, 0x9f], [0xad, 0xad], [0x34f, 0x34f], [0x61c, 0x61c], [0x115f, 0x1160], [0x17b4, 0x17b5], [0x180b, 0x180f], [0x200b, 0x200f], [0x2028, 0x202e], [0x2060, 0x206f],
    [0x3164, 0x3164], [0xfe00, 0xfe0f], [0xfeff, 0xfeff], [0xffa0, 0xffa0], [0xfff9, 0xfffb], [0x1d173, 0x1d17a], [0xe0001, 0xe0001], [0xe0020, 0xe007f], [0xe0100, 0xe01ef]];
  for (const [from, to] of ranges) {
    for (let code = from; code <= to; code++) {
      const char = String.fromCodePoint(code);
      assert.doesNotMatch(visible(`a${char}b`), new RegExp(char, "u"), code.toString(16));
      assert.equal(visibleText(`a${char}b`).includes(char), "\t\n\r".includes(char), code.toString(16));
    }
  }
  assert.equal(visible("a\u{e0041}\u{e01ef}b"), "a⟨U+E0041⟩⟨U+E01EF⟩b");
});

test("an emoji keeps the selector that makes it one, and nothing else does", () => {
  for (const text of ["❤️", "a ⚠️ b", "↔️", "©️"]) {
    assert.equal(visible(text), text);
    assert.equal(visibleText(text), text);
  }
  assert.equal(visible("❤\ufe0f\ufe0f"), "❤\ufe0f⟨U+FE0F⟩");
  assert.equal(visible("😀\ufe0f a\ufe0f 1\ufe0f \ufe0f"), "😀⟨U+FE0F⟩ a⟨U+FE0F⟩ 1⟨U+FE0F⟩ ⟨U+FE0F⟩");
  assert.equal(visible("❤\ufe0e"), "❤⟨U+FE0E⟩");
});

test("a part of a text ends between characters, and sooner in scripts that are slow to lay out", () => {
  assert.equal(partEnd("x".repeat(100_000), 0), 65_536);
  assert.equal(partEnd("x".repeat(100_000), 65_536), 100_000);
  assert.equal(partEnd(`x${"😀".repeat(50_000)}`, 0), 65_537);
  for (const char of "אعकกក\u{10a00}") assert.equal(partEnd(char.repeat(10_000), 0), 8192, char);
  assert.equal(partEnd("א".repeat(10), 8), 10);
});

test("bytes are dumped in lines of 16", () => {
  const bytes = new TextEncoder().encode("hello, warren!\n\0more");
  assert.equal(dump(bytes), [
    "00000000  68 65 6c 6c 6f 2c 20 77  61 72 72 65 6e 21 0a 00  hello, warren!··",
    "00000010  6d 6f 72 65                                       more",
  ].join("\n"));
});

test("a line of JSON keeps the digits, and other payloads their encoding", () => {
  const entry = { type: "message", time: 0, id: "s.1", exchange: "e", routing_key: "k", properties: { content_type: "application/json" }, payload: '{ "n": 12345678901234567890 }', payload_encoding: "string" };
  assert.equal(line(entry), '{"type":"message","id":"s.1","received_at":"1970-01-01T00:00:00.000Z","exchange":"e","routing_key":"k","properties":{"content_type":"application/json"},"payload":{"n":12345678901234567890},"payload_encoding":"json"}');
  assert.match(line({ ...entry, properties: { content_type: "text/plain" } }), /"payload":"\{ \\"n\\": 12345678901234567890 \}","payload_encoding":"string"/);
  assert.match(line({ ...entry, payload: "AAE=", payload_encoding: "base64" }), /"payload":"AAE=","payload_encoding":"base64"/);
  for (const [type, json] of [[undefined, true], ["text/json; charset=utf-8", true], ["application/vnd.x+JSON", true], ["image/svg+json", false], ["; charset=utf-8", false]]) {
    assert.equal(line({ ...entry, properties: { content_type: type } }).endsWith('"payload_encoding":"json"}'), json, type);
  }
  const deep = (n) => "[".repeat(n) + "]".repeat(n);
  assert.ok(line({ ...entry, payload: deep(64) }).endsWith(`"payload":${deep(64)},"payload_encoding":"json"}`));
  assert.ok(line({ ...entry, payload: deep(65) }).endsWith(`"payload":"${deep(65)}","payload_encoding":"string"}`));
  assert.equal(line({ type: "gap", frame: { type: "gap", missed: 3 } }), '{"type":"gap","missed":3}');
});

test("properties keep digits that a number does not", () => {
  const frame = (properties, payload = "x") => `{"type":"message","id":"s.1","exchange":"e","routing_key":"k","properties":${properties},"payload":${JSON.stringify(payload)},"payload_encoding":"string"}`;
  const long = '{"headers":{"id":9007199254740993,"payload":"x","list":[1,-12345678901234567890]}}';
  for (const payload of ["x", '{"properties":{},"payload":"1"}', ',"payload":"', ""]) assert.equal(longProperties(frame(long, payload)), long, payload);
  for (const [properties, payload] of [["{}", "[9007199254740993]"], ['{"message_id":"9007199254740993"}'], ['{"timestamp":1700000000}']]) assert.equal(longProperties(frame(properties, payload)), undefined);
  for (const text of [long, '{"type":"gap","id":"s.1","missed":9007199254740993}', `{"type":"message","id":"s.1","payload":"x","properties":${long}}`]) assert.equal(longProperties(text), undefined);

  const entry = { type: "message", time: 0, id: "s.1", exchange: "e", routing_key: "k", properties: JSON.parse(long), propertiesText: long, payload: "x", payload_encoding: "string" };
  assert.ok(line(entry).includes(`"routing_key":"k","properties":${long},"payload":"x"`), line(entry));
  assert.ok(filter({ text: "9007199254740993" })(entry));
});

test("text is text, also where base64 is the shorter way to send it", () => {
  const base64 = (body) => ({ payload: Buffer.from(body).toString("base64"), payload_encoding: "base64" });
  for (const text of ['{"a":"b"}', '"\r\n\t"', "\ufeffü"]) {
    assert.equal(textOf(base64(text)), text);
    assert.equal(textOf({ payload: text, payload_encoding: "string" }), text);
    assert.deepEqual([...bytesOf(base64(text))], [...Buffer.from(text)]);
  }
  for (const body of [[0xff, 1], [0xc3], [1, 2, 3], [0x1b, 0x22, 0x22]]) assert.equal(textOf(base64(body)), undefined, String(body));
});

test("the rate forgets what is older than a minute", () => {
  const rate = new Rate(0);
  rate.add(100, 5);
  rate.add(1500, 7);
  assert.deepEqual(rate.history(2000).slice(-2), [5, 7]);
  assert.equal(rate.history(1000 * (SECONDS + 1)).reduce((a, b) => a + b), 7);
  assert.equal(rate.history(1e9).reduce((a, b) => a + b), 0);
});

test("the highest bar is as high as the chart", () => {
  assert.match(bars([0, 5, 10], 30, 20), /^M0 20v-0\.5h9v0\.5zM10 20v-10h9v10zM20 20v-20h9v20z$/);
});

test("a refusal is told in the server's words, with what to do", () => {
  const about = explain({ code: "forbidden_binding", problem: { title: "The binding is not allowed", detail: "the token does not grant this binding", binding: 1 } });
  assert.equal(about.title, "The binding is not allowed");
  assert.equal(about.detail, "The token does not grant this binding.");
  assert.equal(about.act, "token");
  assert.equal(about.binding, 1);
  assert.match(about.advice, /token/);
  assert.match(explain({ code: "limit_reached", problem: { title: "A limit is reached", detail: "no more", limit: "max-bindings" } }).detail, /--max-bindings/);
  assert.equal(explain(new TypeError("Failed to fetch")).code, "unreachable");
  assert.equal(explain({ code: "something_new" }).title, "Refused: something_new");
  assert.equal(word("shutting_down"), "gateway shutting down");
});

test("no token is asked for where none helps", () => {
  const refused = (detail) => explain({ code: "forbidden_binding", problem: { title: "The binding is not allowed", detail, binding: 0 } });
  const byBroker = refused("the message broker does not let the gateway bind this");
  assert.deepEqual([byBroker.act, byBroker.label], [undefined, undefined]);
  assert.match(byBroker.advice, /^Who runs the broker decides/);
  const byGateway = refused("this gateway does not let anybody bind this exchange");
  assert.deepEqual([byGateway.act, byGateway.label], [undefined, undefined]);
  assert.match(byGateway.advice, /--allow-exchange/);
  assert.equal(explain({ code: "forbidden_binding" }).act, "token");
});

test("a gap says how many and why", () => {
  assert.match(marker({ type: "gap", missed: 12, reason: "evicted" }), /^12 messages missing here/);
  assert.match(marker({ type: "gap", missed: null, reason: "broker_reconnected" }), /^an unknown number/);
  assert.match(marker({ type: "gap", missed: 1, reason: "oversized", routing_key: "k", size: 9 }), /^1 message missing here.*\(k, 9 bytes\)/);
  assert.equal(marker({ type: "bindings", bindings: [{ exchange: "e", routing_key: "#", state: "missing" }] }), "from here on: e # (missing)");
  assert.match(marker({ type: "gap", missed: 1, reason: "oversized", routing_key: "a\u202eb", size: 9 }), /\(a⟨U\+202E⟩b, 9 bytes\)$/);
  assert.equal(marker({ type: "ready", bindings: [{ exchange: "e\u202e", routing_key: "a\u202eb", state: "bound" }] }), "listening from here: e⟨U+202E⟩ a⟨U+202E⟩b");
});

test("a token says for whom it is", () => {
  const token = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;
  assert.match(about(token({ sub: "äda", exp: 2e9, warren: { bind: [{ exchange: "b", routing_key: "#" }] } }), 0), /^For äda, until .*; may bind b #\.$/);
  assert.match(about(token({ sub: "a", exp: 1 }), 5000), /expired; may bind nothing/);
  assert.equal(about("abc"), "This does not look like a JWT.");
  assert.equal(about(""), "");
});

test("a token is taken as it was meant, whatever it was copied from", () => {
  for (const pasted of ["eyJh.eyJz.c-_g", " eyJh.eyJz.c-_g\n", "eyJh.ey\n  Jz.c-_g", "eyJh.eyJz\r\n.c-_g\u200b", "\ufeffeyJh.eyJz.c-_g", "Bearer eyJh.eyJz.c-_g", "\u2060bearer\n eyJh.eyJz.c-_g"]) {
    assert.equal(clean(pasted), "eyJh.eyJz.c-_g", JSON.stringify(pasted));
  }
  assert.equal(fault(clean("eyJh.eyJz.c-_g==")), "");
  assert.match(fault("eyJh.ey…"), /^“…” is not part/);
  assert.match(fault('"eyJh.eyJz.c-_g"'), /^“"”/);
  assert.match(about("eyJhбc.x"), /^“б” is not part/);
});
