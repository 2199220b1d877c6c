// The bindings as something to paste elsewhere. The token is never written out: the snippets name a variable.
import { pairs } from "./urlstate.js";

/** For a POSIX shell. */
export const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

const js = (value) => JSON.stringify(value);

/** The kinds in the order they are offered. */
export const kinds = [
  { value: "curl", label: "curl" },
  { value: "eventsource", label: "EventSource" },
  { value: "client", label: "JavaScript" },
  { value: "listen", label: "warren listen" },
];

/** { text, note } for bindings at a gateway; `token` says whether one is needed. */
export function snippet(kind, base, bindings, token) {
  if (!bindings.length) return { text: "", note: "Add a binding first." };
  return makers[kind](base.replace(/\/$/, ""), bindings, token);
}

const makers = {
  curl(base, bindings, token) {
    const lines = [`curl -NG ${quote(`${base}/v1/sse`)}`];
    if (token) lines.push(`-H "Authorization: Bearer $WARREN_TOKEN"`);
    for (const [name, value] of pairs(bindings)) lines.push(`--data-urlencode ${quote(`${name}=${value}`)}`);
    return { text: lines.join(" \\\n  "), note: "" };
  },

  eventsource(base, bindings, token) {
    const url = `${base}/v1/sse?${new URLSearchParams(pairs(bindings))}`;
    const address = token ? `${js(`${url}&access_token=`)} + encodeURIComponent(token)` : js(url);
    return {
      text: `const events = new EventSource(${address});\n`
        + `events.onmessage = ({ data }) => console.log(JSON.parse(data));\n`
        + `events.addEventListener("gap", ({ data }) => console.warn(JSON.parse(data)));`,
      note: "Resumes by itself after a network drop.",
    };
  },

  client(base, bindings, token) {
    const list = bindings.map((binding) => `  ${literal(binding)},`).join("\n");
    return {
      text: `import { Warren } from ${js(`${base}/warren.js`)};\n\n`
        + `const warren = new Warren(${js(base)}${token ? ", { token }" : ""});\n`
        + `const sub = await warren.subscribe([\n${list}\n]);\n`
        + `for await (const message of sub) console.log(message.routing_key, message.payload);`,
      note: "",
    };
  },

  listen(base, bindings, token) {
    const plain = bindings.filter(({ exchange, arguments: args }) => !args && !/[=]/.test(exchange) && !exchange.startsWith("-"));
    const words = plain.map(({ exchange, routing_key: key }) => quote(key === "#" ? exchange : `${exchange}=${key}`));
    const rest = bindings.length - plain.length;
    return {
      text: plain.length ? [`${token ? 'WARREN_TOKEN="…" ' : ""}warren listen ${quote(base)}`, ...words].join(words.length > 2 ? " \\\n  " : " ") : "",
      note: rest ? `${rest === 1 ? "One binding" : `${rest} bindings`} with arguments, “=” or a leading “-” cannot be written on this command line.` : "",
    };
  },
};

// An object as one would type it.
function literal(binding) {
  const fields = Object.entries(binding).map(([name, value]) => `${name}: ${js(value)}`);
  return `{ ${fields.join(", ")} }`;
}
