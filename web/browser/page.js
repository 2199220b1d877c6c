// What the browser tests share: a browser for the file, a page for each test.
import assert from "node:assert/strict";
import { after } from "node:test";
import { launch, SHELL } from "./chromium.js";

const PATIENCE = 15_000; // ms; nothing here takes a tenth of it on a quiet machine

let browser;
after(async () => (await browser)?.close());

/** The browser of this file, a promise. */
export const theBrowser = () => (browser ??= launch(SHELL));

/**
 * A page at a URL, closed after the test, which fails if the page threw, asked another origin for something, or broke the
 * Content-Security-Policy. `options` are those of a browser context.
 */
export async function open(t, url, options = {}) {
  const context = await (await theBrowser()).newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error.stack));
  page.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text())) wrong.push(message.text());
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== new URL(url).origin && !["blob:", "data:"].includes(protocol)) wrong.push(`a request to ${request.url()}`);
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  });
  await page.goto(url);
  return page;
}

/** Waits until `check` answers something true, and returns it. */
export async function until(check, what = check) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const got = await check();
    if (got) return got;
    if (Date.now() > end) assert.fail(`not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits for the word of the state. */
export const state = (page, word) => page.locator(`body[data-state="${word}"]`).waitFor();

/** Presses Start and waits until the page listens. */
export async function start(page) {
  await page.locator("#start").click();
  await state(page, "live");
}

/** The rows of messages with this text in their key. */
export const rows = (page, text) => page.locator('.entry[data-type="message"]', { has: page.locator(".key", { hasText: text }) });

/** The keys of the rows from the newest. */
export const keys = async (page) => {
  const list = await page.locator('.entry[data-type="message"]').evaluateAll((entries) => entries
    .map((entry) => [new DOMMatrix(entry.style.transform).f, entry.querySelector(".key").textContent]));
  return list.sort(([a], [b]) => a - b).map(([, key]) => key);
};

/** Waits until the keys from the newest are these. */
export async function expectKeys(page, wanted) {
  let got;
  await until(async () => {
    got = await keys(page);
    return String(got) === String(wanted);
  }, `keys ${wanted}, at last ${got}`);
}
