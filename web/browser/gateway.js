// The real binary, on a port of its own, for tests and pictures.
import { execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What is tested: WARREN_TEST_BINARY, else what `make build` left. */
export const BINARY = process.env.WARREN_TEST_BINARY ?? process.env.WARREN_BIN ?? fileURLToPath(new URL("../../bin/warren", import.meta.url));

/**
 * Starts a gateway; it is stopped after the test. `{ url, port, stop() }`; flags are added to what is needed. `behind` is the
 * URL of a proxy by which it is reached.
 */
export async function gateway(t, flags = [], { demo = false, behind } = {}) {
  const port = behind ? await freePort() : 0; // the log then says the proxy's address only
  const args = ["serve", "--listen", `127.0.0.1:${port}`, "--admin-listen", "", "--drain", "100ms", "--log-format", "json",
    "--request-rate-per-caller", "100000", "--request-burst-per-caller", "100000", ...(demo ? ["--demo"] : []), ...(behind ? ["--public-url", behind] : []), ...flags];
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("WARREN_"))); // they are flags too
  const child = spawn(BINARY, args, { stdio: ["ignore", "ignore", "pipe"], env });
  const url = await listening(child);
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  };
  t?.after(stop);
  const at = { port: port || Number(new URL(url).port), host: new URL(url).host };
  return { url, port: at.port, stop, publish: (...args) => publish(at, ...args), declare: (...args) => declare(at, ...args) };
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
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

async function declare(at, name, type = "topic") {
  await call(at, "PUT", `/v1/exchanges/${encodeURIComponent(name)}`, { type });
}

/** Publishes a body: a string, bytes, or a value that becomes JSON. */
async function publish(at, exchange, routing_key, body, properties = {}) {
  const binary = body instanceof Uint8Array;
  const text = binary ? Buffer.from(body).toString("base64") : typeof body === "string" ? body : JSON.stringify(body);
  await call(at, "POST", `/v1/exchanges/${encodeURIComponent(exchange)}/publish`,
    { routing_key, payload: text, payload_encoding: binary ? "base64" : "string", properties });
}

// Past any proxy, but in its name: the gateway serves no other.
async function call({ port, host }, method, path, body) {
  const text = JSON.stringify(body);
  const headers = { Host: host, "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text), Connection: "close" };
  const request = http.request({ host: "127.0.0.1", port, method, path, headers });
  request.end(text);
  const [response] = await once(request, "response");
  const answer = (await response.toArray()).join("");
  if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${answer}`);
}

/** A pair of keys for tokens: `public` is the file for --jwt-key, `mint(sub, ...binds)` makes a token. */
export async function tokenKeys(t) {
  const directory = await mkdtemp(join(tmpdir(), "warren-keys-"));
  t.after(() => rm(directory, { recursive: true }));
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const files = { public: join(directory, "public.pem"), private: join(directory, "private.pem") };
  await writeFile(files.public, publicKey.export({ type: "spki", format: "pem" }));
  await writeFile(files.private, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const mint = (sub, ...binds) => execFileSync(BINARY, ["token", "--key", files.private, "--sub", sub, ...binds.flatMap((bind) => ["--bind", bind])], { encoding: "utf8" }).trim();
  return { public: files.public, mint };
}

/** Publishes so many lifelike messages a second to "e", pipelined on one connection, until `stop()`. */
export function flood(url, rate) {
  const { hostname, port, host } = new URL(url);
  const socket = net.connect(Number(port), hostname).on("error", () => {});
  socket.resume(); // the answers
  const begun = performance.now();
  let n = 0;
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) / 1000) * rate);
    let requests = "";
    for (; n < due; n++) {
      const payload = JSON.stringify({ build: n, project: "warren", branch: "main", os: "linux", state: n % 7 ? "passed" : "failed", duration_ms: n * 13 });
      const body = JSON.stringify({ routing_key: `linux.amd64.warren.${n}`, payload, payload_encoding: "string", properties: { content_type: "application/json", message_id: `m-${n}` } });
      requests += `POST /v1/exchanges/e/publish HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    }
    if (requests) socket.write(requests);
  }, 10);
  return { stop() {
    clearInterval(timer);
    socket.destroy();
  } };
}

/** The numbers from one to another. */
export const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Publishes numbers to the exchange "e", each with a key of its own. */
export const publishNumbers = async (server, from, to) => { for (const n of numbers(from, to)) await server.publish("e", `k.${n}`, n); };
