// How sizes, times and foreign texts are written. No document needed.

/** 312 B, 4.2 KiB, 1.0 MiB. */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const [value, unit] = bytes < 1024 * 1024 * 0.9995 ? [bytes / 1024, "KiB"] : [bytes / 1024 / 1024, "MiB"];
  return `${value < 99.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

const two = (n) => String(n).padStart(2, "0");

/** Local time of day with milliseconds. */
export function clock(ms) {
  const d = new Date(ms);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, "0")}`;
}

/** 1,234 */
export const count = (n) => n.toLocaleString("en");

/** "1 message", "2 messages". */
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

// Controls, marks and overrides of direction, and whatever else Unicode lets a font show as nothing: zero-width characters,
// fillers, tags, variation selectors. The emoji selector shows where it makes a picture of a sign that is text without it,
// as in ❤️ and ⚠️, and stays there; a joiner between emoji does not, since nobody sees what was joined.
const hidden = (controls) => new RegExp(String.raw`(?:${controls}|[\p{Default_Ignorable_Code_Point}\u2028\u2029\ufff9-\ufffb])(?<!(?!\p{Emoji_Presentation})\p{Extended_Pictographic}\ufe0f)`, "gu");
const HIDDEN = hidden(String.raw`\p{Cc}`);
const HIDDEN_IN_TEXT = hidden(String.raw`(?![\t\n\r])\p{Cc}`);

function name(char) {
  const code = char.codePointAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code); // control pictures: ␀ ␉ ␊ …
  if (code === 0x7f) return "␡";
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** Foreign text for one line: what could hide or reorder is spelt out. */
export const visible = (text) => text.replace(HIDDEN, name);

/** The same for texts of several lines: tabs and line ends stay. */
export const visibleText = (text) => text.replace(HIDDEN_IN_TEXT, name);

// Characters that a browser lays out at once. Of many scripts a long line takes the square of its length (64 Ki of Hebrew
// took 8 s, of Thai 40 s), so that their parts are shorter.
const PART = 64 * 1024;
const SLOW = /[\u0590-\u1cff\ua800-\uabff\ufb1d-\ufefc\u{10800}-\u{11fff}\u{1e800}-\u{1efff}]/u;

/** Where the part of a foreign text ends that begins at `from`. */
export function partEnd(text, from) {
  let to = from + PART;
  if (SLOW.test(text.slice(from, to))) to = from + PART / 8;
  return to >= text.length ? text.length : to + /[\ud800-\udbff]/.test(text[to - 1]);
}
