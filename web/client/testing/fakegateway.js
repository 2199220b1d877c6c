// A gateway that does what a test says: it records attachments and requests, and sends the frames it is given.
import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

/** Polls a condition until it holds; fails after the deadline. */
export async function until(condition, what = condition.toString(), deadline = 5000) {
  const end = performance.now() + deadline;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** One attached stream, seen from the gateway. */
class Attachment {
  requests = [];
  closed = false;

  constructor(gateway, kind, request) {
    const url = new URL(request.url, "http://gateway");
    this.gateway = gateway;
    this.kind = kind;
    this.path = url.pathname;
    this.query = url.searchParams;
    this.headers = request.headers;
  }

  /** Sends frames, each of them one object of the contract. */
  send(...frames) {
    for (const frame of frames) this.write(frame);
    return this;
  }

  ready(fields = {}) {
    const bindings = JSON.parse(this.query.get("bindings") ?? "[]").map((binding, index) => ({ id: `b${index}`, state: "bound", ...binding }));
    return this.send({ type: "ready", id: "s.0", stream: "s", bindings, resumed: this.query.has("after"), ...fields });
  }

  messages(first, last = first, stream = "s") {
    for (let n = first; n <= last; n++) {
      this.send({ type: "message", id: `${stream}.${n}`, exchange: "e", routing_key: "k", properties: {}, payload: n, payload_encoding: "json" });
    }
    return this;
  }

  bye(code, reason, fields = {}) {
    this.send({ type: "bye", code, reason, reconnect: code === 1001 || code === 1011 || code === 4408 || code === 4429 || code === 4503, ...fields });
    this.end(code, reason);
  }

  /** The next request of this type that no call has returned yet (WebSocket only). */
  async request(type) {
    const index = await until(() => this.requests.findIndex((r) => r.type === type) + 1, `a request ${type}`);
    return this.requests.splice(index - 1, 1)[0];
  }
}

/** Listens on a free port of the loopback; `rest(method, path, body, request)` answers [status, body, headers]. */
export class FakeGateway {
  attachments = [];
  calls = [];
  waiting = [];
  refuseWebSocket = false;
  rest = () => [404, { code: "not_found", title: "Not found", status: 404 }];

  static async start() {
    const gateway = new FakeGateway();
    gateway.server = createServer((request, response) => gateway.serve(request, response));
    gateway.sockets = new WebSocketServer({ noServer: true });
    gateway.connections = new Set(); // also of WebSockets, which the server forgets
    gateway.server.on("connection", (socket) => {
      gateway.connections.add(socket);
      socket.on("close", () => gateway.connections.delete(socket));
    });
    gateway.server.on("upgrade", (request, socket, head) => gateway.upgrade(request, socket, head));
    gateway.server.listen(0, "127.0.0.1");
    await once(gateway.server, "listening");
    gateway.url = `http://127.0.0.1:${gateway.server.address().port}`;
    return gateway;
  }

  async stop() {
    const closed = once(this.server, "close");
    this.server.close();
    for (const socket of this.connections) socket.destroy();
    await closed;
  }

  /** The next attachment that no call has returned yet. */
  async attached() {
    return until(() => this.waiting.shift(), "an attachment");
  }

  add(attachment) {
    this.attachments.push(attachment);
    this.waiting.push(attachment);
  }

  upgrade(request, socket, head) {
    if (this.refuseWebSocket) {
      this.refused = (this.refused ?? 0) + 1;
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    this.sockets.handleUpgrade(request, socket, head, (ws) => {
      const attachment = new Attachment(this, "ws", request);
      attachment.write = (frame) => ws.send(JSON.stringify(frame));
      attachment.end = (code = 1000, reason = "") => ws.close(code, reason);
      attachment.cut = () => ws.terminate();
      ws.on("message", (data) => attachment.requests.push(JSON.parse(data)));
      ws.on("close", () => (attachment.closed = true));
      this.add(attachment);
    });
  }

  async serve(request, response) {
    const { method, url } = request;
    if (/\/sse(\?|$)/.test(url)) {
      const refusal = this.refuseStream?.(request);
      return refusal ? answer(response, ...refusal) : this.stream(request, response);
    }
    const parts = await request.toArray();
    const body = parts.length ? JSON.parse(Buffer.concat(parts)) : undefined;
    this.calls.push({ method, url, body, headers: request.headers });
    answer(response, ...(await this.rest(method, url, body, request)));
  }

  stream(request, response) {
    const attachment = new Attachment(this, "sse", request);
    response.writeHead(200, { "Content-Type": "text/event-stream" }).write("retry: 2000\n\n");
    attachment.write = (frame) => {
      const head = (frame.type === "message" ? "" : `event: ${frame.type}\n`) + (frame.id ? `id: ${frame.id}\n` : "");
      response.write(`${head}data: ${JSON.stringify(frame)}\n\n`);
    };
    attachment.raw = (text) => response.write(text);
    attachment.end = () => response.end();
    attachment.cut = () => response.destroy();
    response.on("close", () => (attachment.closed = true));
    this.add(attachment);
  }
}

function answer(response, status, body, headers = {}) {
  response.writeHead(status, { "Content-Type": status < 400 ? "application/json" : "application/problem+json", ...headers });
  response.end(status === 204 ? undefined : JSON.stringify(body));
}
