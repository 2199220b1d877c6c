// What the tests share.
import { WebSocket } from "ws";
import { Warren } from "../warren.js";
import { FakeGateway } from "./fakegateway.js";

export const binding = { exchange: "e", routing_key: "k" };

/** A fake gateway and a client of it, both gone after the test. The backoff is short, so that tests are. */
export async function setup(t, options = {}) {
  const gateway = await FakeGateway.start();
  const warren = new Warren(gateway.url, { WebSocket, retryBase: 10, retryCap: 50, ...options });
  t.after(async () => {
    await warren.close();
    await gateway.stop();
  });
  return { gateway, warren };
}

/** A subscription whose stream is open, and the gateway's side of it. */
export async function subscribed(t, options, { ready, bindings = binding, ...rest } = {}) {
  const { gateway, warren } = await setup(t, options);
  const sub = warren.open(bindings, rest);
  const attachment = (await gateway.attached()).ready(ready);
  await sub.whenReady();
  return { gateway, warren, sub, attachment };
}

/** Collects the details of an event. */
export function collect(sub, type, pick = (detail) => detail) {
  const list = [];
  sub.on(type, (detail) => void list.push(pick(detail)));
  return list;
}

/** The next `count` values of an async iterator. */
export async function take(iterator, count) {
  const list = [];
  while (list.length < count) {
    const { value, done } = await iterator.next();
    if (done) break;
    list.push(value);
  }
  return list;
}

export const payload = (message) => message.payload;
export const numbers = (first, last) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

/** A client that is closed after the test. */
export function client(t, url, options) {
  const warren = new Warren(url, { WebSocket, retryBase: 20, retryCap: 200, ...options });
  t.after(() => warren.close());
  return warren;
}
