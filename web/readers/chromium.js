// Reads COUNT messages of streams with Chromium, on the gateway's own page, each stream by its EventSource and its WebSocket, and prints
// each message as a line of JSON. One browser reads all, since that takes long to start.
// node chromium.js BASE COUNT PATH...
import { launch } from "../browser/chromium.js";
import { print } from "./print.js";

const [base, count, ...paths] = process.argv.slice(2);

/** Reads in the page. */
function read({ path, count, how }) {
  return new Promise((resolve, reject) => {
    const frames = [];
    const keep = (source) => (event) => {
      const { type, id } = JSON.parse(event.data);
      if (type !== "message" || frames.length >= count) return;
      // A browser knows the id of an event by its id: line; a WebSocket has none.
      frames.push({ path, how, id: how === "EventSource" ? event.lastEventId : id, data: event.data });
      if (frames.length < count) return;
      source.close();
      resolve(frames);
    };
    const url = new URL(`${path}/${how === "EventSource" ? "sse" : "ws"}?from=earliest`, location.href);
    if (how === "WebSocket") url.protocol = "ws";
    const source = how === "EventSource" ? new EventSource(url) : new WebSocket(url, "warren.v1");
    source.onmessage = keep(source);
    // A WebSocket that is refused is opened and closed, which is no error.
    source.onerror = source.onclose = () => reject(new Error(`${how} of ${path} failed after ${frames.length} messages`));
  });
}

const browser = await launch();
try {
  const page = await browser.newPage();
  await page.goto(base);
  for (const path of paths)
    for (const how of ["EventSource", "WebSocket"]) print(await page.evaluate(read, { path, count: Number(count), how }));
} finally {
  await browser.close();
}
