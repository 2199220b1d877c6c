// The dialog for a token, and where it is kept: in this tab, until it is closed.
import { $ } from "./dom.js";

const NAME = "warren.token";

/** The token of this tab, "" for none. */
export function kept() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // storage may be forbidden
  }
}

function keep(token) {
  try {
    if (token) sessionStorage.setItem(NAME, token);
    else sessionStorage.removeItem(NAME);
  } catch { /* then it holds until the page is left */ }
}

/** What a JWT says of itself, unchecked; undefined if it is none. */
export function claims(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
  } catch {
    return undefined;
  }
}

/** One line about a token. */
export function about(token, now = Date.now()) {
  if (!token) return "";
  const said = claims(token);
  if (!said || typeof said !== "object") return "This does not look like a JWT.";
  const left = said.exp * 1000 - now;
  const until = Number.isNaN(left) ? "without an end" : left < 0 ? "expired" : `until ${new Date(said.exp * 1000).toLocaleString()}`;
  const binds = Array.isArray(said.warren?.bind) ? said.warren.bind.map((b) => `${b?.exchange} ${b?.routing_key ?? "#"}`).join(", ") : "nothing";
  return `For ${said.sub ?? "nobody"}, ${until}; may bind ${binds}.`;
}

/** `use(token)` is called with the new one, "" when it is to be forgotten. */
export function dialog(use) {
  const box = $("token-dialog");
  const { token: field } = $("token-form").elements;
  field.addEventListener("input", () => { $("token-about").textContent = about(field.value.trim()); });
  box.addEventListener("click", (event) => { if (event.target === box) box.close("cancel"); }); // beside it
  box.addEventListener("close", () => {
    const token = box.returnValue === "use" ? field.value.trim() : "";
    field.value = ""; // it is in nobody's way of a screenshot
    if (box.returnValue !== "use" && box.returnValue !== "forget") return;
    keep(token);
    show();
    use(token);
  });
  const show = () => {
    $("token").classList.toggle("set", Boolean(kept()));
    $("token").textContent = kept() ? "Token given" : "Token";
  };
  const open = () => {
    field.value = kept();
    $("token-about").textContent = about(field.value);
    $("token-forget").hidden = !field.value;
    box.returnValue = "cancel";
    box.showModal();
  };
  $("token").addEventListener("click", open);
  show();
  return { open };
}
