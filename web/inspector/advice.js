// What the gateway's and the client's words mean, and what to do about them. The title and detail come from the server
// where it gave them; these stand in where a stream ended with a bare code.
import { visible } from "./format.js";

const TABLE = {
  invalid_request: ["The request is not valid", "Change the binding and start again."],
  unauthorized: ["A valid token is needed", "Give a token that is valid for this gateway.", "token"],
  token_expired: ["The token has expired", "Give a new one.", "token"],
  forbidden: ["Not allowed for this caller", "Give a token of the owner.", "token"],
  forbidden_binding: ["The binding is not allowed", "Ask for less, or give a token whose claim “warren” grants it.", "token"],
  forbidden_origin: ["The origin is not allowed", "Open the inspector at the gateway’s own address, or let --allow-origin list this one."],
  wrong_host: ["The gateway does not serve this host", "Open it by the name that --public-url says."],
  exchange_not_found: ["There is no such exchange", "Check its name; exchanges that are known are offered while you type."],
  subscription_not_found: ["The subscription is gone", "Start again.", "start"],
  subscription_deleted: ["The subscription was deleted", "Start again.", "start"],
  subscription_expired: ["The subscription has expired", "Start again.", "start"],
  limit_reached: ["A limit is reached", "Close what you do not need, or wait; who runs the gateway can raise the limit that is named."],
  rate_limited: ["Too many requests", "Wait a moment."],
  over_capacity: ["The gateway takes no more work now", "Try again later.", "start"],
  broker_unavailable: ["The broker cannot be used now", "The gateway goes on trying to reach it. Try again in a moment.", "start"],
  broker_timeout: ["The broker did not answer in time", "Try again in a moment.", "start"],
  shutting_down: ["The gateway is shutting down", "It asks to come back in a moment.", "start"],
  internal_error: ["The gateway failed", "Its log says why. Try again.", "start"],
  slow_reader: ["This page read too slowly", "It goes on where it was."],
  body_too_large: ["The message is too large", "At most 64 KiB can be published here."],
  unreachable: ["The gateway cannot be reached", "Is it running, and is this page still online?", "start"],
  timeout: ["The gateway went silent", "The page connects again by itself."],
};

// One code for three who may refuse a binding; where it is not the token, no other one helps.
const REFUSERS = [
  [/^the message broker /, "Who runs the broker decides: the gateway’s account needs the permission to read this exchange."],
  [/^this gateway does not let anybody /, "Who runs the gateway decides, with --allow-exchange and --deny-exchange."],
];

const LABELS = { token: "Give a token", start: "Start again" };

/** { title, detail, advice, act, label } of a WarrenError or whatever was thrown. `act` is "token", "start" or undefined. */
export function explain(error) {
  const unreachable = error instanceof TypeError; // what fetch throws
  const code = unreachable ? "unreachable" : error?.code;
  const { title, detail, binding, limit, retry_after_seconds: after } = error?.problem ?? {};
  let [ours, advice = "", act] = TABLE[code] ?? [code ? `Refused: ${code}` : "Something failed", ""];
  const refuser = code === "forbidden_binding" && REFUSERS.find(([text]) => text.test(detail));
  if (refuser) [advice, act] = [refuser[1]];
  const said = detail ?? (code || unreachable ? "" : String(error?.message ?? error));
  return {
    code, title: title ?? ours, act, label: LABELS[act], binding,
    detail: [said && said.toLowerCase() !== title?.toLowerCase() && sentence(said), limit && !said.includes(limit) && `Limit: --${limit}.`].filter(Boolean).join(" "),
    advice: [advice, after && `Not before ${after} s from now.`].filter(Boolean).join(" "),
  };
}

function sentence(text) {
  const first = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** A word for why a stream ended, for the line of the state. */
export function word(reason) {
  if (!reason) return "";
  return TABLE[reason] ? TABLE[reason][0].replace(/^The gateway (is )?/, "gateway ").replace(/^[A-Z]/, (c) => c.toLowerCase()) : reason;
}

const GAPS = {
  evicted: "this page was away, or slower, for longer than the gateway’s log is long",
  oversized: "a message larger than the gateway takes",
  queue_overflow: "the broker dropped messages from a full queue",
  broker_reconnected: "the gateway lost the broker and found it again",
  queue_lost: "the queue was lost and made again",
  binding_lost: "an exchange was deleted under its binding",
  subscription_lost: "the subscription was gone, this is a new one",
  unknown_position: "the position is not of this stream",
};

/** One line about a frame that is no message. */
export function marker(frame) {
  if (frame.type === "gap") {
    const missed = frame.missed === null ? "an unknown number of messages" : `${frame.missed} ${frame.missed === 1 ? "message" : "messages"}`;
    const about = frame.reason === "oversized" ? ` (${visible(frame.routing_key)}, ${frame.size} bytes)` : "";
    return `${missed} missing here: ${GAPS[frame.reason] ?? frame.reason}${about}`;
  }
  const list = (frame.bindings ?? []).map((b) => `${visible(`${b.exchange} ${b.routing_key}`)}${b.state === "missing" ? " (missing)" : ""}`).join(", ");
  if (frame.type === "ready") return `${frame.resumed ? "goes on where it was" : "listening from here"}: ${list || "no bindings"}`;
  return `from here on: ${list || "no bindings"}`;
}
