// Keyboard, screen readers, colours: for everybody.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { gateway, tokenKeys } from "./gateway.js";
import { open, rows, start, state, until } from "./page.js";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds wrong, in words. It is evaluated by the debugger: the page's own policy lets nothing in. */
async function violations(page) {
  await page.evaluate(axe);
  const { violations: found } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join(" | ")}`);
}

const clean = async (page, where) => assert.deepEqual(await violations(page), [], where);

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds nothing to complain of, ${colorScheme}`, async (t) => {
    const server = await gateway(t);
    await server.declare("e");
    const page = await open(t, server.url, { colorScheme, reducedMotion: "reduce" });
    await page.locator(".offers button").first().waitFor();
    await clean(page, "empty");

    await page.goto(`${server.url}/?exchange=e&routing_key=a.%23&exchange=e&routing_key=b.*&exchange=nowhere&routing_key=%23`);
    await page.locator("#start").click();
    await page.locator("#notice").waitFor();
    await clean(page, "refused");
    await page.getByRole("button", { name: "Remove nowhere #" }).click();

    await start(page);
    for (const [key, body] of [["a.b", '{"a":{"b":[1,"x",null]}}'], ["a.c", "text"]]) await server.publish("e", key, body, { headers: { n: 1, t: { u: 2 } } });
    for (const tool of ["Copy as", "Publish a test message"]) await page.getByText(tool, { exact: true }).click();
    await rows(page, "a.b").click();
    await page.getByLabel("A message’s routing key").fill("b.c.d");
    await page.getByRole("button", { name: "Pause" }).click();
    await state(page, "paused");
    await clean(page, "a message");
    await page.getByLabel("The selected message").getByRole("radio", { name: "Hex" }).check();
    await clean(page, "its bytes");
    await page.getByRole("button", { name: "Token" }).click();
    await page.getByLabel("JWT").fill("nonsense");
    await clean(page, "the dialog");
  });
}

test("axe finds nothing on a phone", async (t) => {
  const server = await gateway(t);
  await server.declare("e");
  const page = await open(t, `${server.url}/?exchange=e&routing_key=%23`, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await clean(page, "bindings");
  await page.locator("#start").tap();
  await state(page, "live");
  await server.publish("e", "a.b", {});
  await rows(page, "a.b").waitFor();
  await clean(page, "messages");
  const room = await rows(page, "a.b").locator(".time").evaluate((time) => {
    const range = document.createRange();
    range.selectNodeContents(time);
    return time.getBoundingClientRect().width - range.getBoundingClientRect().width;
  });
  assert.ok(room >= 0, `the time lacks ${-room} px`);
  await rows(page, "a.b").tap();
  await page.getByRole("button", { name: "Close" }).waitFor();
  await clean(page, "a message");
  await page.getByRole("button", { name: "Close" }).tap();
  await page.getByRole("button", { name: "Tools" }).tap();
  await page.getByText("Would it match?").waitFor();
  await clean(page, "tools");
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(overflow, 0, "nothing is wider than the phone");
});

test("the skip link leads to the messages in a narrow window, too", async (t) => {
  const server = await gateway(t);
  const page = await open(t, server.url, { viewport: { width: 320, height: 568 } });
  await page.getByRole("link", { name: "Skip to the messages" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#list").waitFor({ state: "visible" });
  assert.equal(await page.evaluate(() => document.activeElement.id), "list");
});

test("on a phone the state has room, and so has its reason", async (t) => {
  const keys = await tokenKeys(t);
  const server = await gateway(t, ["--jwt-key", keys.public], { demo: true });
  const page = await open(t, `${server.url}/?exchange=builds&routing_key=%23`, { hasTouch: true, isMobile: true });
  const fits = async (what) => {
    for (const width of [320, 360, 375, 390]) {
      await page.setViewportSize({ width, height: 700 });
      const wrong = await page.evaluate(() => {
        const parts = [...document.querySelectorAll(".brand, #state-word, #state-detail, .rate, .bar button")].map((part) => [part, part.getBoundingClientRect()]).filter(([, { width }]) => width);
        const over = parts.flatMap(([a, p], i) => parts.slice(i + 1).filter(([, q]) => p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom).map(([b]) => `${a.id || a.className} over ${b.id || b.className}`));
        const cut = parts.filter(([part]) => part.scrollWidth > part.clientWidth + 1 && part.matches("p *")).map(([part]) => `${part.id} cut`);
        return [...over, ...cut, ...(document.documentElement.scrollWidth > innerWidth ? ["wider than the phone"] : [])];
      });
      assert.deepEqual(wrong, [], `${what} at ${width}`);
    }
  };
  await fits("not started");
  await page.evaluate((token) => sessionStorage.setItem("warren.token", token), keys.mint("ada", "builds=#"));
  await page.reload();
  await page.getByRole("button", { name: "Token given" }).waitFor();
  await fits("not started, with a token");
  await page.locator("#start").tap();
  await state(page, "live");
  await fits("live");
  await server.stop();
  await state(page, "recovering");
  await until(() => page.locator("#state-detail").evaluate((detail) => detail.textContent && detail.clientWidth > 200), "the reason, across the phone");
  await fits("recovering");
});

test("everything goes by keyboard", async (t) => {
  const server = await gateway(t);
  await server.declare("e");
  const page = await open(t, server.url);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.name || document.activeElement.textContent);
  const press = async (...names) => { for (const name of names) await page.keyboard.press(name); };
  const tabTo = async (wanted, key = "Tab") => {
    for (let i = 0; i < 60; i++) {
      if ((await focused()) === wanted) return;
      await press(key);
    }
    assert.fail(`no way to ${wanted} by ${key}`);
  };

  await press("Tab");
  assert.equal(await focused(), "Skip to the messages");
  await tabTo("exchange");
  await page.keyboard.type("e");
  await press("Enter");
  await until(async () => (await page.locator("#bindings li").count()) === 1, "a binding");
  await until(async () => (await focused()) === "exchange", "focus for the next binding");
  await tabTo("start", "Shift+Tab");
  await press("Enter");
  await state(page, "live");
  for (let i = 1; i <= 60; i++) await server.publish("e", `k.${i}`, { i });
  await rows(page, "k.60").waitFor();

  await press("/");
  await page.keyboard.type("k.");
  await page.waitForURL(/text=k\./); // the filter waits for the end of the word
  await tabTo("list");
  const pane = page.getByLabel("The selected message");
  const shows = (key) => pane.getByRole("heading", { name: key, exact: true }).waitFor();
  await press("ArrowDown");
  await shows("k.60");
  await press("ArrowDown", "ArrowDown");
  await shows("k.58");
  await press("End", "ArrowUp");
  await shows("k.1"); // the oldest is the marker of the beginning
  const active = await page.locator("#list").getAttribute("aria-activedescendant");
  assert.match(await page.locator(`#${active}`).textContent(), /k\.1\b/);
  await page.getByRole("button", { name: "Back to the newest" }).waitFor(); // what comes before the page knows of the scrolling is shown
  await server.publish("e", "k.61", {});
  await page.getByRole("button", { name: "1 new message" }).waitFor();
  await press("Home");
  await shows("k.61");
  await press("PageDown", "PageUp", "Enter");
  await until(async () => (await focused()) === "detail", "focus in the pane");
  await press("Escape");
  await pane.waitFor({ state: "hidden" });
  assert.equal(await focused(), "list");

  await tabTo("stop", "Shift+Tab");
  await press("Enter");
  await state(page, "closed");
  assert.equal(await focused(), "start");
  await tabTo("token");
  await press("Enter");
  await page.getByLabel("JWT").waitFor();
  await press("Escape");
  await page.getByLabel("JWT").waitFor({ state: "hidden" });
});

test("what is drawn anew keeps the focus", async (t) => {
  const server = await gateway(t);
  await server.declare("e");
  const page = await open(t, server.url);
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") || document.activeElement.textContent.trim());
  const becomes = (wanted) => until(async () => (await focused()) === wanted, `focus at ${wanted}`);
  const press = (key) => page.keyboard.press(key);

  await page.locator(".offers button", { hasText: /^e topic$/ }).focus();
  await press("Enter");
  await becomes("Start listening");
  await press("Enter");
  await becomes("Stop");
  await state(page, "live");
  await becomes("Stop");

  for (const key of ["k.1", "k.2", "k.3"]) await server.publish("e", key, {});
  await rows(page, "k.3").click();
  const shows = (key) => page.getByLabel("The selected message").getByRole("heading", { name: key, exact: true }).waitFor();
  await shows("k.3");
  await page.getByRole("button", { name: "Older" }).focus();
  for (const key of ["k.2", "k.1"]) {
    await press("Enter");
    await shows(key);
    assert.equal(await focused(), "Older");
  }

  const exchange = page.locator("#binding-form [name=exchange]");
  await exchange.fill("amq.topic");
  await exchange.press("Enter");
  await until(async () => (await exchange.inputValue()) === "", "the binding is there");
  await page.getByRole("button", { name: "Remove e #" }).focus();
  for (const word of ["paused", "live"]) { // each change of state draws the bindings
    await page.evaluate(() => document.getElementById("pause").click());
    await state(page, word);
    assert.equal(await focused(), "Remove e #");
  }
  await press("Enter");
  await becomes("Remove amq.topic #");

  await page.goto(`${server.url}/?exchange=nowhere&routing_key=%23`);
  await page.locator("#start").focus();
  await press("Enter");
  await page.locator("#notice").waitFor();
  await becomes("Start");
});

test("changes of state are said", async (t) => {
  const server = await gateway(t);
  await server.declare("e");
  const page = await open(t, `${server.url}/?exchange=e&routing_key=%23`);
  await start(page);
  await page.locator("#said", { hasText: "live" }).waitFor({ state: "attached" });
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator("#said", { hasText: "paused" }).waitFor({ state: "attached" });
});
