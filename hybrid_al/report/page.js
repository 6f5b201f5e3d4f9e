"use strict";
// The page around the figures: theme, links that unfold, and a page that shows a run which goes on loads itself anew.

const root = document.documentElement;
const THEMES = ["auto", "light", "dark"];

function remembered(key, value) {
  try {
    if (value === undefined) return sessionStorage.getItem(key);
    sessionStorage.setItem(key, value);
  } catch {
    return null; // a browser may keep files from storing anything
  }
  return value;
}

function setTheme(name) {
  if (name === "auto") delete root.dataset.theme;
  else root.dataset.theme = name;
  document.getElementById("theme").textContent = `Theme: ${name}`;
  remembered("theme", name);
  document.dispatchEvent(new Event("themechange"));
}

setTheme(THEMES.includes(remembered("theme")) ? remembered("theme") : "auto");
document.getElementById("theme").addEventListener("click", () => {
  setTheme(THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length]);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.dispatchEvent(new Event("themechange"));
});

function unfold() {
  const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (place) place.querySelectorAll(":scope > details").forEach((details) => { details.open = true; });
}
unfold();
addEventListener("hashchange", unfold);

const folded = [];
addEventListener("beforeprint", () => {
  folded.push(...document.querySelectorAll("main details:not([open])"));
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.splice(0).forEach((details) => { details.open = false; }));

if (document.body.dataset.refresh) {
  setInterval(() => {
    if (!document.querySelector("dialog[open]") && !document.hidden) location.reload();
  }, 1000 * Number(document.body.dataset.refresh));
}
