// Reads COUNT messages of a stream with the npm package eventsource-parser, and prints each as a line of JSON.
// node eventsource-parser.js BASE PATH COUNT
import { createParser } from "eventsource-parser";
import { print } from "./print.js";

const [base, path, count] = process.argv.slice(2);
const frames = [];
const abort = new AbortController();
const parser = createParser({
  onEvent({ id, event, data }) {
    if (event === undefined && frames.length < count) frames.push({ id, data });
  },
  onError(error) {
    if (error.type !== "invalid-retry") throw error;
  },
});
const response = await fetch(`${base}${path}/sse?from=earliest`, { signal: abort.signal });
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
for await (const chunk of response.body) {
  parser.feed(decoder.decode(chunk, { stream: true }));
  if (frames.length >= count) break;
}
abort.abort();
print(frames);
