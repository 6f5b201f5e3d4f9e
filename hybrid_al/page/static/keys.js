// The keys of the page; nothing needs a pointer.

import { $, element } from "./panels.js";

const WORDS = [
  ["1 to 9", "a class: answers, or chooses where several or a drawing are saved together"],
  ["Enter", "save; close a polygon"],
  ["u, x, n, s", "unsure, unusable, not of interest, skip"],
  ["z", "undo the last answer"],
  ["c", "write a comment, Enter leaves it"],
  ["← →", "image before, next"],
  ["+ − f", "zoom in, out, fit; or the wheel, and drag with Shift"],
  ["PageUp, PageDown", "slices of a volume, images of a bag; or the wheel"],
  ["b e p r", "brush, eraser, polygon, box"],
  ["o, a", "with a segmenter: points that correct a box; whether a box proposes or is filled"],
  ["[ ]", "smaller, larger brush"],
  ["0", "draw what is not known"],
  ["h", "hide the drawing"],
  ["d", "show where the model is unsure"],
  ["Ctrl+Z, Ctrl+Y", "undo, redo a stroke"],
  ["arrows, Space", "on the image: move the cross (Shift: ten pixels), draw at it"],
  ["Esc", "drop a polygon"],
];
const TOOLS = { b: "brush", e: "eraser", p: "polygon", r: "box", o: "point" };
const REASONS = { u: "unsure", x: "unusable", n: "not of interest", s: "" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function showKeys() {
  $("keys-list").replaceChildren(...WORDS.flatMap(([keys, what]) => [element("dt", {}, element("kbd", { textContent: keys })), element("dd", { textContent: what })]));
  $("keys").showModal();
}

export function keysOf(event, page, acts) {
  if (document.querySelector("dialog[open]")) return;
  const { target, key } = event;
  if (target.id === "comment") {
    if (key === "Enter" || key === "Escape") target.blur();
    return;
  }
  if (target.type === "range" && key.startsWith("Arrow")) return;
  const act = actOf(event, page, acts);
  if (!act) return;
  event.preventDefault();
  act();
}

function actOf({ key, ctrlKey, metaKey, altKey, shiftKey, target }, { layer, state }, acts) {
  if (ctrlKey || metaKey) return layer && { z: () => layer.undo(), y: () => layer.redo() }[key];
  if (altKey) return null;
  if (target.id === "image" && layer) {
    const step = shiftKey ? 10 : 1;
    if (ARROWS[key]) return () => layer.step(step * ARROWS[key][0], step * ARROWS[key][1]);
    if (key === " ") return () => layer.press();
  }
  if (key >= "1" && key <= "9") return () => acts.choose(Number(key) - 1);
  if (key === "Enter") return target.tagName === "BUTTON" && target.id !== "save" ? null : acts.save;
  if (key in REASONS) return () => acts.skip(REASONS[key]);
  if (layer) {
    if (key === "o" && !state.segments) return null;
    if (key === "a" && state.segments) return () => $("segment").click();
    if (key in TOOLS && (state.kind !== "box" || key === "r")) return () => acts.hold({ tool: TOOLS[key] });
    if (key === "[" || key === "]") return () => acts.hold({ size: Math.min(80, Math.max(1, Math.round(layer.size * (key === "]" ? 1.3 : 0.77) + (key === "]" ? 0.5 : -0.5)))) });
    if (key === "0") return () => $("unknown").click();
    if (key === "d" && !$("doubt").hidden) return () => $("doubt").click();
    if (key === "h") return () => { layer.isHidden = !layer.isHidden; layer.changed(); };
    if (key === "Escape") return () => layer.cancel();
  }
  return {
    z: acts.undo, c: () => $("comment").focus(), ArrowLeft: () => acts.show(-1), ArrowRight: () => acts.show(1),
    PageUp: () => acts.turn(-1), PageDown: () => acts.turn(1), "+": () => acts.zoom(1.4), "-": () => acts.zoom(1 / 1.4), f: acts.fit, "?": showKeys,
  }[key];
}
