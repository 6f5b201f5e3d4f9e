// What stands around the image: the strip of all images, classes, similar cases, messages, and the pause between queries.

import { COLOURS, UNKNOWN } from "./draw.js";

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Fill a node where what it shows has changed: else it would lose the focus, and screen readers would say it again.
function fill(node, content, make) {
  const now = JSON.stringify(content);
  if (node.dataset.content === now) return;
  node.dataset.content = now;
  node.replaceChildren(...make());
}

const SKIPPED = "skip";
export const inWords = (answer) =>
  !answer ? "not answered" : answer.text === SKIPPED ? answer.reason || "skipped" : answer.file || answer.text.includes("/") ? "drawn" : answer.text;

export function drawStrip(items, current, choose) {
  const strip = $("strip");
  if (strip.childElementCount !== items.length || strip.dataset.first !== items[0]?.sample) {
    strip.dataset.first = items[0]?.sample ?? "";
    strip.replaceChildren(...items.map((item, k) => {
      const image = element("img", { src: `/thumbnail/${item.index}.jpg`, alt: "", loading: "lazy" });
      return element("button", { onclick: () => choose(k) }, image, element("span", { className: "mark" }));
    }));
  }
  items.forEach((item, k) => {
    const button = strip.children[k];
    const skipped = item.answer?.text === SKIPPED;
    button.className = skipped ? "skipped" : "";
    button.ariaLabel = `${k + 1}: ${item.sample}, ${inWords(item.answer)}`;
    button.title = button.ariaLabel;
    button.lastChild.textContent = item.answer ? (skipped ? "–" : "✓") : "";
    button.lastChild.hidden = !item.answer;
    if (k === current) {
      button.setAttribute("aria-current", "true");
      strip.scrollTo({ left: button.offsetLeft - strip.clientWidth / 2 });
    } else button.removeAttribute("aria-current");
    button.tabIndex = k === current ? 0 : -1; // the arrows go through them
  });
}

// names: [class, whether it is chosen] from the class `first` of `count` on; a drawn class has its colour beside it.
export function drawClasses(names, isDrawn, first, count, choose) {
  fill($("classes"), names.map(([name]) => name), () => names.map(([name], k) => {
    const children = [name];
    if (isDrawn) {
      const patch = element("i");
      patch.style.background = k + first < count ? COLOURS[(k + first - 1) % COLOURS.length] : "#808080";
      children.unshift(patch);
    }
    if (k + 1 <= 9) children.push(element("kbd", { textContent: String(k + 1) }));
    const button = element("button", { onclick: () => choose(k) }, ...children);
    button.dataset.name = name;
    return button;
  }));
  names.forEach(([, isChosen], k) => $("classes").children[k].setAttribute("aria-pressed", String(isChosen)));
}

export function drawSimilar(similar) {
  $("similar").hidden = !similar.length;
  fill($("similar").querySelector("ul"), similar, () => similar.map((one) => {
    const image = element("img", { src: `/thumbnail/${one.index}.jpg`, alt: one.id, title: one.id });
    return element("li", {}, image, one.label || "drawn");
  }));
}

// What a person has in hand, and which buttons the answers of a run need.
export function drawTools({ state, layer, proposal, doubts }, item, isDrawn) {
  const press = (button, is) => button.setAttribute("aria-pressed", String(Boolean(is)));
  for (const button of document.querySelectorAll("[data-tool]")) {
    const { tool } = button.dataset;
    press(button, layer?.tool === tool);
    button.hidden = (state.kind === "box" && tool !== "box") || (tool === "point" && !state.segments);
  }
  for (const button of document.querySelectorAll("[data-reason]"))
    press(button, item.answer?.text === SKIPPED && item.answer.reason === button.dataset.reason);
  $("tools").hidden = !isDrawn;
  $("unknown").hidden = state.kind === "box";
  press($("unknown"), layer?.value === UNKNOWN);
  $("segment").hidden = !state.segments;
  press($("segment"), layer?.segments);
  $("save").hidden = state.kind === "class";
  $("propose").hidden = !proposal;
  $("doubt").hidden = !isDrawn || !state.progress.round;
  press($("doubt"), doubts);
  $("size").value = layer?.size ?? 1;
  $("size-at").value = `${layer?.size ?? 1} px`;
}

// The window, between the values that its ends stand for.
export function drawWindow(viewer, about) {
  const [low, high] = viewer.window;
  $("level").value = (low + high) / 2;
  $("width").value = high - low;
  const [from, to] = about.span.length ? about.span : [0, 255];
  $("values").value = viewer.window.map((value) => Math.round(from + value * (to - from))).join(" – ");
}

const PAGE = 60; // images of a bag that are shown at once

// All images of a bag, a page of them at a time; `page.sheet` is the one that is shown.
export function drawBag(page, choose) {
  const { bag, slices, looked } = page.about;
  $("bag").hidden = !bag;
  $("slice-name").textContent = bag ? "Image" : "Slice";
  if (!bag) return;
  const first = page.sheet * PAGE;
  const rows = slices.slice(first, first + PAGE);
  const last = Math.ceil(slices.length / PAGE) - 1;
  $("bag-name").textContent = bag;
  $("bag-at").value = last ? `images ${first + 1} to ${first + rows.length} of ${slices.length}` : `${slices.length} images`;
  for (const [id, to] of [["bag-before", page.sheet - 1], ["bag-after", page.sheet + 1]]) {
    $(id).hidden = !last;
    $(id).disabled = to < 0 || to > last;
    $(id).onclick = () => { page.sheet = to; drawBag(page, choose); };
  }
  fill($("bag-images"), [bag, rows, looked], () => rows.map((row, k) => {
    const image = element("img", { src: `/thumbnail/${row}.jpg`, alt: "", loading: "lazy" });
    const button = element("button", { onclick: () => choose(first + k) }, image);
    const isLooked = looked.includes(row);
    button.ariaLabel = button.title = `${first + k + 1} of ${slices.length}${isLooked ? ", the last model looked at it most" : ""}`;
    button.classList.toggle("looked", isLooked);
    return button;
  }));
  rows.forEach((row, k) => $("bag-images").children[k].setAttribute("aria-pressed", String(row === page.slice)));
}

export const sheetOf = (k) => Math.floor(k / PAGE);

export function drawAbout(item, place, total) {
  const parts = [element("b", { textContent: `${place + 1} of ${total}` }), ` ${item.sample} `];
  if (item.asks) parts.push(element("b", { textContent: `Is it ${item.asks}? ` }));
  if (item.reason) parts.push(element("span", { textContent: `– asked because: ${item.reason}` }));
  if (item.answer) parts.push(element("span", { textContent: ` – ${item.answer.reader}: ${inWords(item.answer)}` }));
  fill($("about"), parts.map((part) => part.textContent ?? part), () => parts);
}

export function drawProgress({ done, total, pace }) {
  $("done").max = Math.max(total, 1);
  $("done").value = done;
  const seconds = pace === null ? 0 : pace * (total - done);
  const left = !seconds ? "" : seconds < 90 ? `, about ${Math.ceil(seconds)} s left` : `, about ${Math.ceil(seconds / 60)} min left`;
  $("count").textContent = `${done} of ${total}${left}`;
}

export function say(text, isBad = false) {
  $("saved").textContent = text;
  $("saved").className = isBad ? "bad" : "";
}

// A message that stays until one of its buttons [words, what to do] is pressed; nothing without text.
export function warn(text, ...buttons) {
  $("message").hidden = !text;
  $("message").replaceChildren(text ?? "", ...buttons.map(([words, act]) =>
    element("button", { textContent: words, onclick: () => { warn(); act(); } })));
}

// What is shown where no image waits: answered, training, or nothing open.
export function drawPause(state, train) {
  const { phase, training, standing } = state;
  const isOpen = phase === "open";
  $("work").hidden = $("strip").hidden = !isOpen;
  $("pause").hidden = isOpen;
  if (isOpen) return;
  const heading = { answered: "All images are answered. Thank you.", training: "Learning from the answers…", none: "No image waits." };
  if (state.waits) heading.answered = "Your images are answered. Thank you. Others are still reading.";
  const step = training.step === undefined ? "" : `${training.stage}: step ${training.step}`;
  const children = [element("h2", { textContent: heading[phase], className: phase === "training" ? "busy" : "" })];
  if (step) children.push(element("p", { textContent: step, id: "step" }));
  if (training.failed) children.push(element("p", { textContent: `The training stopped: ${training.line}` }));
  if (standing.length) children.push(element("pre", { textContent: standing.join("\n") }));
  if (phase === "answered" && !state.waits) children.push(element("button", { id: "train", textContent: "Go on with the loop", onclick: train }));
  fill($("pause"), children.map((child) => child.textContent), () => children);
}
