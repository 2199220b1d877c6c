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

// C0 and C1 controls, marks and overrides of direction, zero-width and other characters that show nothing or lie about order.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const HIDDEN_IN_TEXT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

function name(char) {
  const code = char.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code); // control pictures: ␀ ␉ ␊ …
  if (code === 0x7f) return "␡";
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** Foreign text for one line: what could hide or reorder is spelt out. */
export const visible = (text) => text.replace(HIDDEN, name);

/** The same for texts of several lines: tabs and line ends stay. */
export const visibleText = (text) => text.replace(HIDDEN_IN_TEXT, name);
