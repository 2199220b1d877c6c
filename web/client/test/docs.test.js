// The scripts of docs/client.md and web/client/README.md, each run as it stands against the real gateway; the hooks of
// docs/recipes.md in React and Vue; and the names in the reference of docs/client.md.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { format } from "node:util";
import { WebSocket } from "ws";
import { until } from "../testing/fakegateway.js";
import { Gateway } from "../testing/gateway.js";
import { client } from "../testing/setup.js";
import * as module from "../warren.js";

const PAGES = ["docs/client.md", "web/client/README.md"];
const root = new URL("../../../", import.meta.url);
const read = (name) => readFileSync(new URL(name, root), "utf8");
const AsyncFunction = (async () => {}).constructor;

/** The blocks of a page that are marked js, with what they promise to write. */
function scripts(page) {
  return [...read(page).matchAll(/^```js\n(.*?)^```\n((?:<!-- shows: .*? -->\n)*)/gms)].map(({ 1: text, 2: marks, index }) => ({
    text,
    line: read(page).slice(0, index).split("\n").length,
    shows: [...marks.matchAll(/<!-- shows: (.*?) -->/g)].map((mark) => mark[1]),
  }));
}

/** Runs one script. What it imports, and what earlier scripts of its page made, is there by name. */
async function run({ text, shows }, { url, token }, deadline = 20_000) {
  const made = [];
  const written = [];
  class Warren extends module.Warren {
    constructor(at, options) {
      super(at, options);
      made.push(this);
    }
  }
  const warren = new Warren(url);
  const named = {
    ...module,
    Warren,
    WebSocket,
    warren,
    token,
    reload: async () => {},
    fetch: (at, ...rest) => (at === "/token" ? Promise.resolve(new Response(token)) : fetch(at, ...rest)),
    console: { log: (...words) => void written.push(format(...words)) },
  };
  const body = text.replace(/^import .*$/gm, "").replaceAll(/https:\/\/events\.example\.org|http:\/\/localhost:8080/g, url);
  const done = new AsyncFunction(...Object.keys(named), `{${body}}`)(...Object.values(named)); // braces: it may name things anew
  let ended;
  done.then(() => (ended = "well"), () => (ended = "badly"));
  const shown = () => shows.every((want) => written.some((line) => line.includes(want)));
  try {
    // What it has subscribed to may go on writing when it has ended.
    const enough = () => ended === "badly" || (shown() && (ended || shows.length > 0));
    await until(enough, `the script shows ${JSON.stringify(shows)}`, deadline);
    if (ended) await done;
  } finally {
    for (const one of made) await one.close();
  }
  await done.catch((error) => {
    if (error?.code !== "closed") throw error;
  });
}

/** A gateway that wants tokens, and one for alice. */
async function withTokens(t) {
  const directory = mkdtempSync(join(tmpdir(), "warren-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const secret = "a secret that is long enough for HS256 keys";
  writeFileSync(join(directory, "key"), secret);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: "alice", exp: Math.floor(Date.now() / 1000) + 600, warren: { bind: [{ exchange: "*", routing_key: "#" }] } };
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  const { url } = await Gateway.start(t, "--demo", "--jwt-key", join(directory, "key"), "--jwt-hs256");
  return { url, token: `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}` };
}

test("the scripts of the pages do what they promise", async (t) => {
  const [open, guarded] = [{ url: (await Gateway.start(t, "--demo")).url }, await withTokens(t)];
  for (const page of PAGES) {
    const list = scripts(page);
    assert.ok(list.length > 0, page);
    for (const script of list) {
      const gateway = /\btoken\b/.test(script.text) ? guarded : open;
      await t.test(`${page}:${script.line}`, () => run(script, gateway));
    }
  }
});

test("a script that does not do what it promises is noticed", async (t) => {
  const gateway = await Gateway.start(t, "--demo");
  await assert.rejects(run({ text: "console.log(1);", shows: ["2"] }, gateway, 50), /never: the script shows/);
  await assert.rejects(run({ text: "throw new Error('no');", shows: [] }, gateway), /no/);
  await assert.rejects(run({ text: "await warren.subscribe({ exchange: 'nowhere' });", shows: [] }, gateway), { code: "exchange_not_found" });
});

test("the reference of docs/client.md has every option and member of the declarations, and no other", () => {
  const tables = read("docs/client.md").split("## Reference")[1].split(/\n\n(?=\|)/).slice(1);
  const names = (table) => table.split("\n").slice(2).filter((row) => row.startsWith("|")).flatMap((row) =>
    [...row.split("|")[1].matchAll(/`(\w+)/g)].map((match) => match[1]));
  const declarations = read("web/client/warren.d.ts").replaceAll(/\/\*\*.*?\*\//gs, "");
  const members = (head) => {
    const body = declarations.split(`export ${head}`)[1].split("\n}")[0];
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)[?<(:]/gm)].map((match) => match[1]);
  };
  const sorted = (list) => [...new Set(list)].sort();
  const [options, own, warren, subscription] = tables.map(names);
  assert.deepEqual(sorted(options), sorted([...members("interface WarrenOptions"), "signal"]));
  assert.deepEqual(sorted(own), sorted(members("interface SubscribeOptions")));
  assert.deepEqual(sorted(warren), sorted(members("class Warren {")).filter((name) => name !== "constructor"));
  assert.deepEqual(sorted(subscription), sorted(members("class Subscription<")));
});

/** Imports an example from where `react` and `vue` are found. */
async function example(t, name) {
  const directory = mkdtempSync(fileURLToPath(new URL("web/node_modules/.example-", root)));
  t.after(() => rmSync(directory, { recursive: true }));
  copyFileSync(new URL(`docs/examples/${name}`, root), join(directory, "example.mjs"));
  return import(pathToFileURL(join(directory, "example.mjs")));
}

/** A gateway, a client of it, and what it says of who listens. */
async function listened(t) {
  const gateway = await Gateway.start(t);
  await gateway.declare("builds");
  const warren = client(t, gateway.url);
  const made = [];
  const open = warren.open.bind(warren);
  warren.open = (...args) => made[made.push(open(...args)) - 1];
  return { gateway, warren, made, open: () => made.filter(({ state }) => state !== "closed") };
}

test("the React hook of the recipes shows messages, follows its bindings and leaves with its component", async (t) => {
  globalThis.IS_REACT_ACT_ENVIRONMENT = true;
  t.mock.method(console, "error", () => {}); // the renderer says that it is deprecated
  const { createElement, StrictMode } = await import("react");
  const { act, create } = await import("react-test-renderer");
  const { useWarren } = await example(t, "react-use-warren.js");
  const { gateway, warren, open } = await listened(t);
  let view;
  let renders = 0;
  const Builds = ({ routing_key }) => {
    renders++;
    view = useWarren(warren, [{ exchange: "builds", routing_key }], 2);
    return null;
  };
  // Twice mounted, as React does while developing, it leaves one subscription.
  const element = (routing_key) => createElement(StrictMode, null, createElement(Builds, { routing_key }));
  const settled = (condition) => until(async () => (await act(async () => {}), condition()), condition.toString());
  let root;
  await act(async () => (root = create(element("linux.#"), { unstable_strictMode: true })));
  await settled(() => view.state === "live");
  assert.equal(open().length, 1);
  await gateway.publish("builds", 1, 3, { key: "linux.x" });
  await settled(() => view.messages[0]?.payload === 3);
  assert.deepEqual(view.messages.map(({ payload }) => payload), [3, 2], "the newest two, newest first");

  await act(async () => root.update(element("darwin.#")));
  await settled(() => view.state === "live" && open().length === 1);
  assert.deepEqual(view.messages, []);
  await gateway.publish("builds", 4, 4, { key: "linux.x" });
  await gateway.publish("builds", 5, 5, { key: "darwin.x" });
  await settled(() => view.messages.length === 1);
  assert.equal(view.messages[0].payload, 5);

  const before = renders;
  await act(async () => root.update(element("darwin.#")));
  assert.equal(open().length, 1, "equal bindings are no change");
  assert.ok(renders - before <= 2);
  await act(async () => root.unmount());
  assert.equal(open().length, 0);
});

test("the Vue composable of the recipes shows messages, follows its bindings and leaves with its scope", async (t) => {
  const { effectScope, nextTick, ref } = await import("vue");
  const { useWarren } = await example(t, "vue-use-warren.js");
  const { gateway, warren, open } = await listened(t);
  const system = ref("linux");
  const scope = effectScope();
  const view = scope.run(() => useWarren(warren, () => [{ exchange: "builds", routing_key: `${system.value}.#` }], 2));
  await until(() => view.state.value === "live");
  await gateway.publish("builds", 1, 3, { key: "linux.x" });
  await until(() => view.messages.value[0]?.payload === 3);
  assert.deepEqual(view.messages.value.map(({ payload }) => payload), [3, 2]);

  system.value = "darwin";
  await nextTick();
  assert.equal(open().length, 1);
  assert.deepEqual(view.messages.value, []);
  assert.equal(view.state.value, "connecting", "not closed, as the subscription before");
  await until(() => view.state.value === "live");
  await gateway.publish("builds", 4, 4, { key: "darwin.x" });
  await until(() => view.messages.value.length === 1);
  scope.stop();
  assert.equal(open().length, 0);

  const refused = effectScope();
  const { error, state } = refused.run(() => useWarren(warren, [{ exchange: "nowhere" }]));
  await until(() => error.value);
  assert.equal(error.value.code, "exchange_not_found");
  assert.equal(state.value, "closed");
  refused.stop();
});

/** The one block of docs/recipes.md that is marked so. */
const recipe = (language) => read("docs/recipes.md").split(`\n\`\`\`${language}\n`)[1].split("\n```\n")[0];

test("the Vue component of the recipes compiles, renders, and leaves nothing open on a server", async (t) => {
  const { compileScript, parse } = await import("vue/compiler-sfc");
  const { renderToString } = await import("vue/server-renderer");
  const vue = { ...await import("vue"), ...await import("vue/server-renderer") };
  const { useWarren } = await example(t, "vue-use-warren.js");
  const { warren, made } = await listened(t);
  const { descriptor, errors } = parse(recipe("vue"));
  assert.deepEqual(errors, []);
  const { content } = compileScript(descriptor, { id: "builds", inlineTemplate: true, templateOptions: { ssr: true, ssrCssVars: [] }, genDefaultAs: "component" });
  // It gets by name what it imports; its Warren is that of this test.
  const names = [...content.matchAll(/^import \{ (.*) \} from "vue(?:\/server-renderer)?"$/gm)].flatMap((match) => match[1].split(", "));
  const imported = names.map((name) => name.split(" as ")).map(([from, to = from]) => [to, vue[from]]);
  const named = { ...Object.fromEntries(imported), Warren: function Warren() { return warren; }, useWarren };
  const component = new Function(...Object.keys(named), `${content.replace(/^import .*$/gm, "")}\nreturn component;`)(...Object.values(named));
  assert.match(await renderToString(vue.createSSRApp(component, { system: "linux" })), /^<ul aria-busy="true">.*<\/ul>$/);
  assert.deepEqual(made.map(({ bindings }) => bindings), [[{ exchange: "builds", routing_key: "linux.#" }]]);
  assert.deepEqual(made.map(({ state }) => state), ["closed"]);
});

test("the React component of the recipes is well-formed, and uses what the hook gives", async () => {
  const { parse } = await import("@babel/parser");
  const text = recipe("jsx");
  parse(text, { sourceType: "module", plugins: ["jsx"] });
  const [, given] = /const nothing = \{ (.*) \};/.exec(read("docs/examples/react-use-warren.js"));
  const [, used] = /const \{ (.*) \} = useWarren\(/.exec(text);
  for (const name of used.split(", ")) assert.match(given, new RegExp(`\\b${name}:`));
});
