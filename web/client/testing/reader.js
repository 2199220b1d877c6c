// A reader for harnesses: node reader.js URL EXCHANGE[=KEY] … [--transport ws|sse] [--after ID] [--share=false] prints one
// frame per line on standard output and states on standard error, as `warren listen` does.
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { Warren } from "../warren.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    transport: { type: "string", default: "auto" }, after: { type: "string" }, share: { type: "string" },
    token: { type: "string", default: process.env.TOKEN }, "retry-base": { type: "string", default: "500" },
    "retry-cap": { type: "string", default: "30000" }, "upgrade-after": { type: "string", default: "60000" },
  },
});
const [url, ...names] = positionals;
const bindings = names.map((name) => {
  const [exchange, ...key] = name.split("=");
  return { exchange, routing_key: key.join("=") || "#" };
});
const warren = new Warren(url, {
  WebSocket, token: values.token, transport: values.transport, retryBase: Number(values["retry-base"]),
  retryCap: Number(values["retry-cap"]), upgradeAfter: Number(values["upgrade-after"]),
});
const sub = warren.open(bindings, { after: values.after, share: values.share !== "false" });
sub.on("state", (change) => console.error(JSON.stringify({ ...change, error: change.error?.message })));
process.stdout.on("error", () => sub.close()); // nobody reads any more
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => sub.close());
try {
  for await (const frame of sub.frames()) {
    if (!process.stdout.write(`${JSON.stringify(frame)}\n`)) await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
