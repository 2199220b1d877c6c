import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { binding, collect, payload, setup, subscribed } from "../testing/setup.js";

const other = { exchange: "f", routing_key: "#" };
const owned = { share: false, ready: { subscription: "ID" } };

// The changes that are asked for, by a request or by REST; none is answered.
function collectChanges(gateway, attachment) {
  const changes = [];
  if (attachment) attachment.requests.push = ({ type }) => changes.push(type);
  changes.closed = 0;
  gateway.rest = (method, _url, _body, request) => {
    changes.push(method);
    request.socket.once("close", () => changes.closed++);
    return new Promise(() => {});
  };
  return changes;
}

test("bind and unbind are requests on a WebSocket, one after the other", async (t) => {
  const { sub, attachment } = await subscribed(t, {}, owned);
  const bound = sub.bind({ exchange: "f" });
  const unbound = sub.unbind(binding);
  const bind = await attachment.request("bind");
  assert.deepEqual(bind.bindings, [other]);
  assert.equal(attachment.requests.length, 0);
  attachment.send({ type: "ok", ref: bind.ref, subscription: { id: "ID", bindings: [binding, other] } });
  await bound;
  assert.deepEqual(sub.bindings, [binding, other]);
  const unbind = await attachment.request("unbind");
  attachment.send({ type: "ok", ref: unbind.ref, subscription: { id: "ID", bindings: [other] } });
  await unbound;
  assert.deepEqual(sub.bindings, [other]);
});

test("a binding that is gone already does not keep the others bound", async (t) => {
  const { sub, attachment } = await subscribed(t, {}, owned);
  const unbound = sub.unbind([other, binding]);
  const first = await attachment.request("unbind");
  attachment.send({ type: "error", ref: first.ref, problem: { code: "binding_not_found", title: "No such binding", status: 404, binding: 0 } });
  const second = await attachment.request("unbind");
  assert.deepEqual(second.bindings, [binding]);
  attachment.send({ type: "error", ref: second.ref, problem: { code: "binding_not_found", title: "No such binding", status: 404, binding: 0 } });
  await unbound;
});

test("a refused bind rejects with the gateway's words and changes nothing", async (t) => {
  const { sub, attachment } = await subscribed(t, {}, owned);
  const bound = sub.bind(other);
  const { ref } = await attachment.request("bind");
  attachment.send({ type: "error", ref, problem: { code: "exchange_not_found", title: "No such exchange", status: 404, binding: 0 } });
  await assert.rejects(bound, (error) => error.code === "exchange_not_found" && error.problem.binding === 0);
  assert.equal(sub.state, "live");
});

test("a bind that a cut left unanswered is asked again", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t, {}, owned);
  const bound = sub.bind(other);
  await attachment.request("bind");
  attachment.cut();
  const next = (await gateway.attached()).ready({ subscription: "ID" });
  const { ref } = await next.request("bind");
  next.send({ type: "ok", ref, subscription: { id: "ID", bindings: [binding, other] } });
  await bound;
});

test("on SSE they are REST calls", async (t) => {
  const { gateway, sub } = await subscribed(t, { transport: "sse", token: "T" }, owned);
  gateway.rest = (method) => [200, { id: "ID", bindings: method === "POST" ? [{ id: "b0", ...binding }, { id: "b1", ...other }] : [{ id: "b1", ...other }] }];
  await sub.bind(other);
  assert.equal(sub.bindings.length, 2);
  await sub.unbind([binding, { exchange: "never bound" }]);
  assert.deepEqual(gateway.calls.map(({ method, url }) => `${method} ${url}`), [
    "POST /v1/subscriptions/ID/bindings", "DELETE /v1/subscriptions/ID/bindings/b0",
  ]);
  assert.deepEqual(gateway.calls[0].body, { bindings: [other] });
  assert.equal(gateway.calls[0].headers.authorization, "Bearer T");
  gateway.rest = () => [403, { code: "forbidden_binding", title: "Not allowed", status: 403 }];
  await assert.rejects(sub.bind({ exchange: "secret" }), { code: "forbidden_binding" });
});

test("bindings are the same whatever the order of their arguments, and without those that are undefined", async (t) => {
  const bindings = { exchange: "h", arguments: { b: [1, 2], x: undefined, a: 2 } };
  const { gateway, sub } = await subscribed(t, { transport: "sse" }, { ...owned, bindings });
  sub.bindings = [{ id: "b0", exchange: "h", routing_key: "#", arguments: { a: 2, b: [1, 2] } }]; // as the gateway says it
  gateway.rest = () => [200, { id: "ID", bindings: [] }];
  await sub.unbind(bindings);
  assert.deepEqual(gateway.calls.map(({ method }) => method), ["DELETE"]);
});

test("what changes nothing leaves a shared subscription alone", async (t) => {
  const { gateway, sub } = await subscribed(t);
  await sub.bind(binding);
  await sub.unbind(other);
  assert.equal(sub.id, null);
  assert.equal(gateway.attachments.length, 1);
});

test("a paused SSE subscription can be changed too", async (t) => {
  const { gateway, sub } = await subscribed(t, { transport: "sse" }, owned);
  await sub.pause();
  gateway.rest = () => [200, { id: "ID", bindings: [binding, other] }];
  await sub.bind(other);
  assert.equal(sub.bindings.length, 2);
  assert.equal(sub.state, "paused");
});

for (const transport of ["ws", "sse"]) {
  test(`the first change of a shared subscription moves to an owned one with one gap over ${transport}`, async (t) => {
    const { gateway, sub, attachment } = await subscribed(t, { transport });
    const gaps = collect(sub, "gap", (gap) => gap.reason);
    const got = collect(sub, "message", payload);
    attachment.messages(1);
    await until(() => got.length === 1);
    const bound = sub.bind(other);
    const next = await gateway.attached();
    await until(() => attachment.closed);
    assert.equal(next.query.get("share"), "false");
    assert.equal(next.query.get("after"), "s.1");
    assert.deepEqual(JSON.parse(next.query.get("bindings")), [binding, other]);
    next.ready({ id: "s.1", stream: "o", subscription: "ID", resumed: false });
    next.send({ type: "gap", id: "o.0", missed: null, reason: "subscription_lost" }).messages(1, 2, "o");
    await bound;
    await until(() => got.length === 3);
    assert.deepEqual(gaps, ["subscription_lost"]);
    assert.equal(sub.id, "ID");
    next.cut();
    assert.equal((await gateway.attached()).path, `/v1/subscriptions/ID/${transport}`);
  });
}

test("a refused move goes back to the shared subscription without loss", async (t) => {
  const { gateway, sub, attachment } = await subscribed(t);
  const got = collect(sub, "message", payload);
  attachment.messages(1);
  await until(() => got.length === 1);
  const bound = sub.bind({ exchange: "secret" });
  (await gateway.attached()).bye(4403, "forbidden_binding");
  await assert.rejects(bound, { code: "forbidden_binding" });
  const back = await gateway.attached();
  assert.equal(back.query.get("share"), null);
  assert.equal(back.query.get("after"), "s.1");
  assert.deepEqual(JSON.parse(back.query.get("bindings")), [binding]);
  back.ready().messages(2);
  await until(() => got.length === 2);
  assert.equal(sub.state, "live");
});

test("a limit refuses the move as well, rather than keeping the stream away", async (t) => {
  const { gateway, sub } = await subscribed(t);
  const bound = sub.unbind(binding);
  const next = await gateway.attached();
  assert.equal(next.query.get("bindings"), null);
  next.bye(4429, "limit_reached", { retry_ms: 0 });
  await assert.rejects(bound, { code: "limit_reached" });
  (await gateway.attached()).ready();
  await until(() => sub.state === "live");
});

test("no bindings yet: a WebSocket of one's own, or a subscription made first for SSE", async (t) => {
  const { attachment } = await subscribed(t, {}, { bindings: [], ready: { subscription: "ID" } });
  assert.equal(attachment.path, "/v1/ws");
  assert.equal(attachment.query.size, 0);
  const { gateway, warren } = await setup(t, { transport: "sse" });
  gateway.rest = () => [201, { id: "NEW", bindings: [] }];
  warren.open([], { lingerSeconds: 9 });
  assert.equal((await gateway.attached()).path, "/v1/subscriptions/NEW/sse");
  assert.deepEqual(gateway.calls[0].body, { bindings: [], linger_seconds: 9 });
});

test("bindings too long for a URL are posted", async (t) => {
  const { gateway, warren } = await setup(t);
  gateway.rest = () => [201, { id: "NEW", bindings: [] }];
  const many = Array.from({ length: 64 }, (_, n) => ({ exchange: "e", routing_key: `${n}.`.padEnd(200, "x") }));
  warren.open(many);
  assert.equal((await gateway.attached()).path, "/v1/subscriptions/NEW/ws");
  assert.deepEqual(gateway.calls[0].body.bindings, many);
});

test("an existing subscription is read by its id, and not made anew if it never was", async (t) => {
  const { gateway, warren } = await setup(t);
  const opening = warren.subscribe([], { subscription: "GIVEN", after: "s.3" });
  const attachment = await gateway.attached();
  assert.equal(attachment.path, "/v1/subscriptions/GIVEN/ws");
  assert.equal(attachment.query.get("after"), "s.3");
  attachment.bye(4404, "subscription_not_found");
  await assert.rejects(opening, { code: "subscription_not_found" });
});

test("an aborted bind rejects; the subscription goes on", async (t) => {
  const { sub, attachment } = await subscribed(t, {}, owned);
  const controller = new AbortController();
  const bound = sub.bind(other, { signal: controller.signal });
  await attachment.request("bind");
  controller.abort();
  await assert.rejects(bound, { name: "AbortError" });
  assert.equal(sub.state, "live");
});

for (const transport of ["ws", "sse"]) {
  test(`an aborted change lets the later ones go on, and is not asked again, over ${transport}`, async (t) => {
    const { gateway, sub, attachment } = await subscribed(t, { transport }, owned);
    const changes = collectChanges(gateway, attachment);
    const controller = new AbortController();
    const bound = sub.bind(other, controller);
    await until(() => changes.length === 1); // and has no answer
    const late = sub.unbind(binding);
    controller.abort();
    await assert.rejects(bound, { name: "AbortError" });
    await until(() => changes.length === 2);
    attachment.cut();
    const again = collectChanges(gateway, (await gateway.attached()).ready({ subscription: "ID", bindings: [{ id: "b0", ...binding }] }));
    await until(() => again.length === 1);
    await sub.close();
    await assert.rejects(late, { code: "closed" });
    const unbind = transport === "ws" ? "unbind" : "DELETE";
    assert.deepEqual([...changes.slice(1), ...again], [unbind, unbind]);
  });
}

test("a change that is aborted before its turn lets nobody pass", async (t) => {
  const { sub, attachment } = await subscribed(t, {}, owned);
  const first = sub.bind(other);
  const { ref } = await attachment.request("bind");
  const controller = new AbortController();
  const second = sub.bind({ exchange: "g" }, controller);
  const third = sub.unbind(binding);
  controller.abort();
  await assert.rejects(second, { name: "AbortError" });
  attachment.messages(1);
  await until(() => sub.position === "s.1");
  assert.deepEqual(attachment.requests, []);
  attachment.send({ type: "ok", ref });
  await first;
  attachment.send({ type: "ok", ref: (await attachment.request("unbind")).ref });
  await third;
  assert.deepEqual(attachment.requests, []);
});

test("an aborted REST call is not left running, nor one of a subscription that closed", async (t) => {
  for (const end of [(_sub, controller) => controller.abort(), (sub) => sub.close()]) {
    const { gateway, sub } = await subscribed(t, { transport: "sse" }, owned);
    const changes = collectChanges(gateway);
    const controller = new AbortController();
    const bound = sub.bind(other, controller);
    await until(() => changes.length === 1);
    end(sub, controller);
    await assert.rejects(bound);
    await until(() => changes.closed === 1);
  }
});

test("a REST change without an answer is asked again when its stream was lost, or after three times the timeout", async (t) => {
  for (const lost of [true, false]) {
    const { gateway, sub, attachment } = await subscribed(t, { transport: "sse", timeout: lost ? 10_000 : 1000 }, owned);
    const changes = collectChanges(gateway);
    const begun = performance.now();
    const [bound, unbound] = [sub.bind(other), sub.unbind(binding)];
    await until(() => changes.length === 1);
    gateway.rest = (method) => [200, { bindings: method === "POST" ? [{ id: "b0", ...binding }, other] : [other] }];
    if (lost) {
      attachment.cut();
      (await gateway.attached()).ready({ subscription: "ID" });
    }
    await bound;
    await unbound;
    assert.deepEqual(sub.bindings, [other]);
    assert.deepEqual(gateway.calls.map(({ method }) => method), ["POST", "POST", "DELETE"]);
    if (!lost) assert.ok(performance.now() - begun >= 2900);
  }
});

test("closing rejects a change that waits", async (t) => {
  const { sub, attachment } = await subscribed(t, {}, owned);
  const bound = sub.bind(other);
  await attachment.request("bind");
  await sub.close();
  await assert.rejects(bound, { code: "closed" });
});

test("a subscription that was closed while it had no stream rejects like any other", async (t) => {
  const { sub, attachment } = await subscribed(t, { transport: "sse" }, owned);
  await sub.pause();
  await until(() => attachment.closed);
  const bound = sub.bind(other);
  sub.close(); // in the same breath
  await assert.rejects(bound, { code: "closed" });
  await assert.rejects(sub.unbind(binding), { code: "closed" });
  await assert.rejects(sub.whenReady(), { code: "closed" });
});

test("so does one whose slow reader was waited for", async (t) => {
  const { sub, attachment } = await subscribed(t, { transport: "sse", highWater: 4 }, owned);
  attachment.messages(1, 6);
  await until(() => attachment.closed);
  await sub.close();
  await assert.rejects(sub.whenReady(), { code: "closed" });
  await assert.rejects(sub.bind(other), { code: "closed" });
});

test("what JSON cannot hold is refused at once", async (t) => {
  const { sub, warren } = await subscribed(t, {}, owned);
  const never = { exchange: "e", arguments: { n: 1n } };
  await assert.rejects(sub.bind(never), TypeError);
  await assert.rejects(warren.subscribe(never), TypeError);
});

test("a change that cannot reach the gateway is tried less and less often, until the end", async (t) => {
  let tries = 0;
  const { sub } = await subscribed(t, {
    transport: "sse", retryBase: 20, retryCap: 60_000,
    fetch: (url, init) => (init.method === "POST" ? Promise.reject(new TypeError("no network", { cause: ++tries })) : fetch(url, init)),
  }, owned);
  t.mock.method(Math, "random", () => 1);
  await sub.pause();
  const bound = sub.bind(other);
  const begun = performance.now();
  await until(() => tries === 5);
  assert.ok(performance.now() - begun >= 290, "20, 40, 80 and 160 ms between them");
  await sub.close();
  await assert.rejects(bound, { code: "closed" });
});

test("REST calls of one's own carry the token and throw problems", async (t) => {
  const { gateway, warren } = await setup(t, { token: "T" });
  gateway.rest = (method, url) => (url === "/v1/exchanges" ? [200, { exchanges: [{ name: "e", type: "topic" }] }] : [204]);
  assert.deepEqual(await warren.exchanges(), [{ name: "e", type: "topic" }]);
  assert.equal(await warren.request("PUT", "/v1/exchanges/x", { body: { type: "topic" } }), undefined);
  assert.equal(gateway.calls[1].headers.authorization, "Bearer T");
  await assert.rejects(warren.exchanges({ signal: AbortSignal.abort() }), { name: "AbortError" });
});
