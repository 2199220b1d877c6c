// What a browser does to a tab: one in the background is frozen, one that was left is kept and comes back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gateway, publishNumbers } from "./gateway.js";
import { until } from "./page.js";
import { browserWindow } from "./tab.js";

/** The inspector, listening in a tab that can be hidden; `life` are the events of its page, `shows(n)` waits for n messages. */
async function listeningTab(t) {
  const server = await gateway(t);
  await server.declare("e");
  const { open: tab } = await browserWindow(t);
  const page = await tab(`${server.url}/?exchange=e&routing_key=%23`);
  const holds = (expression) => until(() => page.evaluate(expression).catch(() => false), expression); // there is nothing to ask while a page is loaded
  await holds("document.querySelector('#bindings li') !== null");
  await page.evaluate(`globalThis.life = [];
    for (const type of ["freeze", "resume", "pageshow"]) addEventListener(type, ({ type, persisted }) => life.push(persisted ? "restored" : type), true);
    document.getElementById("start").click()`);
  await holds("document.body.dataset.state === 'live'");
  const shows = async (n) => {
    await holds(`document.getElementById("count").textContent.startsWith("${n} message")`);
    assert.equal(await page.evaluate("document.querySelectorAll('.entry[data-type=gap]').length"), 0);
  };
  return { server, tab, page, holds, shows, life: () => page.evaluate("life") };
}

test("a tab that is frozen in the background comes back to what it missed", async (t) => {
  const { server, tab, page, holds, shows, life } = await listeningTab(t);
  await publishNumbers(server, 1, 2);
  await shows(2);
  await (await tab("about:blank")).front();
  await holds("document.hidden");
  await page.send("Page.setWebLifecycleState", { state: "frozen" });
  await publishNumbers(server, 3, 5);
  await page.send("Page.setWebLifecycleState", { state: "active" });
  await page.front();
  await shows(5);
  assert.deepEqual(await life(), ["freeze", "resume"]);
  await holds("document.body.dataset.state === 'live'");
});

test("a page that was left and comes back from the browser's cache goes on where it was", async (t) => {
  const { server, page, holds, shows, life } = await listeningTab(t);
  await publishNumbers(server, 1, 2);
  await shows(2);
  await page.evaluate("location.href = '/warren.js'");
  await holds("location.pathname === '/warren.js' && document.readyState === 'complete'");
  await publishNumbers(server, 3, 5);
  await page.evaluate("history.back()");
  await holds("globalThis.life !== undefined");
  await shows(5);
  assert.ok((await life()).includes("restored"));
});
