// The dialog for a token, and where it is kept: in this tab, until it is closed.
import { $ } from "./dom.js";
import { visible } from "./format.js";

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

/** A token as it was meant: without the line ends of a terminal, invisible characters and the name of the scheme. */
export const clean = (text) => text.replace(/\p{Cf}/gu, "").trim().replace(/^Bearer\s+/i, "").replace(/\s+/g, "");

/** Why a token cannot be sent, "" if it can: a header takes no others, and fetch would blame the network. */
export function fault(token) {
  const [odd] = token.match(/[^A-Za-z0-9._~+/=-]/u) ?? [];
  return odd ? `“${visible(odd)}” is not part of a token: was it copied whole?` : "";
}

/** One line about a token. */
export function about(token, now = Date.now()) {
  if (!token) return "";
  if (fault(token)) return fault(token);
  const said = claims(token);
  if (!said || typeof said !== "object") return "This does not look like a JWT.";
  const left = said.exp * 1000 - now;
  const until = Number.isNaN(left) ? "without an end" : left < 0 ? "expired" : `until ${new Date(said.exp * 1000).toLocaleString()}`;
  const binds = Array.isArray(said.warren?.bind) ? said.warren.bind.map((b) => `${b?.exchange} ${b?.routing_key ?? "#"}`).join(", ") : "nothing";
  return `For ${said.sub ?? "nobody"}, ${until}; may bind ${binds}.`;
}

/** `use(token)` is called with the new one, "" when it is to be forgotten. If it answers false, the one before stays. */
export function dialog(use) {
  const box = $("token-dialog");
  const { token: field } = $("token-form").elements;
  const tell = () => {
    const token = clean(field.value);
    const wrong = Boolean(fault(token));
    $("token-about").textContent = about(token);
    $("token-about").className = wrong ? "error" : "hint";
    field.setAttribute("aria-invalid", String(wrong));
    return !wrong;
  };
  field.addEventListener("input", tell);
  $("token-form").addEventListener("submit", (event) => {
    if (event.submitter?.value !== "use" || tell()) return;
    event.preventDefault();
    field.focus();
  });
  box.addEventListener("click", (event) => { if (event.target === box) box.close("cancel"); }); // beside it
  box.addEventListener("close", async () => {
    const token = box.returnValue === "use" ? clean(field.value) : "";
    field.value = ""; // it is in nobody's way of a screenshot
    if (box.returnValue !== "use" && box.returnValue !== "forget") return;
    const old = kept();
    keep(token);
    show();
    if (await use(token) || kept() !== token) return;
    keep(old);
    show();
  });
  const show = () => {
    $("token").classList.toggle("set", Boolean(kept()));
    $("token").textContent = kept() ? "Token given" : "Token";
  };
  const open = () => {
    field.value = kept();
    tell();
    $("token-forget").hidden = !field.value;
    box.returnValue = "cancel";
    box.showModal();
  };
  $("token").addEventListener("click", open);
  show();
  return { open };
}
