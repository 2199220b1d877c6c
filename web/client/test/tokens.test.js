import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../testing/fakegateway.js";
import { binding, collect, setup, subscribed } from "../testing/setup.js";

const jwt = (seconds, name) => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ sub: name, exp: Date.now() / 1000 + seconds })}.`;
};

test("the token is the first message of a WebSocket and a header of SSE", async (t) => {
  const ws = await subscribed(t, { token: "T" });
  assert.equal((await ws.attachment.request("auth")).token, "T");
  assert.equal(ws.attachment.headers.authorization, undefined);
  const sse = await subscribed(t, { transport: "sse", token: async () => "U" });
  assert.equal(sse.attachment.headers.authorization, "Bearer U");
  assert.equal(sse.attachment.query.get("access_token"), null);
});

test("an anonymous gateway that refuses auth is read all the same", async (t) => {
  const { sub, attachment } = await subscribed(t, { token: "T" });
  await attachment.request("auth");
  attachment.send({ type: "error", problem: { code: "invalid_request", title: "anonymous", status: 400 } }).messages(1);
  await until(() => sub.position === "s.1");
  assert.equal(sub.state, "live");
});

test("a function is asked again when the token has ended, once for all subscriptions", async (t) => {
  let asked = 0;
  const { gateway, warren, sub, attachment } = await subscribed(t, { token: async () => `T${++asked}` });
  const second = warren.open({ exchange: "f" });
  const there = (await gateway.attached()).ready();
  await second.whenReady();
  assert.equal(asked, 1);
  attachment.bye(4401, "token_expired");
  there.bye(4401, "token_expired");
  for (let n = 0; n < 2; n++) {
    const next = (await gateway.attached()).ready();
    assert.equal((await next.request("auth")).token, "T2");
  }
  await until(() => sub.state === "live" && second.state === "live");
  assert.equal(asked, 2);
});

test("a function that is slow is asked once, though streams are refused meanwhile", async (t) => {
  let asked = 0;
  let give;
  const { gateway, warren, attachment } = await subscribed(t, {
    token: () => (++asked === 1 ? "T1" : new Promise((resolve) => { give = resolve; })),
  });
  const second = warren.open({ exchange: "f" });
  const states = collect(second, "state", ({ state }) => state);
  const there = (await gateway.attached()).ready();
  await second.whenReady();
  attachment.bye(4401, "token_expired");
  await until(() => give);
  there.bye(4401, "token_expired");
  const begun = performance.now();
  await until(() => states.includes("recovering") && performance.now() - begun > 100); // longer than any step of the backoff
  give("T2");
  for (let n = 0; n < 2; n++) assert.equal((await (await gateway.attached()).request("auth")).token, "T2");
  assert.equal(asked, 2);
});

test("a token that ends is renewed once for all subscriptions", async (t) => {
  let asked = 0;
  let give;
  const { gateway, warren, attachment } = await subscribed(t, {
    token: () => (++asked === 1 ? jwt(1.2, "a") : new Promise((resolve) => { give = resolve; })),
  });
  await attachment.request("auth");
  const all = [attachment];
  for (let n = 0; n < 3; n++) {
    warren.open({ exchange: `f${n}` });
    all.push((await gateway.attached()).ready());
    await all.at(-1).request("auth");
  }
  await until(() => give);
  const begun = performance.now();
  await until(() => performance.now() - begun > 400); // the old one has ended, and all timers went off
  const next = jwt(600, "b");
  give(next);
  for (const one of all) assert.equal((await one.request("auth")).token, next);
  assert.equal(asked, 2);
});

test("a new token that is refused too stops the client", async (t) => {
  const { gateway, warren } = await setup(t, { token: async () => "bad" });
  const opening = warren.subscribe(binding);
  (await gateway.attached()).bye(4401, "unauthorized");
  (await gateway.attached()).bye(4401, "unauthorized");
  await assert.rejects(opening, { code: "unauthorized", closeCode: 4401 });
});

test("a string that has ended stops the client", async (t) => {
  const { sub, attachment } = await subscribed(t, { token: "T" });
  attachment.bye(4401, "token_expired");
  await until(() => sub.state === "closed");
  assert.equal(sub.error.code, "token_expired");
});

test("a function that fails is asked again later", async (t) => {
  let asked = 0;
  const { gateway, warren } = await setup(t, {
    token: () => {
      if (++asked === 1) throw new Error("no network");
      return "T";
    },
  });
  const sub = warren.open(binding);
  const reasons = collect(sub, "state", ({ reason }) => reason);
  (await gateway.attached()).ready();
  await sub.whenReady();
  assert.ok(reasons.includes("token_unavailable"));
});

test("a token is renewed in place before it ends", async (t) => {
  const tokens = [jwt(1.3, "a"), jwt(600, "a")];
  const expected = [...tokens];
  const asked = [];
  const { gateway, attachment } = await subscribed(t, {
    token: ({ previous }) => {
      asked.push(previous);
      return tokens.shift();
    },
  });
  assert.equal((await attachment.request("auth")).token, expected[0]);
  const { ref, token } = await attachment.request("auth");
  assert.equal(token, expected[1]);
  attachment.send({ type: "ok", ref });
  assert.deepEqual(asked, [undefined, expected[0]]);
  assert.equal(gateway.attachments.length, 1);
});

for (const transport of ["ws", "sse"]) {
  test(`a renewal without an answer is tried again over ${transport}`, async (t) => {
    const tokens = [jwt(2, "a"), undefined, jwt(600, "a")];
    const { gateway, attachment } = await subscribed(t, {
      transport,
      token: () => {
        const token = tokens.shift();
        if (!token) throw new Error("no network");
        return token;
      },
    });
    if (transport === "ws") {
      await attachment.request("auth");
      await attachment.request("auth");
      assert.equal(gateway.attachments.length, 1);
    } else {
      const next = (await gateway.attached()).ready();
      assert.match(next.headers.authorization, /^Bearer e/);
      await until(() => attachment.closed);
    }
    assert.deepEqual(tokens, []);
  });
}

test("on SSE a new token comes with a new stream that takes over", async (t) => {
  const { gateway, warren, sub, attachment } = await subscribed(t, { transport: "sse", token: "T" });
  const states = collect(sub, "state", ({ state }) => state);
  attachment.messages(1);
  await until(() => sub.position === "s.1");
  warren.auth("U");
  const next = await gateway.attached();
  assert.equal(next.headers.authorization, "Bearer U");
  assert.equal(next.query.get("after"), "s.1");
  next.ready();
  await until(() => attachment.closed);
  assert.deepEqual(states.filter((state) => state !== "live"), []);
});

test("auth() presents a token by hand, and says if it is refused", async (t) => {
  const { warren, attachment } = await subscribed(t, { token: "T" });
  await attachment.request("auth");
  const given = warren.auth("U");
  const { ref, token } = await attachment.request("auth");
  assert.equal(token, "U");
  attachment.send({ type: "error", ref, problem: { code: "forbidden_binding", title: "Not allowed", status: 403 } });
  await assert.rejects(given, { code: "forbidden_binding" });
});

test("a token that auth() presented in vain is not used for the next stream", async (t) => {
  const { gateway, warren, attachment } = await subscribed(t, { transport: "ws", token: "T" });
  await attachment.request("auth");
  const given = warren.auth("U");
  const { ref } = await attachment.request("auth");
  attachment.send({ type: "error", ref, problem: { code: "forbidden_binding", title: "Not allowed", status: 403 } });
  await assert.rejects(given);
  attachment.cut();
  assert.equal((await (await gateway.attached()).request("auth")).token, "T");
});

test("so over SSE, where auth() says so as well", async (t) => {
  const { gateway, warren, sub, attachment } = await subscribed(t, { transport: "sse", token: "T" });
  gateway.refuseStream = () => [403, { code: "forbidden_binding", title: "Not allowed", status: 403 }];
  await assert.rejects(warren.auth("U"), { code: "forbidden_binding" });
  assert.equal(sub.state, "live");
  gateway.refuseStream = undefined;
  attachment.cut();
  assert.equal((await gateway.attached()).headers.authorization, "Bearer T");
});

test("auth() over SSE is settled when the new stream has taken over", async (t) => {
  const { gateway, warren, attachment } = await subscribed(t, { transport: "sse", token: "T" });
  const given = warren.auth("U");
  (await gateway.attached()).ready();
  await given;
  await until(() => attachment.closed);
});

test("a token is cleaned of blanks and line breaks", async (t) => {
  const { attachment } = await subscribed(t, { transport: "ws", token: async () => "T\n" });
  assert.equal((await attachment.request("auth")).token, "T");
});

test("who takes long to give a token has not lost the gateway", async (t) => {
  const { gateway, warren } = await setup(t, { timeout: 1000, token: () => new Promise((resolve) => setTimeout(resolve, 2000, "T")) });
  const sub = warren.open(binding);
  const reasons = collect(sub, "state", ({ reason }) => reason);
  const attachment = (await gateway.attached()).ready();
  await sub.whenReady();
  assert.equal(attachment.kind, "ws");
  assert.deepEqual(reasons, [undefined]);
});

test("auth() while a stream is being opened: the old token's refusal is not the end", async (t) => {
  const { gateway, warren } = await setup(t, { token: "T" });
  const opening = warren.subscribe(binding);
  const attachment = await gateway.attached();
  assert.equal((await attachment.request("auth")).token, "T");
  await warren.auth("U");
  attachment.bye(4401, "unauthorized");
  const next = (await gateway.attached()).ready();
  assert.equal((await next.request("auth")).token, "U");
  await opening;
});

for (const transport of ["ws", "sse"]) {
  test(`auth() while a stream is being opened is made up for once it is open, over ${transport}`, async (t) => {
    const { gateway, warren } = await setup(t, { token: "T", transport });
    warren.open(binding);
    const attachment = await gateway.attached();
    if (transport === "ws") await attachment.request("auth");
    await warren.auth("U");
    attachment.ready();
    if (transport === "ws") return assert.equal((await attachment.request("auth")).token, "U");
    const next = (await gateway.attached()).ready();
    assert.equal(next.headers.authorization, "Bearer U");
    await until(() => attachment.closed);
    assert.equal(gateway.attachments.length, 2);
  });
}

test("auth() settles though its stream was replaced while the token was fetched", async (t) => {
  const { gateway, warren, sub, attachment } = await subscribed(t, { token: "T" });
  let give;
  const given = warren.auth(() => new Promise((resolve) => { give = resolve; }));
  await until(() => give);
  attachment.cut();
  await until(() => sub.state === "recovering");
  give("U");
  await given;
  const next = (await gateway.attached()).ready();
  assert.equal((await next.request("auth")).token, "U");
});

test("an answer that auth() was faster than is not used", async (t) => {
  let give;
  const previous = [];
  const { warren, sub, attachment } = await subscribed(t, { token: () => "T" });
  await attachment.request("auth");
  const slow = warren.auth(() => new Promise((resolve) => { give = resolve; }));
  await until(() => give);
  const given = warren.auth((about) => {
    previous.push(about.previous);
    return `U${previous.length}`;
  });
  const first = await attachment.request("auth");
  assert.equal(first.token, "U1");
  attachment.send({ type: "ok", ref: first.ref });
  await given;
  give("of a user who is gone");
  const second = await attachment.request("auth");
  assert.equal(second.token, "U1");
  attachment.send({ type: "ok", ref: second.ref });
  await slow;
  attachment.bye(4401, "token_expired");
  await until(() => previous.length === 2);
  assert.deepEqual(previous, ["T", "U1"]);
  assert.equal(sub.error, undefined);
});

test("REST calls ask again after a 401", async (t) => {
  let asked = 0;
  const { gateway, warren } = await setup(t, { token: () => `T${++asked}` });
  gateway.rest = (_method, _url, _body, { headers }) => (headers.authorization === "Bearer T2"
    ? [200, { exchanges: [] }]
    : [401, { code: "unauthorized", title: "Token expired", status: 401 }]);
  assert.deepEqual(await warren.exchanges(), []);
  assert.equal(asked, 2);
});

test("an abort does not wait for the token", async (t) => {
  const { warren } = await setup(t, { token: () => new Promise(() => {}) });
  const controller = new AbortController();
  const calls = [warren.exchanges(controller), warren.request("GET", "/v1/x", controller)];
  controller.abort();
  for (const call of calls) await assert.rejects(call, { name: "AbortError" });
});

for (const token of ["opaque", "a.b", "not.a.token", "..", jwt(-5, "a"), `x.${Buffer.from("{}").toString("base64url")}.`]) {
  test(`a token is presented whatever it looks like: ${token.slice(0, 12)}`, async (t) => {
    const { sub, attachment } = await subscribed(t, { token });
    assert.equal((await attachment.request("auth")).token, token);
    attachment.messages(1);
    await until(() => sub.position === "s.1");
  });
}
