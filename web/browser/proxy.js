// A TCP proxy between browser and gateway, or gateway and broker: the network, which tests cut.
import net from "node:net";
import { once } from "node:events";

/** `{ port, target, up, refuse(text), cut(), stop() }`: goes to `target` on the loopback while `up`. */
export async function proxy(t, target) {
  const pairs = new Set();
  let refused = null;
  const self = { target, up: true, opened: 0 };
  const server = net.createServer((client) => {
    if (!self.up) return client.destroy();
    self.opened++;
    const upstream = net.connect(self.target, "127.0.0.1");
    const pair = { client, upstream };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    client.on("error", end).on("close", end);
    upstream.on("error", end).on("close", end);
    client.on("data", (chunk) => {
      if (refused && chunk.includes(refused)) return end();
      upstream.write(chunk);
    });
    upstream.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  self.port = server.address().port;
  self.url = `http://127.0.0.1:${self.port}`;
  /** Ends every connection, without a word of goodbye. */
  self.cut = () => {
    for (const { client, upstream } of pairs) {
      client.destroy();
      upstream.destroy();
    }
    pairs.clear();
  };
  /** From now on ends connections on which the client writes this text; null for none. */
  self.refuse = (text) => { refused = text; };
  self.stop = async () => {
    self.cut();
    server.close();
    await once(server, "close");
  };
  t?.after(self.stop);
  return self;
}
