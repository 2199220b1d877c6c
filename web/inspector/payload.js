// Bodies of messages, as bytes and as text.

/** The body as it was published. */
export function bytesOf({ payload, payload_encoding: encoding }) {
  if (encoding !== "base64") return new TextEncoder().encode(payload);
  const chars = atob(payload);
  const bytes = new Uint8Array(chars.length);
  for (let i = 0; i < chars.length; i++) bytes[i] = chars.charCodeAt(i);
  return bytes;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of a frame's payload, undefined where it is binary. What is shorter so comes as base64, such as {"a":"b"} with all its quotes. */
export function textOf({ payload, payload_encoding: encoding }) {
  if (encoding !== "base64") return payload;
  try {
    const text = decoder.decode(bytesOf({ payload, payload_encoding: encoding }));
    return /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text) ? undefined : text; // small numbers look like UTF-8, too
  } catch {
    return undefined;
  }
}
