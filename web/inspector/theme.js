// A plain script, not a module, so that it runs before the first paint: a page that was switched to dark never flashes white.
"use strict";
{
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("warren.theme");
    } catch {
      return null; // storage may be forbidden
    }
  };
  const apply = (theme) => {
    root.dataset.theme = themes.includes(theme) ? theme : "system";
  };
  apply(stored());

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => button.setAttribute("aria-label", `Colours: ${root.dataset.theme}. Switch.`);
    label();
    button.addEventListener("click", () => {
      apply(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
      label();
      button.title = `Colours: ${root.dataset.theme}`;
      try {
        localStorage.setItem("warren.theme", root.dataset.theme);
      } catch { /* then it holds until the page is left */ }
    });
  });
}
