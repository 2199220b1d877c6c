// Messages as JSON Lines: one frame a line, as the gateway and `warren listen` write them.
import { compact, isJSON } from "./json.js";

const LEVELS = 64; // readers recurse

/** Whether a payload is written as JSON in the line, by the rule of the gateway: the type says JSON, or says nothing, and it nests no deeper. */
const inlined = ({ payload, payload_encoding: encoding, properties }) =>
  encoding === "string" && isJSONType(properties?.content_type ?? "") && isJSON(payload, LEVELS);

function isJSONType(contentType) {
  const type = contentType.split(";")[0].trim().toLowerCase();
  return contentType === "" || /^(application\/json|text\/json|application\/.*\+json)$/s.test(type);
}

/** The properties of a message as JSON: as they came, where the values have lost digits. */
export const propertiesText = (entry) => entry.propertiesText ?? JSON.stringify(entry.properties);

/** One line without its end. Numbers keep the digits they were published with. */
export function line(entry) {
  if (entry.type !== "message") return JSON.stringify(entry.frame);
  const { id, exchange, routing_key, payload, payload_encoding, time } = entry;
  const json = inlined(entry);
  const head = JSON.stringify({ type: "message", id, received_at: new Date(time).toISOString(), exchange, routing_key });
  return `${head.slice(0, -1)},"properties":${propertiesText(entry)},"payload":${json ? compact(payload) : JSON.stringify(payload)},"payload_encoding":"${json ? "json" : payload_encoding}"}`;
}

/** A file of the entries, oldest first. */
export function file(entries) {
  const parts = [];
  for (const entry of entries) parts.push(line(entry), "\n");
  return new Blob(parts, { type: "application/x-ndjson" });
}

/** Offers a file to the browser's downloads. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000); // the download reads it after the click
}
