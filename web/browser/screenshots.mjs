// Makes the pictures of docs/images from the running page: node web/browser/screenshots.mjs [directory]
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launch } from "./chromium.js";
import { gateway } from "./gateway.js";

const directory = process.argv[2] ?? fileURLToPath(new URL("../../docs/images", import.meta.url));
const link = "/?exchange=builds&routing_key=linux.%23&exchange=builds&routing_key=*.*.warren.failed&exchange=deploys&routing_key=%23";
const sizes = { wide: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };

/** Waits until the page holds this many messages. */
const arrived = (page, n) => page.waitForFunction((want) => parseInt(document.getElementById("count").textContent, 10) >= want, n, { timeout: 90_000 });

async function picture(browser, url, scheme, form) {
  const context = await browser.newContext({ viewport: sizes[form], colorScheme: scheme, deviceScaleFactor: 2, hasTouch: form === "phone", isMobile: form === "phone", locale: "en-GB" });
  const page = await context.newPage();
  await page.goto(url + link);
  await page.getByRole("button", { name: "Start", exact: true }).click();
  return { page, context, shot: (name) => page.screenshot({ path: `${directory}/${name}-${form}-${scheme}.png` }) };
}

async function wide(browser, url, scheme) {
  const { page, context, shot } = await picture(browser, url, scheme, "wide");
  await arrived(page, 110);
  const row = page.locator('.entry[data-type="message"]').filter({ hasText: /\.(passed|failed)/ }).first();
  await page.getByLabel("A message’s routing key").fill(await row.locator(".key").textContent());
  await row.click();
  await page.mouse.move(700, 20); // the picture shows rest
  await shot("inspector");
  await context.close();
}

async function phone(browser, url, scheme) {
  const { page, context, shot } = await picture(browser, url, scheme, "phone");
  await arrived(page, 60);
  await shot("inspector");
  await page.locator('.entry[data-type="message"]').filter({ hasText: /\.(passed|failed)/ }).first().tap();
  await page.getByRole("button", { name: "Close" }).waitFor();
  await shot("message");
  await context.close();
}

await mkdir(directory, { recursive: true });
const server = await gateway(null, [], { demo: true });
const browser = await launch();
try {
  await Promise.all(["light", "dark"].flatMap((scheme) => [wide(browser, server.url, scheme), phone(browser, server.url, scheme)]));
} finally {
  await browser.close();
  await server.stop();
}
