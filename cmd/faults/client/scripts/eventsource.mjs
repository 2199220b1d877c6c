// Listens with the EventSource of Chromium, which reconnects by itself, and prints one frame per line.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [web, url, , ...exchanges] = process.argv.slice(1);
const { chromium } = createRequire(pathToFileURL(web + "/package.json"))("playwright-core");
const browser = await chromium.launch({
  executablePath: process.env.WARREN_TEST_CHROMIUM || "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
process.on("SIGTERM", () => browser.close().finally(() => process.exit(0)));
const page = await browser.newPage();
await page.exposeFunction("emit", (lines) => { process.stdout.write(lines.join("\n") + "\n"); });
await page.goto(url + "/"); // the inspector: its policy lets a page talk to the gateway
await page.evaluate((path) => {
  let lines = [];
  const source = new EventSource(path);
  const take = (event) => {
    if (lines.push(event.data) === 1) setTimeout(() => { emit(lines); lines = []; }, 20);
  };
  for (const type of ["message", "ready", "gap", "bindings", "paused", "resumed", "bye"]) source.addEventListener(type, take);
  // A status other than 200 ends an EventSource for good: that must never be the gateway's doing here.
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) emit(['{"type":"closed"}']); };
}, "/v1/sse?" + new URLSearchParams(exchanges.flatMap((exchange) => [["exchange", exchange], ["routing_key", "#"]])));
await new Promise(() => {});
