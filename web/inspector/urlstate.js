// The page's state in its address, so that a link can be shared. Bindings are written as the gateway's own streams take
// them: `?exchange=E&routing_key=K…`, or `bindings=<JSON>` where one has arguments.

/** { bindings, text, key } of a query. What cannot be read is left out: a broken link opens an empty form, not an error. */
export function read(search) {
  const query = new URLSearchParams(search);
  return { bindings: bindingsOf(query), text: query.get("text") ?? "", key: query.get("key") ?? "" };
}

function bindingsOf(query) {
  const json = query.get("bindings");
  const exchanges = query.getAll("exchange");
  const keys = query.getAll("routing_key");
  try {
    const list = json === null ? exchanges.map((exchange, i) => ({ exchange, routing_key: keys[i] || "#" })) : JSON.parse(json);
    return unique(list.map(clean).filter(Boolean));
  } catch {
    return []; // no JSON, no list, or too deep to be written again
  }
}

function clean(binding) {
  const { exchange, routing_key = "#", arguments: args } = binding ?? {};
  if (typeof exchange !== "string" || exchange === "" || typeof routing_key !== "string") return null;
  const named = args && typeof args === "object" && !Array.isArray(args) && Object.keys(args).length;
  return named ? { exchange, routing_key, arguments: args } : { exchange, routing_key };
}

/** What makes two bindings the same. */
export const same = (a, b) => identity(a) === identity(b);
const identity = ({ exchange, routing_key, arguments: args }) => JSON.stringify([exchange, routing_key, Object.entries(args ?? {}).sort()]);

// A link may name thousands.
const unique = (bindings) => [...new Map(bindings.map((binding) => [identity(binding), binding])).values()];

/** The query part for the gateway's streams: [name, value] pairs, not yet encoded. */
export function pairs(bindings) {
  // An empty key cannot be told from a forgotten %23 in a plain query; the gateway wants it as JSON.
  if (bindings.some((binding) => binding.arguments || binding.routing_key === "")) return [["bindings", JSON.stringify(bindings)]];
  return bindings.flatMap(({ exchange, routing_key }) => [["exchange", exchange], ["routing_key", routing_key]]);
}

/** The query of a state, with its question mark; empty for an empty state. */
export function write({ bindings, text, key }) {
  const query = new URLSearchParams(pairs(bindings));
  if (text) query.set("text", text);
  if (key) query.set("key", key);
  // Readable where it need not be escaped: `*` and the JSON-free rest are by themselves.
  const string = query.toString();
  return string && `?${string}`;
}
