// Whatever a message holds shows as text: it is written by strangers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gateway } from "./gateway.js";
import { open, rows, start, until } from "./page.js";

const MARKUP = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script></pre></textarea>`;

async function listening(t) {
  const server = await gateway(t, ["--max-message-bytes", "2097152"]);
  await server.declare("e");
  const page = await open(t, `${server.url}/?exchange=e&routing_key=%23`);
  await start(page);
  return { server, page, pane: page.getByLabel("The selected message") };
}

const elements = (page) => page.evaluate(() => document.querySelectorAll("img, iframe, main script, object, embed, main style, form[action]").length);

test("markup is text, wherever it stands", async (t) => {
  const { server, page, pane } = await listening(t);
  const key = MARKUP.slice(0, 120);
  const properties = { content_type: MARKUP, type: MARKUP, app_id: MARKUP, headers: { [MARKUP]: MARKUP, nested: { [MARKUP]: [MARKUP] } } };
  await server.declare(MARKUP.slice(0, 60));
  await server.publish("e", key, JSON.stringify({ [MARKUP]: MARKUP, list: [MARKUP] }), { ...properties, content_type: "application/json" });
  await server.publish("e", key, MARKUP, properties);
  await until(async () => (await rows(page, "onerror").count()) === 2, "both rows");
  for (const row of await rows(page, "onerror").all()) {
    await row.click();
    await pane.getByText("onerror").first().waitFor();
    for (const form of await pane.getByRole("radio").all()) if (await form.isEnabled()) await form.check();
    const closed = pane.locator("details:not([open]) > summary");
    while (await closed.count()) await closed.first().click();
    await pane.getByRole("button", { name: "Why did it match?" }).click();
    await page.locator(".verdicts", { hasText: "onerror" }).waitFor();
  }
  const exchange = page.locator("#binding-form [name=exchange]");
  await exchange.fill(MARKUP.slice(0, 60));
  await exchange.press("Enter");
  await page.locator('.entry[data-type="bindings"]').waitFor();
  await page.getByText("Copy as", { exact: true }).click();
  for (const kind of await page.locator("#copy-kinds").getByRole("radio").all()) await kind.check();
  assert.equal(await elements(page), 0);
  assert.doesNotMatch(await page.title(), /owned/);
});

test("a link cannot bring markup in either", async (t) => {
  const server = await gateway(t);
  const page = await open(t, `${server.url}/?exchange=${encodeURIComponent(MARKUP)}&routing_key=${encodeURIComponent(MARKUP)}&text=${encodeURIComponent(MARKUP)}`);
  await page.locator("#bindings li").waitFor();
  await page.locator("#start").click();
  await page.locator("#notice").waitFor();
  assert.equal(await elements(page), 0);
  assert.doesNotMatch(await page.title(), /owned/);
});

test("marks that turn the direction of writing are spelt out", async (t) => {
  const { server, page, pane } = await listening(t);
  await server.publish("e", "safe.\u202egpj.exe", `{"\u202eabc":"\u2066x\\u0000"}`, { content_type: "application/json" });
  await server.publish("e", "שלום.مرحبا", "שלום مرحبا", { content_type: "text/plain" });
  await rows(page, "safe.⟨U+202E⟩gpj.exe").click();
  await pane.getByText("⟨U+202E⟩abc").waitFor();
  await rows(page, "שלום.مرحبا").click();
  await pane.getByRole("heading", { name: "שלום.مرحبا" }).waitFor();
  assert.equal(await pane.locator("pre").textContent(), "שלום مرحبا");
});

const spelt = "\u0080".repeat(127); // each by eight
for (const [width, height, key] of [[1280, 720, spelt], [390, 844, spelt], [320, 256, "word.".repeat(32)]]) {
  test(`a long key leaves room for the payload, ${width}×${height}`, async (t) => {
    const { server, page, pane } = await listening(t);
    await page.setViewportSize({ width, height });
    await server.publish("e", key, "payload ".repeat(500), { content_type: "text/plain" });
    await rows(page, "").click();
    const text = pane.locator("pre");
    await text.waitFor();
    const free = await text.evaluate((pre) => { // below the head, when the pane is scrolled to its text
      const pane = pre.closest("aside");
      pre.scrollIntoView();
      const { top, bottom } = pane.getBoundingClientRect();
      return (bottom - Math.max(pane.querySelector("header").getBoundingClientRect().bottom, top)) / (bottom - top);
    });
    assert.ok(free > 0.6, `${free} of the pane`);

    const subject = pane.locator(".subject");
    await subject.evaluate((heading) => (heading.tabIndex < 0 ? heading.closest("aside") : heading).focus());
    await page.keyboard.press("Home");
    await until(async () => { // its last character, by keyboard
      await page.keyboard.press("ArrowDown");
      return subject.evaluate((heading) => {
        const range = document.createRange();
        range.setStart(heading.lastChild, heading.lastChild.length - 1);
        range.setEnd(heading.lastChild, heading.lastChild.length);
        const { left, bottom } = range.getBoundingClientRect();
        return heading.contains(document.elementFromPoint(left + 1, bottom - 2));
      });
    }, "the end of the key");
  });
}

test("blanks are shown as many as there are", async (t) => {
  const { server, page, pane } = await listening(t);
  await server.publish("e", "a  b", "x", { content_type: "text/plain", headers: { h: "c   d" } });
  const shown = (place) => place.evaluate((element) => element.innerText); // as it is laid out
  assert.equal(await shown(rows(page, "a  b").locator(".key")), "a  b");
  await rows(page, "a  b").click();
  assert.equal(await shown(pane.locator(".subject")), "a  b");
  assert.equal(await shown(pane.locator("dd", { hasText: /^c +d$/ })), "c   d");
});

test("a long line of any script is laid out in parts", async (t) => {
  const { server, page, pane } = await listening(t);
  const words = "שלום עולם ".repeat(2_000);
  await server.publish("e", "text", words, { content_type: "text/plain" });
  await server.publish("e", "header", "", { headers: { h: words } });
  await server.publish("e", "tree", { s: words, x: "x".repeat(20_000) });
  await rows(page, "text").click();
  const pre = pane.locator("pre");
  assert.equal(await pre.textContent(), words.slice(0, 8192));
  await pane.getByRole("button", { name: "8,192 more of 11,808 characters" }).click();
  await pane.getByRole("button", { name: "3,616 more of 3,616 characters" }).click();
  assert.equal(await pre.textContent(), words);

  await rows(page, "header").click();
  const header = pane.locator("dd", { hasText: "שלום" });
  await header.getByRole("button", { name: "8,192 of 20,000 characters" }).click();
  await header.getByRole("button", { name: "8,192 more of 11,808 characters" }).click();
  assert.equal((await header.locator(".part").allTextContents()).join(""), words.slice(0, 16_384));

  await rows(page, "tree").click();
  await pane.getByRole("button", { name: "all 20,000 characters" }).click();
  for (const name of ["8,192 of 20,000 characters", "8,192 more of 11,808 characters", "3,616 more of 3,616 characters"]) await pane.getByRole("button", { name }).click();
  assert.deepEqual(await pane.locator(".string").allTextContents(), [`"${words}"`, `"${"x".repeat(20_000)}"`]);
});

test("a megabyte, a deep value, a long list and binary do not stop the page", async (t) => {
  const { server, page, pane } = await listening(t);
  const deep = 20_000;
  const bodies = {
    deep: ["[".repeat(deep) + "]".repeat(deep), "application/json"],
    list: [JSON.stringify(Array.from({ length: 6_000 }, (_, i) => i)), "application/json"],
    string: [JSON.stringify({ s: "y".repeat(40_000) }), "application/json"],
  };
  for (const [key, [body, type]] of Object.entries(bodies)) await server.publish("e", key, body, { content_type: type });
  await server.publish("e", "binary", Uint8Array.from({ length: 30_000 }, (_, i) => i % 256));
  await rows(page, "binary").waitFor();

  await rows(page, "deep").click();
  for (let i = 0; i < 8; i++) await pane.locator("details:not([open]) > summary").first().click();
  assert.ok((await pane.locator("details").count()) < 40, "what is closed does not exist");
  await rows(page, "list").click();
  await pane.getByText("6,000 items").waitFor();
  if (!(await pane.getByRole("button", { name: /^100 more of/ }).isVisible())) await pane.locator("summary").first().click();
  await pane.getByRole("button", { name: "100 more of 5,900" }).click();
  await pane.getByRole("button", { name: "100 more of 5,800" }).waitFor();
  await rows(page, "string").click();
  await pane.getByRole("button", { name: "all 40,000 characters" }).click();
  await until(async () => (await pane.locator(".string").textContent()).length === 40_002, "the whole string");
  await rows(page, "binary").click();
  assert.match(await pane.locator("pre").textContent(), /^00000000 {2}00 01 02 .*\n00000010 {2}10/);
  await pane.getByRole("button", { name: /more of .* bytes/ }).click();

  // A text of a megabyte, as the pane gets it from the list: publishing takes bodies of 64 KiB only.
  const took = await page.evaluate(async (text) => {
    const { Detail } = await import("/inspector/detail.js");
    const begun = performance.now();
    new Detail({ step() {}, closed() {}, ask() {} }).show({ type: "message", seq: 0, time: 0, id: "s.1", exchange: "e", routing_key: "k", properties: {}, payload: text, payload_encoding: "string", size: text.length });
    document.getElementById("detail").getBoundingClientRect();
    return performance.now() - begun;
  }, "x".repeat(1_000_000));
  assert.ok(took < 5000, `a megabyte took ${took} ms`);
  await pane.getByRole("button", { name: /more of .* characters/ }).waitFor();
});
