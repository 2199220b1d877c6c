// Listens with web/client/warren.js in Node and prints one frame per line. It moves to the other transport every now and then.
import { createRequire } from "node:module";
import { once } from "node:events";
import { pathToFileURL } from "node:url";

const [web, url, after, ...exchanges] = process.argv.slice(1);
const { Warren } = await import(pathToFileURL(web + "/client/warren.js"));
const WebSocket = createRequire(pathToFileURL(web + "/package.json"))("ws");
const warren = new Warren(url, { WebSocket, retryCap: 2000, timeout: 5000 });
const sub = warren.open(exchanges.map((exchange) => ({ exchange })), after ? { after } : {});
let frames = 0;
for await (const frame of sub.frames()) {
  if (!process.stdout.write(JSON.stringify(frame) + "\n")) await once(process.stdout, "drain");
  if (++frames % 400 === 0) sub.use(frames % 800 === 0 ? "ws" : "sse").catch(() => {}); // it fails when the network does
}
