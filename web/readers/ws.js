// Reads COUNT messages of a stream with the npm package ws, and prints each as a line of JSON.
// node ws.js BASE PATH COUNT
import { WebSocket } from "ws";
import { print } from "./print.js";

const [base, path, count] = process.argv.slice(2);
const frames = [];
const socket = new WebSocket(`${base.replace("http", "ws")}${path}/ws?from=earliest`, "warren.v1");
socket.on("error", (error) => { throw error; });
socket.on("message", (data, binary) => {
  if (binary) throw new Error("a binary message");
  const text = data.toString("utf8");
  const { type, id } = JSON.parse(text);
  if (type !== "message" || frames.length >= count) return;
  frames.push({ id, data: text });
  if (frames.length >= count) socket.close(1000);
});
socket.on("close", () => print(frames));
