// Properties whose numbers have more digits than a JavaScript number keeps: their text is kept beside the values.
import { parse } from "./json.js";

const LONG = /[:,[]-?\d{16}/; // 2^53 has 16 digits

/** The text of the properties of a message's frame, undefined where the values say it all. */
export function longProperties(text) {
  // Inside of strings quotes are escaped: these are the members of the frame, in the order of the gateway that this page is of.
  const from = text.indexOf(',"properties":') + 14;
  const properties = text.startsWith('{"type":"message",') && text.slice(from, text.lastIndexOf(',"payload":'));
  if (!properties || !LONG.test(properties)) return undefined;
  try {
    parse(properties);
  } catch {
    return undefined; // another gateway's order
  }
  return JSON.parse(JSON.stringify(properties)); // a copy: a slice would keep the whole frame
}

/** How the client reads a frame here: with `propertiesText` where the values of its properties have lost digits. */
export function readFrame(text) {
  const frame = JSON.parse(text);
  const propertiesText = longProperties(text);
  return propertiesText ? Object.assign(frame, { propertiesText }) : frame;
}
