// Which messages the list shows.
import { matches } from "./pattern.js";

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A test for entries, or null if all are wanted. The text is looked for anywhere, in whatever case. */
export function filter({ text = "", key = "" }) {
  if (!text && !key) return null;
  const wanted = text && new RegExp(escaped(text), "iu");
  return (entry) => (!key || matches(key, entry.routing_key)) && (!wanted || contains(entry, wanted));
}

function contains(entry, wanted) {
  return wanted.test(entry.routing_key) || wanted.test(entry.exchange)
    || (entry.payload_encoding !== "base64" && wanted.test(entry.payload))
    || wanted.test(entry.propertiesText ??= JSON.stringify(entry.properties));
}
