// The inspector as one uses it, against the real gateway.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { once } from "node:events";
import { test } from "node:test";
import { BINARY, gateway, tokenKeys } from "./gateway.js";
import { expectKeys, open, rows, start, state, until } from "./page.js";

/** A gateway with a topic exchange "e", and the inspector at it. */
async function setup(t, { query = "?exchange=e&routing_key=%23", flags = [], ...options } = {}) {
  const server = await gateway(t, flags);
  await server.declare("e");
  const page = await open(t, `${server.url}/${query}`, options);
  return { server, page };
}

test("a link fills the form and does not start by itself", async (t) => {
  const { server, page } = await setup(t, { query: "?exchange=e&routing_key=a.%23&exchange=f&routing_key=*&text=x&key=a.%23" });
  assert.deepEqual(await page.locator("#bindings .what").allTextContents(), ["ea.#", "f*"]);
  assert.equal(await page.getByLabel("Filter by text").inputValue(), "x");
  assert.equal(await page.getByLabel("Filter by routing key pattern").inputValue(), "a.#");
  await server.publish("e", "a.1", {});
  assert.equal(await page.locator("body").getAttribute("data-state"), "closed");
  assert.equal(await page.locator(".entry").count(), 0);
});

test("bindings are added, removed and shared by the address, and change while it listens", async (t) => {
  const { server, page } = await setup(t, { query: "" });
  const [exchange, pattern] = [page.locator("#binding-form [name=exchange]"), page.getByLabel("Routing key pattern").first()];
  await page.locator("#exchanges option[value=e]").waitFor({ state: "attached" });
  assert.equal(await pattern.inputValue(), "#");

  await exchange.fill("e");
  await pattern.fill("a.*");
  await pattern.press("Enter");
  await until(() => page.url().endsWith("/?exchange=e&routing_key=a.*"), "the address");
  await start(page);
  await page.locator('.entry[data-type="ready"]').waitFor();

  await exchange.fill("e");
  await pattern.fill("b.#");
  await exchange.press("Enter");
  await page.locator('.entry[data-type="bindings"]', { hasText: "e a.*, e b.#" }).waitFor();
  await server.publish("e", "b.1", {});
  await rows(page, "b.1").waitFor();

  await page.getByRole("button", { name: "Remove e b.#" }).click();
  await page.locator('.entry[data-type="bindings"]').nth(1).waitFor();
  await server.publish("e", "b.2", {});
  await server.publish("e", "a.2", {});
  await expectKeys(page, ["a.2", "b.1"]);
  assert.match(page.url(), /\/\?exchange=e&routing_key=a\.\*$/);

  await exchange.fill("e");
  await pattern.fill("a.*");
  await pattern.press("Enter");
  await page.getByText("This binding is there already.").waitFor();
});

/** Presses Start; the gateway hears of it when the function that comes back is called. */
async function startHeld(page) {
  let go;
  const held = new Promise((resolve) => { go = resolve; });
  await page.route("**/v1/subscriptions", async (route) => {
    await held;
    await route.continue();
  });
  const asked = page.waitForRequest("**/v1/subscriptions");
  await page.locator("#start").click();
  await asked;
  return go;
}

test("bindings that change while it starts are those it listens to", async (t) => {
  const { server, page } = await setup(t, { query: "?exchange=e&routing_key=a&exchange=e&routing_key=b" });
  const answer = await startHeld(page);
  await page.locator("#binding-form [name=exchange]").fill("e");
  await page.locator("#binding-form [name=routing_key]").fill("c");
  await page.locator("#binding-form [name=exchange]").press("Enter");
  await page.getByRole("button", { name: "Remove e b" }).click();
  await until(async () => String(await page.locator("#bindings .what").allTextContents()) === "ea,ec", "both changes in the form");
  answer();
  await page.locator('.entry[data-type="bindings"]', { hasText: "from here on: e a, e c" }).waitFor();
  for (const key of ["b", "c", "a"]) await server.publish("e", key, {});
  await expectKeys(page, ["a", "c"]);
});

test("a start that is refused names what it asked for, and the form keeps what changed meanwhile", async (t) => {
  const { page } = await setup(t, { query: "?exchange=nowhere&routing_key=%23&exchange=e&routing_key=%23" });
  const answer = await startHeld(page);
  await page.getByRole("button", { name: "Remove nowhere #" }).click();
  answer();
  await page.locator("#notice").getByText("There is no such exchange: nowhere").waitFor();
  assert.deepEqual(await page.locator("#bindings .what").allTextContents(), ["e#"]);
  await start(page);
});

test("a binding that could not be removed comes back to its place, beside what was added meanwhile", async (t) => {
  const { page } = await setup(t, { query: "" });
  const list = await page.evaluate(async () => {
    const { Bindings } = await import("/inspector/bindings.js");
    const [a, b, c, d] = "abcd".split("").map((key) => ({ exchange: "e", routing_key: key }));
    let refuse;
    const form = new Bindings([a, b, c], (what) => what === "unbind" && new Promise((_, reject) => { refuse = reject; }));
    const removed = form.remove(b);
    await form.add(d);
    refuse(new Error("no"));
    await removed;
    return form.list.map((binding) => binding.routing_key);
  });
  assert.deepEqual(list, ["a", "b", "c", "d"]);
});

test("start, pause, resume and stop", async (t) => {
  const { server, page } = await setup(t);
  await start(page);
  await page.locator("#state-detail", { hasText: "WebSocket" }).waitFor();
  await server.publish("e", "k.1", {});
  await expectKeys(page, ["k.1"]);
  await page.getByRole("button", { name: "Pause" }).click();
  await state(page, "paused");
  await server.publish("e", "k.2", {});
  await server.publish("e", "k.3", {});
  await expectKeys(page, ["k.1"]);
  await page.getByRole("button", { name: "Resume" }).click();
  await expectKeys(page, ["k.3", "k.2", "k.1"]);
  await page.getByRole("button", { name: "Stop" }).click();
  await state(page, "closed");
  await server.publish("e", "k.4", {});
  await start(page);
  await server.publish("e", "k.5", {});
  await expectKeys(page, ["k.5", "k.3", "k.2", "k.1"]);
});

test("it says who paused it, and Resume lifts one pause after the other", async (t) => {
  const { server, page } = await setup(t);
  const made = page.waitForResponse("**/v1/subscriptions");
  await start(page);
  const { id } = await (await made).json();
  const detail = (text) => page.locator("#state-detail", { hasText: text }).waitFor();
  const resume = page.getByRole("button", { name: "Resume" });
  await fetch(`${server.url}/v1/subscriptions/${id}/pause`, { method: "POST" });
  await detail("by a request to the gateway");
  await resume.click();
  await state(page, "live");

  await page.getByRole("button", { name: "Pause" }).click();
  await detail("by this page");
  await fetch(`${server.url}/v1/subscriptions/${id}/pause`, { method: "POST" });
  await resume.click();
  await detail("by a request to the gateway");
  await resume.click();
  await state(page, "live");
  await page.getByRole("button", { name: "Pause" }).waitFor();
});

test("a pause that waits for the gateway can be lifted", async (t) => {
  const { server, page } = await setup(t);
  await start(page);
  await page.getByRole("button", { name: "Pause" }).click();
  await state(page, "paused");
  await server.stop();
  await state(page, "recovering");
  await page.locator("#state-detail", { hasText: "paused by this page" }).waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  assert.doesNotMatch(await page.locator("#state-detail").textContent(), /paused/);
});

test("the list is filtered, downloaded and cleared", async (t) => {
  const { server, page } = await setup(t);
  await start(page);
  await server.publish("e", "linux.a", '{"n": 12345678901234567890}', { content_type: "application/json" });
  await server.publish("e", "linux.b", "Some Text", { content_type: "text/plain" });
  await server.publish("e", "darwin.a", new Uint8Array([0, 255, 1]));
  await expectKeys(page, ["darwin.a", "linux.b", "linux.a"]);
  await page.getByLabel("Filter by routing key pattern").fill("linux.#");
  await expectKeys(page, ["linux.b", "linux.a"]);
  await page.getByText("2 of 3 messages").waitFor();
  await page.getByLabel("Filter by text").fill("some TEXT");
  await expectKeys(page, ["linux.b"]);
  await until(() => page.url().endsWith("&text=some+TEXT&key=linux.%23"), "the address");
  await page.getByLabel("Filter by text").fill("");
  await expectKeys(page, ["linux.b", "linux.a"]);

  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  assert.match(download.suggestedFilename(), /^warren-.*\.jsonl$/);
  const text = await readFile(await download.path(), "utf8");
  assert.ok(text.includes('"payload":{"n":12345678901234567890}'), text);
  const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ type, routing_key: key }) => key ?? type), ["ready", "linux.a", "linux.b"]);

  await page.getByLabel("Filter by routing key pattern").fill("");
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await until(async () => (await page.locator(".entry").count()) === 0, "an empty list");
});

test("a message opens with payload, properties and headers", async (t) => {
  const { server, page } = await setup(t, { permissions: ["clipboard-read", "clipboard-write"] });
  await start(page);
  await server.publish("e", "json", '{"build":1.50,"tests":{"run":[1,2]}}', { content_type: "application/json", headers: { attempt: 2, deep: { a: [1] } }, message_id: "m-1" });
  await server.publish("e", "binary", new Uint8Array([0, 1, 254, 255]), { content_type: "application/octet-stream" });
  await rows(page, "json").click();
  const pane = page.getByLabel("The selected message");
  await pane.getByText("1.50", { exact: true }).waitFor(); // exact, since a time can have 1.50 in it
  for (const text of ["m-1", "attempt", "application/json"]) await pane.getByText(text, { exact: true }).waitFor();
  await pane.locator("summary", { hasText: "tests" }).click();
  await pane.getByText("run:").waitFor({ state: "hidden" });
  await pane.getByRole("radio", { name: "Text" }).check();
  assert.equal(await pane.locator("pre").textContent(), '{"build":1.50,"tests":{"run":[1,2]}}');
  await pane.getByRole("button", { name: "Copy", exact: true }).click();
  await until(async () => (await page.evaluate(() => navigator.clipboard.readText())) === '{"build":1.50,"tests":{"run":[1,2]}}', "the clipboard");
  await pane.getByRole("button", { name: "Newer" }).click();
  await pane.getByRole("heading", { name: "binary" }).waitFor();
  assert.match(await pane.locator("pre").textContent(), /^00000000 {2}00 01 fe ff/);
  const [download] = await Promise.all([page.waitForEvent("download"), pane.getByRole("button", { name: "Save" }).click()]);
  assert.deepEqual([...await readFile(await download.path())], [0, 1, 254, 255]);
  await pane.getByRole("button", { name: "Close" }).click();
  await pane.waitFor({ state: "hidden" });
});

test("JSON of many quotes, which comes as base64, is JSON all the same", async (t) => {
  const { server, page } = await setup(t);
  await start(page);
  await server.publish("e", "quotes", '{"a":"b"}', { content_type: "application/json" });
  await rows(page, "quotes").click();
  assert.equal(await rows(page, "quotes").locator(".preview").textContent(), '{"a":"b"}');
  await page.getByLabel("The selected message").locator(".tree", { hasText: 'a: "b"' }).waitFor();
  await page.getByLabel("Filter by text").fill('"a":"b"');
  await page.waitForURL(/text=/);
  await expectKeys(page, ["quotes"]);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  assert.match(await readFile(await download.path(), "utf8"), /"payload":\{"a":"b"\},"payload_encoding":"json"\}\n$/);
});

for (const transport of ["WebSocket", "Server-Sent Events"]) {
  test(`long numbers in headers keep their digits, ${transport}`, async (t) => {
    const server = await gateway(t);
    await server.declare("e");
    const page = await open(t, server.url, { permissions: ["clipboard-read", "clipboard-write"] });
    if (transport !== "WebSocket") await page.addInitScript(() => { delete globalThis.WebSocket; });
    await page.goto(`${server.url}/?exchange=e&routing_key=%23`);
    await start(page);
    await page.locator("#state-detail", { hasText: transport }).waitFor();
    // As it is written by others: here it would have lost its digits before it is sent.
    const body = '{"routing_key":"long","payload":"ü","properties":{"timestamp":1700000000,"headers":{"id":9007199254740993,"deep":{"list":[-9007199254740995]}}}}';
    await fetch(`${server.url}/v1/exchanges/e/publish`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
    await rows(page, "long").click();
    const pane = page.getByLabel("The selected message");
    for (const text of ["9007199254740993", "-9007199254740995", "1700000000 (2023-11-14T22:13:20.000Z)"]) await pane.getByText(text, { exact: true }).waitFor();
    await pane.getByRole("button", { name: "Copy as JSON" }).click();
    await until(async () => (await page.evaluate(() => navigator.clipboard.readText())).includes('"id":9007199254740993'), "the clipboard");
    await page.getByLabel("Filter by text").fill("9007199254740993");
    await page.waitForURL(/text=9007/);
    await expectKeys(page, ["long"]);
  });
}

test("would it match?", async (t) => {
  const { page } = await setup(t, { query: "?exchange=e&routing_key=linux.%23&exchange=e&routing_key=*.arm64&exchange=amq.fanout&routing_key=%23" });
  await page.locator(".tag", { hasText: "fanout" }).waitFor();
  await page.getByLabel("A message’s routing key").fill("linux.amd64.warren");
  await page.getByText("2 of 3 bindings match.").waitFor();
  const [first, second, third] = await page.locator(".verdicts > li").all();
  assert.deepEqual(await first.locator(".parts li").evaluateAll((parts) => parts.map((part) => [...part.children].map((child) => child.textContent))), [["linux", "linux"], ["#", "amd64.warren"]]);
  assert.match(await second.textContent(), /no match.*“amd64” is not “arm64”/s);
  assert.match(await third.textContent(), /matches.*fanout/s);
});

test("copies as commands that work", async (t) => {
  const { server, page } = await setup(t, { query: "?exchange=e&routing_key=a.%23&exchange=e&routing_key=it's" });
  await page.getByText("Copy as", { exact: true }).click();
  const snippet = async (kind) => {
    await page.getByRole("radio", { name: kind, exact: true }).check();
    return page.locator("#snippet").textContent();
  };
  const curl = spawn("sh", ["-c", `exec ${await snippet("curl")}`], { stdio: ["ignore", "pipe", "ignore"] });
  t.after(() => curl.kill());
  let output = "";
  curl.stdout.on("data", (chunk) => { output += chunk; });
  await until(() => output.includes("event: ready"), "ready from curl");
  await server.publish("e", "it's", { by: "curl" });
  await until(() => output.includes('"by":"curl"'), "a message from curl");

  const command = await snippet("warren listen");
  const path = `${dirname(BINARY)}:${process.env.PATH}`;
  const listen = execFile("sh", ["-c", `exec ${command} --count 1`], { env: { ...process.env, PATH: path } });
  t.after(() => listen.kill());
  let lines = "";
  listen.stdout.on("data", (chunk) => { lines += chunk; });
  await until(() => lines.includes('"type":"ready"'), "ready from listen");
  const ended = once(listen, "close");
  await server.publish("e", "a.1", { by: "listen" });
  await ended;
  assert.match(lines, /"by":"listen"/);

  for (const kind of ["EventSource", "JavaScript"]) {
    const code = (await snippet(kind)).replace(/^import (.*) from (.*);$/m, "const $1 = await import($2);");
    const said = [];
    page.on("console", async (message) => {
      const values = await Promise.allSettled(message.args().map((arg) => arg.jsonValue())); // the page may be closed by then
      said.push(JSON.stringify(values.map(({ value }) => value)));
    });
    await page.evaluate(`void (async () => { ${code} })()`);
    let n = 0;
    await until(async () => { // nothing says when it listens
      await server.publish("e", `a.${++n}`, { by: kind });
      return said.some((text) => text.startsWith(kind === "JavaScript" ? '["a.' : "[{") && text.includes('"a.') && text.includes(`"by":"${kind}"`));
    }, `a message from ${kind}`);
  }
});

test("publishes a test message, and makes the exchange if there is none", async (t) => {
  const { page } = await setup(t, { query: "?exchange=e&routing_key=hello.%23" });
  await start(page);
  await page.getByText("Publish a test message").click();
  const form = page.locator("#publish");
  await until(async () => (await form.locator("[name=exchange]").inputValue()) === "e", "the exchange is suggested");
  await form.getByLabel("Routing key").fill("hello.you");
  await form.getByRole("button", { name: "Publish", exact: true }).click();
  await page.getByText("Published, and routed to somebody.").waitFor();
  await rows(page, "hello.you").waitFor();
  await form.getByLabel("Routing key").fill("other");
  await form.getByLabel("Payload").press("Control+Enter");
  await page.getByText("Published, but no binding matched it.").waitFor();
  await form.locator("[name=exchange]").fill("new one/2");
  await form.getByRole("button", { name: "Publish", exact: true }).click();
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByText("Published, but no binding matched it.").waitFor();
  await page.locator('#exchanges option[value="new one/2"]').waitFor({ state: "attached" });
});

test("a missing exchange, a denied one and a limit are told in the server's words", async (t) => {
  const { page } = await setup(t, { query: "?exchange=e&routing_key=%23&exchange=nowhere&routing_key=%23", flags: ["--deny-exchange", "secret", "--max-bindings", "2"] });
  const notice = page.locator("#notice");
  await page.locator("#start").click();
  await notice.getByText("There is no such exchange: nowhere").waitFor();
  await state(page, "closed");
  await page.getByRole("button", { name: "Remove nowhere #" }).click();
  await start(page);
  await notice.waitFor({ state: "hidden" });

  const add = async (exchange) => {
    await page.locator("#binding-form [name=exchange]").fill(exchange);
    await page.locator("#binding-form [name=exchange]").press("Enter");
  };
  await add("nothing");
  await notice.getByText("There is no such exchange: nothing").waitFor();
  await until(async () => (await page.locator("#bindings li").count()) === 1, "the binding is taken back");
  await add("secret");
  await notice.getByText("The binding is not allowed: secret").waitFor();
  await until(async () => (await page.locator("#bindings li").count()) === 1, "the binding is taken back");
  await add("amq.topic");
  await page.locator('.entry[data-type="bindings"]').waitFor();
  await add("amq.fanout");
  await notice.getByText(/--?max-bindings/).waitFor();
  assert.equal(await page.locator("body").getAttribute("data-state"), "live");
});

test("a token is asked for and taken", async (t) => {
  const keys = await tokenKeys(t);
  const server = await gateway(t, ["--jwt-key", keys.public], { demo: true });
  const page = await open(t, `${server.url}/?exchange=builds&routing_key=linux.%23`);
  await page.locator("#notice", { hasText: "A valid token is needed" }).waitFor();
  await page.getByRole("button", { name: "Give a token" }).click();
  await page.getByLabel("JWT").fill(keys.mint("ada", "builds=darwin.#"));
  await page.getByText(/For ada, until .*; may bind builds darwin\.#/).waitFor();
  await page.getByRole("button", { name: "Use it" }).click();
  await page.locator("#exchanges option[value=builds]").waitFor({ state: "attached" });
  await page.locator("#start").click();
  await page.locator("#notice", { hasText: "The binding is not allowed" }).waitFor();

  await page.getByRole("button", { name: "Token given" }).click();
  await page.getByLabel("JWT").fill(keys.mint("ada", "builds=#"));
  await page.getByRole("button", { name: "Use it" }).click();
  await start(page);
  await page.locator('.entry[data-type="message"]').first().waitFor();
  await page.getByText("Copy as", { exact: true }).click();
  assert.match(await page.locator("#snippet").textContent(), /Bearer \$WARREN_TOKEN/);
  assert.ok(!page.url().includes("eyJ"), page.url());
  await page.reload();
  await start(page);
});

test("a token that is refused does not take the place of the one in use", async (t) => {
  const keys = await tokenKeys(t);
  const server = await gateway(t, ["--jwt-key", keys.public], { demo: true });
  const page = await open(t, `${server.url}/?exchange=builds&routing_key=%23`);
  const ada = keys.mint("ada", "builds=#");
  const give = async (button, token) => {
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.getByLabel("JWT").fill(token);
    await page.getByRole("button", { name: "Use it" }).click();
  };
  await page.locator("#notice", { hasText: "A valid token is needed" }).waitFor();
  await give("Token", ada);
  await start(page);
  await give("Token given", keys.mint("bob", "builds=#"));
  await page.locator("#notice").waitFor();
  await until(async () => (await page.evaluate(() => sessionStorage.getItem("warren.token"))) === ada, "the token is ada's");
  assert.equal(await page.locator("body").getAttribute("data-state"), "live");
});

test("a token is taken in lines and with its scheme, and one that was cut is refused before it is sent", async (t) => {
  const keys = await tokenKeys(t);
  const server = await gateway(t, ["--jwt-key", keys.public], { demo: true });
  const page = await open(t, `${server.url}/?exchange=builds&routing_key=%23`);
  await page.locator("#notice", { hasText: "A valid token is needed" }).waitFor();
  const token = keys.mint("ada", "builds=#");
  await page.getByRole("button", { name: "Token", exact: true }).click();
  await page.getByLabel("JWT").fill(`${token.slice(0, 60)}…`);
  await page.getByRole("button", { name: "Use it" }).click();
  await page.getByRole("dialog").getByText("“…” is not part of a token").waitFor();
  assert.equal(await page.getByLabel("JWT").evaluate((field) => field === document.activeElement && field.ariaInvalid), "true");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);

  await page.getByLabel("JWT").fill(`Bearer ${token.slice(0, 60)}\n${token.slice(60)}\u200b`);
  await page.getByText(/For ada, until .*; may bind builds #/).waitFor();
  await page.getByRole("button", { name: "Use it" }).click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await start(page);
});

test("the colours follow the system until they are switched, and stay", async (t) => {
  const { page } = await setup(t, { colorScheme: "dark" });
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await page.getByRole("button", { name: /^Colours: system/ }).click();
  await page.getByRole("button", { name: /^Colours: light/ }).waitFor();
  assert.notEqual(await paper(), dark);
  await page.reload();
  await page.getByRole("button", { name: /^Colours: light/ }).click();
  assert.equal(await paper(), dark);
});
