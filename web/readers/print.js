/** Prints frames, one per line, and lets the process end by itself when they are written. */
export function print(frames) {
  process.stdout.write(frames.map((frame) => JSON.stringify(frame) + "\n").join(""));
}
