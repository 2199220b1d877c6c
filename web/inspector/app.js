import { Warren } from "../warren.js";

const warren = new Warren();
const state = document.getElementById("state");
const list = document.getElementById("list");
let subscription;

document.getElementById("listen").addEventListener("submit", (event) => {
  event.preventDefault();
  subscription?.close();
  subscription = warren.open(Object.fromEntries(new FormData(event.target)));
  subscription.on("state", ({ state: word, reason }) => { state.textContent = [word, reason].filter(Boolean).join(": "); });
  subscription.on("message", ({ exchange, routing_key, payload }) => {
    const item = document.createElement("li");
    item.textContent = `${exchange} ${routing_key} ${JSON.stringify(payload)}`;
    list.prepend(item);
    if (list.children.length > 200) list.lastChild.remove();
  });
});
