// The real binary, on a port of its own, for tests and pictures.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const BINARY = process.env.WARREN_TEST_BINARY ?? fileURLToPath(new URL("../../bin/warren", import.meta.url));

/** Starts a gateway; it is stopped after the test. `{ url, port, stop() }`; flags are added to what is needed. */
export async function gateway(t, flags = [], { port = 0, demo = false } = {}) {
  const args = ["serve", "--listen", `127.0.0.1:${port}`, "--admin-listen", "", "--drain", "100ms", "--log-format", "json", ...(demo ? ["--demo"] : []), ...flags];
  const child = spawn(BINARY, args, { stdio: ["ignore", "ignore", "pipe"] });
  const url = await listening(child);
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  };
  t?.after(stop);
  return { url, port: Number(new URL(url).port), stop, publish: (...args) => publish(url, ...args), declare: (...args) => declare(url, ...args) };
}

// The log says where it listens.
function listening(child) {
  return new Promise((resolve, reject) => {
    let log = "";
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`warren did not start: ${log}`)));
    child.stderr.on("data", (chunk) => {
      log += chunk;
      const found = /"msg":"listening".*?"url":"([^"]+)"/.exec(log);
      if (found) resolve(found[1]);
    });
  });
}

async function declare(url, name, type = "topic") {
  await call(`${url}/v1/exchanges/${encodeURIComponent(name)}`, "PUT", { type });
}

/** Publishes a body: a string, bytes, or a value that becomes JSON. */
async function publish(url, exchange, routing_key, body, properties = {}) {
  const binary = body instanceof Uint8Array;
  const text = binary ? Buffer.from(body).toString("base64") : typeof body === "string" ? body : JSON.stringify(body);
  await call(`${url}/v1/exchanges/${encodeURIComponent(exchange)}/publish`, "POST",
    { routing_key, payload: text, payload_encoding: binary ? "base64" : "string", properties });
}

async function call(url, method, body) {
  const response = await fetch(url, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
}
