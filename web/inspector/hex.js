// Bytes as hex editors show them.

/** Lines of 16 bytes from an offset: "00000010  68 65 6c 6c …  |hello…|". */
export function dump(bytes, from = 0, length = bytes.length) {
  const lines = [];
  const end = Math.min(bytes.length, from + length);
  for (let at = from; at < end; at += 16) {
    const row = bytes.subarray(at, Math.min(at + 16, end));
    let hex = "";
    let text = "";
    row.forEach((byte, i) => {
      hex += `${i === 8 ? " " : ""}${byte.toString(16).padStart(2, "0")} `;
      text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·";
    });
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex.padEnd(49)} ${text}`);
  }
  return lines.join("\n");
}
