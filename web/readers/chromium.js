// Reads COUNT messages of a stream with Chromium, on the gateway's own page, and prints each as a line of JSON.
// node chromium.js BASE PATH COUNT EventSource|WebSocket
import { launch } from "../browser/chromium.js";
import { print } from "./print.js";

const [base, path, count, how] = process.argv.slice(2);
const browser = await launch();
try {
  const page = await browser.newPage();
  await page.goto(base);
  print(await page.evaluate(({ path, count, how }) => new Promise((resolve, reject) => {
    const frames = [];
    const keep = (source) => (event) => {
      const { type, id } = JSON.parse(event.data);
      if (type !== "message" || frames.length >= count) return;
      // A browser knows the id of an event by its id: line; a WebSocket has none.
      frames.push({ id: how === "EventSource" ? event.lastEventId : id, data: event.data });
      if (frames.length < count) return;
      source.close();
      resolve(frames);
    };
    const url = new URL(`${path}/${how === "EventSource" ? "sse" : "ws"}?from=earliest`, location.href);
    if (how === "WebSocket") url.protocol = "ws";
    const source = how === "EventSource" ? new EventSource(url) : new WebSocket(url, "warren.v1");
    source.onmessage = keep(source);
    // A WebSocket that is refused is opened and closed, which is no error.
    source.onerror = source.onclose = () => reject(new Error(`${how} failed after ${frames.length} messages`));
  }), { path, count: Number(count), how }));
} finally {
  await browser.close();
}
