// Properties whose numbers have more digits than a JavaScript number keeps. The client hands out values, in which these
// are lost already; so their text is picked from what its connections bring, before the client reads it.
import { parse } from "./json.js";

const LONG = /[:,[]-?\d{16}/; // 2^53 has 16 digits

/** The id and the text of the properties of a message's frame, undefined where the values say it all. */
export function longProperties(text) {
  const id = /^\{"type":"message","id":"([^"\\]+)"/.exec(text)?.[1];
  // Inside of strings quotes are escaped: these are the members of the frame, in the order of the gateway that this page is of.
  const from = text.indexOf(',"properties":') + 14;
  const properties = id && text.slice(from, text.lastIndexOf(',"payload":'));
  if (!properties || !LONG.test(properties)) return undefined;
  try {
    parse(properties);
  } catch {
    return undefined; // another gateway's order
  }
  return [id, JSON.parse(JSON.stringify(properties))]; // a copy: a slice would keep the whole frame
}

/** Gives the client its connections, and keeps the text of such properties until take(). */
export class Digits {
  #texts = new Map(); // by id, in the order of arrival

  #note = (text) => {
    const [id, properties] = longProperties(text) ?? [];
    if (id) this.#texts.set(id, properties);
  };

  /** The text of a message's properties, once. Messages come in order: what is older was a repeat. */
  take(id) {
    const text = this.#texts.get(id);
    if (text === undefined) return undefined;
    for (const [older] of this.#texts) {
      this.#texts.delete(older);
      if (older === id) break;
    }
    return text;
  }

  clear() {
    this.#texts.clear();
  }

  /** Options of the client. */
  get options() {
    const note = this.#note;
    return {
      WebSocket: globalThis.WebSocket && class extends WebSocket {
        constructor(...args) {
          super(...args);
          this.addEventListener("message", ({ data }) => note(data)); // before the client's
        }
      },
      async fetch(url, options) {
        const response = await fetch(url, options);
        if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return response;
        return new Response(response.body.pipeThrough(lines((line) => line.startsWith("data: ") && note(line.slice(6)))), response);
      },
    };
  }
}

// Lets bytes through, and calls each(line).
function lines(each) {
  const decoder = new TextDecoder();
  let rest = "";
  return new TransformStream({
    transform(chunk, controller) {
      const whole = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = whole.pop();
      whole.forEach(each);
      controller.enqueue(chunk);
    },
  });
}
