// Topic patterns as RabbitMQ reads them: words between dots, `*` is one word, `#` any number, none included. A wildcard
// counts only as a whole word, words may be empty, and the empty text has no word at all.

const words = (text) => (text === "" ? [] : text.split("."));

/** Whether the pattern matches the routing key. */
export function matches(pattern, key) {
  if (pattern === "#") return true;
  const want = words(pattern);
  if (!want.includes("#") && !want.includes("*")) return pattern === key;
  return reach(want, words(key))[want.length].at(-1);
}

// reach[i][j]: the first i words of the pattern can match the first j words of the key.
function reach(want, have) {
  const table = [Array.from({ length: have.length + 1 }, (_, j) => j === 0)];
  for (let i = 1; i <= want.length; i++) {
    const word = want[i - 1];
    const row = [word === "#" && table[i - 1][0]];
    for (let j = 1; j <= have.length; j++) {
      row.push(word === "#" ? table[i - 1][j] || row[j - 1] : table[i - 1][j - 1] && (word === "*" || word === have[j - 1]));
    }
    table.push(row);
  }
  return table;
}

/**
 * Which part of the pattern took which part of the key. `parts` pairs each word of the pattern with the words of the key
 * that it took (`took` is null from where it failed on); `rest` are words of the key that nothing took; `why` says in one
 * sentence why it does not match.
 */
export function explain(pattern, key) {
  const want = words(pattern);
  const have = words(key);
  const table = reach(want, have);
  const matched = table[want.length][have.length];
  const [end, at] = matched ? [want.length, have.length] : furthest(table);
  const parts = want.map((word) => ({ word, took: null }));
  for (let i = end, j = at; i > 0; i--) {
    const from = j;
    if (want[i - 1] === "#") while (!table[i - 1][j] && j > 0) j--;
    else j--;
    parts[i - 1].took = have.slice(j, from);
  }
  const rest = matched ? [] : have.slice(at);
  return { matched, parts, rest, why: matched ? "" : reason(want[end], rest, want.slice(end)) };
}

// As far as any reading comes: most words of the pattern, then most of the key.
function furthest(table) {
  for (let i = table.length - 1; i >= 0; i--) {
    const j = table[i].lastIndexOf(true);
    if (j >= 0) return [i, j];
  }
  return [0, 0];
}

function reason(word, rest, pending) {
  if (word === undefined) return `the pattern ends, and “${rest.join(".")}” is left`;
  const needs = pending.filter((w) => w !== "#").length;
  if (!rest.length) return `the key ends, and ${needs === 1 ? "one more word" : `${needs} more words`} would have to come`;
  return `“${rest[0]}” is not “${word}”`;
}

/**
 * Whether a binding takes a message with this routing key, by the type of its exchange; `matched` is null where the key
 * does not decide. An unknown type is read as topic, and `assumed` says so.
 */
export function route({ routing_key: pattern }, type, key) {
  switch (type) {
    case "fanout":
      return { matched: true, note: "A fanout exchange takes every message, whatever its key." };
    case "headers":
      return { matched: null, note: "A headers exchange looks at the headers, not at the key." };
    case "direct": {
      const matched = pattern === key;
      return { matched, note: matched ? "A direct exchange: the keys are equal." : "A direct exchange wants exactly this key; wildcards mean nothing there." };
    }
    default:
      return { ...explain(pattern, key), assumed: type !== "topic" };
  }
}
