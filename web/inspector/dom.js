// Small helpers for building elements. Whatever comes from a message goes through textContent, never through markup.

/** The element of the page with this id. */
export const $ = (id) => document.getElementById(id);

/**
 * Makes an element: `props` are properties, but for `class`, `aria-…`, `data-…` and `role`, which are attributes, and
 * `on…`, which are listeners. Children are nodes or texts; null and false are left out.
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(aria-|data-|role$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A line icon from path data; decorative. */
export function icon(path) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(ns, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

/** Tells a screen reader, without showing it. */
export function say(text) {
  $("said").textContent = text;
}

/** Copies text, says so on the button for a moment. Where the clipboard is not to be had (plain HTTP), an old way works. */
export async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = copyBySelection(text);
  }
  const word = done ? "Copied" : "Could not copy";
  say(word);
  if (!button || button.dataset.word) return;
  button.dataset.word = button.textContent;
  button.textContent = word;
  setTimeout(() => {
    button.textContent = button.dataset.word;
    delete button.dataset.word;
  }, 1500);
}

function copyBySelection(text) {
  const area = el("textarea", { value: text, class: "unseen", readOnly: true });
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

/** A group of radio buttons that looks like one control; `pick(value)` is called at each choice. */
export function segments(container, name, options, chosen, pick) {
  container.replaceChildren(...options.map(({ value, label, disabled }) => el("label", {},
    el("input", { type: "radio", name, value, checked: value === chosen, disabled: Boolean(disabled), onchange: () => pick(value) }),
    el("span", {}, label))));
}
