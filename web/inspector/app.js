// The inspector: it puts the parts together. What each part does is said in its own file.
import { $, el, say } from "./dom.js";
import { count, plural } from "./format.js";
import { explain, word } from "./advice.js";
import { Bindings } from "./bindings.js";
import { Chart } from "./chart.js";
import { CopyAs } from "./copyas.js";
import { Detail, shown } from "./detail.js";
import { filter } from "./filter.js";
import { file, save } from "./jsonl.js";
import { List } from "./list.js";
import { Match } from "./match.js";
import { textOf } from "./payload.js";
import { Publish } from "./publish.js";
import { base, Session } from "./session.js";
import { MAX_ENTRIES, Store, View } from "./store.js";
import { dialog, kept } from "./token.js";
import { read, write } from "./urlstate.js";

const { bindings: initial, ...wanted } = read(location.search);
const session = new Session(kept());
const store = new Store();
const view = new View(store);
const chart = new Chart();

// ---- bindings, and what depends on them

const bindings = new Bindings(initial, async (what, binding) => {
  hideNotice();
  if (!(await session.settled())) return;
  try {
    await session[what](binding);
  } catch (error) {
    if (error.code === "closed") return; // by Stop: the form holds what the next start asks for
    notice(error, [binding]); // all that was asked for
    throw error;
  }
});
const match = new Match(() => bindings.list, (exchange) => bindings.types.get(exchange));
const copyAs = new CopyAs(() => ({ base, bindings: bindings.list, token: Boolean(session.token) }));

function bindingsChanged() {
  share();
  match.draw();
  copyAs.draw();
  controls();
  drawEmpty();
}
bindings.addEventListener("change", bindingsChanged);

/** The address says what is asked for, so that a link can be shared. */
function share() {
  const { text, key } = filterForm.elements;
  history.replaceState(null, "", location.pathname + write({ bindings: bindings.list, text: text.value, key: key.value }));
}

async function loadExchanges() {
  try {
    bindings.offer(await session.exchanges());
    match.draw();
    drawEmpty();
  } catch (error) {
    notice(error);
  }
}

// ---- listening

async function start() {
  hideNotice();
  if (!(await bindings.complete())) return show("setup");
  show("messages");
  session.start(bindings.list);
  session.addEventListener("state", () => $("stop").focus(), { once: true }); // the button that was pressed is gone
}

function stop() {
  session.stop();
}

$("start").addEventListener("click", start);
$("stop").addEventListener("click", () => {
  stop();
  $("start").focus();
});
$("pause").addEventListener("click", async () => {
  try {
    await (session.paused ? session.resume() : session.pause());
  } catch (error) {
    notice(error);
  }
  drawState(); // while it recovers, or is paused by another, too, the state stays the same
});

session.addEventListener("state", ({ detail }) => {
  const { state } = session;
  document.body.dataset.state = state;
  $("state-word").textContent = state;
  told = detail;
  drawState();
  document.title = state === "closed" ? "warren" : `${state} · warren`;
  if (detail.error && state === "closed") notice(detail.error, detail.asked);
  bindings.report(session.bindings);
  drawEmpty();
});
let told = {};
let said = "closed ";

/** How it listens, who paused it, or why it does not listen. */
function drawState() {
  const { state, paused } = session;
  const { reason, retry_ms: ms } = told;
  const via = session.transport && { ws: "WebSocket", sse: "Server-Sent Events" }[session.transport];
  const by = { page: "by this page", other: "by a request to the gateway" }[paused];
  const parts = { live: [via], paused: [by, via] }[state] ?? [word(reason), ms >= 1000 && `next attempt in ${Math.round(ms / 1000)} s`, paused && `paused ${by}`];
  $("state-detail").textContent = parts.filter(Boolean).join(", ");
  const saying = `${state} ${by ?? ""}`;
  if (saying !== said) say(`${state} ${$("state-detail").textContent}`);
  said = saying;
  controls();
}

function controls() {
  const { state } = session;
  const running = state !== "closed";
  const ended = !running && [$("stop"), $("pause")].includes(document.activeElement);
  $("start").hidden = running;
  $("stop").hidden = !running;
  $("pause").hidden = !running || state === "connecting";
  if (ended) $("start").focus();
  $("pause").textContent = session.paused ? "Resume" : "Pause";
}

// ---- what arrives

session.addEventListener("frame", ({ detail: frame }) => {
  const time = Date.now();
  const message = frame.type === "message";
  const entry = message ? received(frame, time) : { type: frame.type, time, frame };
  view.add(store.add(entry));
  if (message) chart.add(time);
  else {
    bindings.report(session.bindings);
    if (frame.type === "gap") say("Messages are missing, see the list");
  }
  list.update();
});

function received(frame, time) {
  const { id, exchange, routing_key, properties, propertiesText } = frame;
  const text = textOf(frame);
  const payload = text ?? frame.payload;
  const size = text === undefined ? (payload.length * 3) / 4 - (payload.match(/=*$/)[0].length) : utf8(text);
  return { type: "message", time, id, exchange, routing_key, properties, propertiesText, payload, payload_encoding: text === undefined ? "base64" : "string", size };
}

const encoder = new TextEncoder();
const scratch = new Uint8Array(3 * 4096);
const utf8 = (text) => (text.length <= 4096 ? encoder.encodeInto(text, scratch).written : encoder.encode(text).length);

// ---- the list

const list = new List($("list"), view, {
  pick(entry) {
    detail.show(entry);
    document.body.classList.add("picked");
  },
  moved: drawCount,
  drawn: drawCount,
});
const detail = new Detail({
  step: (by) => list.step(by),
  ask(key) {
    $("try-key").closest("details").open = true;
    show("tools");
    match.ask(key);
    $("try-key").focus();
  },
  closed() {
    document.body.classList.remove("picked");
    list.select(null);
    $("list").focus();
  },
});
$("list").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !$("detail").hidden) $("detail").focus();
  if (event.key === "Escape") detail.close();
});
$("newest").addEventListener("click", () => {
  list.toNewest();
  $("list").focus();
});

function drawCount() {
  const { pending } = view;
  $("newest").hidden = !view.held;
  if (view.held) $("newest").textContent = pending ? `↑ ${plural(pending, "new message")}` : "Back to the newest";
  const full = store.dropped ? `, the newest ${count(store.length)} are kept` : "";
  $("count").textContent = store.length ? shown(view.messages, store.messages) + full : `up to ${count(MAX_ENTRIES)} are kept`;
  $("download").disabled = $("clear-messages").disabled = !store.length;
  $("empty").hidden = view.length > 0;
}

function drawEmpty() {
  const box = $("empty");
  const next = box.cloneNode();
  next.append(...emptyText());
  if (next.isEqualNode(box)) return; // whoever is at one of its buttons stays there
  const focused = box.contains(document.activeElement);
  box.replaceChildren(...next.childNodes);
  if (focused) box.querySelector("button")?.focus();
}

function emptyText() {
  const title = (text) => el("p", { class: "lead" }, text);
  const hint = (text) => el("p", { class: "hint" }, text);
  if (store.length) return [title("Nothing passes the filter.")];
  if (session.state === "live") return [title("Listening."), hint("Nothing was published that matches yet.")];
  if (session.state === "paused") return [title("Paused.")];
  if (session.state !== "closed") return [title("Connecting…")];
  if (bindings.list.length) return [title("Ready to listen."), el("p", {}, el("button", { type: "button", class: "primary", onclick: start }, "Start listening"))];
  const known = [...bindings.types].sort(([a], [b]) => a.startsWith("amq.") - b.startsWith("amq.")).slice(0, 12); // one's own first
  return [
    title("What is being published?"),
    hint(known.length ? "Pick an exchange, or name one." : "Name an exchange and press Enter."),
    el("p", { class: "offers" }, known.map(([name, type]) => el("button", {
      type: "button", onclick: () => bindings.add({ exchange: name, routing_key: "#" }),
    }, el("b", {}, name), type && el("span", { class: "quiet" }, ` ${type}`)))),
  ];
}

// ---- filter, download, clear

const filterForm = $("filter");
filterForm.elements.text.value = wanted.text;
filterForm.elements.key.value = wanted.key;
const applyFilter = () => {
  view.filter(filter({ text: filterForm.elements.text.value, key: filterForm.elements.key.value }));
  list.toNewest();
  drawEmpty();
};
let filtering;
filterForm.addEventListener("input", () => {
  clearTimeout(filtering); // 50,000 messages are looked through once, not at each letter
  filtering = setTimeout(() => {
    applyFilter();
    share();
  }, 120);
});
filterForm.addEventListener("submit", (event) => event.preventDefault());

$("download").addEventListener("click", () => save(file(view), `warren-${new Date().toISOString().replace(/[:.]/g, "-")}.jsonl`));
$("clear-messages").addEventListener("click", () => {
  detail.close();
  store.clear();
  view.clear();
  list.toNewest();
  drawEmpty();
  say("Cleared");
});

// ---- notices

let act = null;
/** The error names a binding by its place among those that were asked for. */
function notice(error, asked = bindings.list) {
  const about = explain(error);
  const { exchange } = asked[about.binding] ?? {};
  $("notice-title").textContent = exchange ? `${about.title}: ${exchange}` : about.title;
  $("notice-detail").textContent = about.detail;
  $("notice-advice").textContent = about.advice;
  $("notice-act").textContent = about.label ?? "";
  $("notice-act").hidden = !about.act;
  act = about.act;
  $("notice").hidden = false;
}

function hideNotice() {
  $("notice").hidden = true;
}

$("notice-close").addEventListener("click", hideNotice);
$("notice-act").addEventListener("click", () => (act === "token" ? tokens.open() : start()));

const tokens = dialog(async (token) => {
  hideNotice();
  const taken = await session.authorize(token).then(() => true, notice);
  copyAs.draw();
  loadExchanges();
  return taken;
});

// ---- views of a narrow window, keys, the page's life

function show(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll(".views button")) button.setAttribute("aria-pressed", String(button.dataset.show === name));
}
document.querySelector(".skip").addEventListener("click", () => show("messages")); // or there is nothing to go to
document.querySelector(".views").addEventListener("click", ({ target }) => target.dataset.show && show(target.dataset.show));

addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, dialog")) return;
  event.preventDefault();
  show("messages");
  filterForm.elements.text.focus();
});
addEventListener("pagehide", (event) => {
  if (!event.persisted) stop();
});

const publish = new Publish(session, () => bindings.list[0]?.exchange ?? bindings.types.keys().next().value, loadExchanges);
session.canPublish().then((can) => can && publish.show(), () => {}); // unreachable: the exchanges say so
applyFilter();
bindingsChanged();
loadExchanges();
