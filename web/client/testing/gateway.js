// The real gateway: the binary with its memory broker, on a free port, and a way to publish quickly.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./fakegateway.js";

const repository = fileURLToPath(new URL("../../../", import.meta.url));
let built;

// WARREN_BIN, else what `make build` left, else a build of our own.
function binary() {
  if (process.env.WARREN_BIN) return process.env.WARREN_BIN;
  const made = join(repository, "bin", "warren");
  if (existsSync(made)) return made;
  if (!built) {
    built = join(mkdtempSync(join(tmpdir(), "warren-")), "warren");
    execFileSync("go", ["build", "-o", built, "./cmd/warren"], { cwd: repository, stdio: "inherit" });
  }
  return built;
}

export class Gateway {
  /** Starts it with these flags and ends it after the test. */
  static async start(t, ...flags) {
    const gateway = new Gateway();
    gateway.flags = flags;
    await gateway.run("127.0.0.1:0");
    t.after(() => gateway.stop("SIGKILL"));
    return gateway;
  }

  async run(address) {
    const flags = ["serve", "--listen", address, "--admin-listen", "", "--drain", "1s", "--request-rate-per-caller", "1000000",
      "--request-burst-per-caller", "1000000", ...this.flags];
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("WARREN_"))); // they are flags too
    this.process = spawn(binary(), flags, { stdio: ["ignore", "ignore", "pipe"], env });
    this.exited = once(this.process, "exit");
    this.log = "";
    this.process.stderr.on("data", (data) => (this.log += data));
    this.url = await until(() => {
      if (this.process.exitCode !== null) throw new Error(`the gateway ended: ${this.log}`);
      return /"url":"([^"]+)"/.exec(this.log)?.[1];
    }, "the gateway's address", 20_000);
    this.port = Number(new URL(this.url).port);
  }

  async stop(signal = "SIGTERM") {
    this.process.kill(signal);
    await this.exited;
  }

  /** Ends it without a word, as a crash does, and starts it again at the same address. */
  async restart(signal = "SIGKILL") {
    await this.stop(signal);
    await this.run(`127.0.0.1:${this.port}`);
  }

  async call(method, path, body) {
    const response = await fetch(this.url + path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }

  declare(name, type = "topic") {
    return this.call("PUT", `/v1/exchanges/${name}`, { type });
  }

  /** Publishes the numbers first to last in order, pipelined on one connection. */
  async publish(exchange, first, last = first, { key = "k", padding = "", paced = () => undefined } = {}) {
    const socket = connect(this.port, "127.0.0.1");
    await once(socket, "connect");
    socket.resume(); // the answers; a publish that fails shows in what the reader misses
    const ended = once(socket, "close");
    const batch = 500;
    for (let n = first; n <= last; n += batch) {
      const requests = [];
      for (let i = n; i < n + batch && i <= last; i++) {
        const payload = padding ? JSON.stringify({ n: i, padding }) : String(i);
        const body = JSON.stringify({ routing_key: key, payload, payload_encoding: "string", properties: { content_type: "application/json" } });
        const close = i === last ? "Connection: close\r\n" : "";
        requests.push(`POST /v1/exchanges/${exchange}/publish HTTP/1.1\r\nHost: 127.0.0.1:${this.port}\r\nContent-Type: application/json\r\n`
          + `Content-Length: ${Buffer.byteLength(body)}\r\n${close}\r\n${body}`);
      }
      if (!socket.write(requests.join(""))) await once(socket, "drain");
      await paced(Math.min(n + batch - 1, last));
    }
    await ended;
  }
}
