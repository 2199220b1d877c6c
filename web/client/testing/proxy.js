// A network that a test can break: TCP between the client and the gateway.
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Proxy {
  pairs = new Set();
  /** Handshakes of WebSockets are answered as by a proxy that does not know them. */
  blockWebSocket = false;
  /** Connections stay open, but nothing passes any more. */
  blackhole = false;

  static async start(t, port) {
    const proxy = new Proxy();
    proxy.server = createServer((socket) => proxy.pass(socket, port));
    proxy.server.listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`;
    t.after(async () => {
      proxy.blackhole = false;
      const closed = once(proxy.server, "close");
      proxy.server.close();
      proxy.cut();
      await closed;
    });
    return proxy;
  }

  /** Ends every connection. (Node 20 may spin at its exit after resetAndDestroy() of a socket that was ending.) */
  cut() {
    for (const pair of this.pairs) for (const socket of pair) socket.destroy();
    this.pairs.clear();
  }

  pass(client, port) {
    const upstream = connect(port, "127.0.0.1");
    const pair = [client, upstream];
    this.pairs.add(pair);
    client.once("data", (head) => {
      if (!this.blockWebSocket || !/upgrade: websocket/i.test(head)) return;
      client.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      upstream.destroy();
    });
    this.pump(client, upstream);
    this.pump(upstream, client);
  }

  pump(from, to) {
    from.on("error", () => {}); // a close follows
    from.on("data", (data) => {
      if (!this.blackhole && to.writable && !to.write(data)) from.pause();
    });
    to.on("drain", () => from.resume());
    from.on("close", () => {
      if (!this.blackhole) to.destroySoon();
    });
  }
}
