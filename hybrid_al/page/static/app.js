// The page: one image of the open query after the other, and an answer about each. The server keeps all that counts.

import { Closed, Outbox, getJson, post } from "./api.js";
import { UNKNOWN } from "./draw.js";
import { Drafts } from "./drafts.js";
import { beginDrawing, doubtOf, maskOf } from "./drawings.js";
import { keysOf, showKeys } from "./keys.js";
import { $, drawAbout, drawBag, drawClasses, drawPause, drawProgress, drawSimilar, drawStrip, drawTools, drawWindow, say, sheetOf, warn } from "./panels.js";
import { Viewer } from "./viewer.js";

const viewer = new Viewer($("image"));
const drafts = new Drafts();
const page = { state: null, at: -1, about: null, layer: null, proposal: null, chosen: new Set(), given: [] };
let outbox, clock;

const items = () => page.state.items;
const item = () => items()[page.at];
const isDrawn = () => !["class", "classes"].includes(page.state.kind);
const reader = () => page.state.reader ?? localStorage.getItem("reader");

// -- which image ------------------------------------------------------------------------------------------------------

async function show(k) {
  try {
    await load(k);
  } catch (error) {
    warn(error.message, ["Try again", () => show(k)]);
  }
}

async function load(k) {
  drafts.leave(page);
  page.at = Math.min(Math.max(k, 0), items().length - 1);
  const { index, answer } = item();
  const place = page.at;
  const about = await getJson(`/api/item/${index}`);
  if (place !== page.at) return;
  Object.assign(page, { about, layer: null, proposal: null, proposals: null, doubt: null });
  viewer.doubt = null;
  page.chosen = new Set(answer && !isDrawn() ? answer.text.split(";") : []);
  viewer.layer = null;
  await viewer.load(`/image/${index}.png`, about);
  if (isDrawn()) viewer.layer = await beginDrawing(page, item(), viewer, say);
  if (isDrawn() && page.doubts) viewer.doubt = page.doubt = await doubtOf(index);
  if (place !== page.at) return;
  viewer.onSlice = about.slices.length > 1 ? (step) => turn(about.slices.indexOf(page.slice) + step) : null;
  page.slice = index;
  $("slice-row").hidden = !viewer.onSlice;
  $("slice").max = about.slices.length - 1;
  $("comment").value = answer?.comment ?? "";
  $("image").ariaLabel = `Image ${place + 1} of ${items().length}, ${item().sample}`;
  drawSimilar(about.similar);
  drawWindow(viewer, page.about);
  page.sheet = 0;
  turn(about.slices.indexOf(about.looked[0] ?? index));
  if (drafts.enter(page, item().sample)) say("What you had not saved is back");
  render();
  clock = { seconds: 0, since: performance.now() };
  document.body.dataset.shown = index;
}

// The answers in words that an image may get: yes and no where one class is asked about.
const choices = () => (item().asks ? [item().asks, `not ${item().asks}`] : page.state.classes);

function render() {
  const { progress } = page.state;
  const classes = choices();
  drawStrip(items(), page.at, show);
  drawAbout(item(), page.at, items().length);
  drawProgress(progress);
  const value = page.layer?.value;
  const names = isDrawn() ? classes.slice(1).map((name, k) => [name, value === k + 1]) : classes.map((name, k) => [item().asks ? `${k ? "no" : "yes"}, ${name}` : name, page.chosen.has(name)]);
  if (isDrawn() && page.state.kind !== "box") names.push([classes[0], value === 0]);
  drawClasses(names, isDrawn(), isDrawn() ? 1 : 0, classes.length, choose);
  drawTools(page, item(), isDrawn());
  $("reader").textContent = reader() ?? "";
}

const nextOpen = () => {
  const after = [...items().keys()].map((k) => (page.at + 1 + k) % items().length);
  return after.find((k) => !items()[k].answer);
};

// -- window, slices ---------------------------------------------------------------------------------------------------

function setWindow() {
  const [level, width] = [Number($("level").value), Number($("width").value)];
  viewer.setWindow(level - width / 2, level + width / 2);
  drawWindow(viewer, page.about);
}

async function turn(k) {
  const { slices } = page.about;
  if (k < 0 || k >= slices.length) return;
  $("slice").value = k;
  $("slice-at").value = `${k + 1} / ${slices.length}`;
  const isShown = page.slice === slices[k];
  page.slice = slices[k];
  page.sheet = sheetOf(k);
  drawBag(page, turn);
  if (isShown) return;
  const isOwn = page.slice === item().index;
  viewer.layer = isOwn ? page.layer : null; // others are there to look at
  viewer.doubt = isOwn ? page.doubt : null;
  await viewer.load(`/image/${page.slice}.png`, page.about, { keepView: true });
}

// -- drawing ----------------------------------------------------------------------------------------------------------

// The tool in hand, which stays from image to image.
function hold(change) {
  Object.assign(page.layer, change);
  page.hand = { ...page.hand, ...change };
  page.layer.cancel();
  viewer.draw();
  render();
}

// -- answers ----------------------------------------------------------------------------------------------------------

function choose(k) {
  const { kind } = page.state;
  const classes = choices();
  if (isDrawn()) return hold({ value: k + 1 < classes.length ? k + 1 : 0, ...(page.layer.tool === "eraser" ? { tool: "brush" } : {}) });
  if (k >= classes.length) return;
  if (kind === "class") return submit({ kind: "answer", classes: [classes[k]] }, classes[k]);
  page.chosen.delete("none");
  page.chosen.delete("skip");
  if (!page.chosen.delete(classes[k])) page.chosen.add(classes[k]);
  render();
}

function save() {
  const { kind, classes } = page.state;
  const { layer } = page;
  if (kind === "classes") {
    const names = classes.filter((name) => page.chosen.has(name));
    submit({ kind: "answer", classes: names }, names.join(";") || "none");
  } else if (kind === "box") submit({ kind: "answer", boxes: layer.boxes }, "drawn/");
  else if (isDrawn()) {
    if (layer.polygon.length) layer.close();
    else if (layer.labels.every((label) => label === UNKNOWN)) say("Nothing is drawn: draw, or skip", true);
    else submit({ kind: "answer", mask: maskOf(layer), ...page.proposals.result(maskOf) }, "drawn/");
  }
}

const skip = (reason) => submit({ kind: "skip", reason }, "skip", reason);

function submit(answer, text, reason = "") {
  if (!reader()) return $("who").showModal();
  const seconds = Math.round(10 * (clock.seconds + (document.hidden ? 0 : (performance.now() - clock.since) / 1000))) / 10;
  const body = {
    id: crypto.randomUUID(), round: page.state.progress.round, sample: item().sample, reader: reader(),
    comment: $("comment").value.trim(), seconds: Math.min(seconds, 86400), reason, ...answer,
  };
  const draft = drafts.end(page);
  page.given.push({ place: page.at, draft });
  sent.set(body.id, draft);
  item().answer = { text, reason, reader: reader(), comment: body.comment, file: text === "drawn/" };
  outbox.push(body);
  $("comment").blur();
  const next = nextOpen();
  if (next === undefined) render();
  else show(next);
}

function undo() {
  if (!page.given.length) return;
  const { place, draft } = page.given.pop();
  const { sample } = items()[place];
  drafts.leave(page);
  drafts.put(sample, draft);
  outbox.push({ id: crypto.randomUUID(), round: page.state.progress.round, sample, kind: "withdrawn", reader: reader() });
  items()[place].answer = null;
  show(place);
}

const sent = new Map(); // id of an answer that the server has not taken yet -> its draft
const told = {
  waiting: (count, isStuck, why) => {
    if (isStuck) say(why ? `Not saved yet: ${why}` : "Not saved yet: the server does not answer; trying again", true);
    else if (count) say("Saving…");
  },
  saved: (answer, reply) => {
    sent.delete(answer.id);
    say("Saved");
    page.state.progress = reply.progress;
    drawProgress(reply.progress);
    if (reply.progress.done === reply.progress.total) refresh();
  },
  refused: (answer, reply) => {
    say("Not saved", true);
    const back = async () => {
      await refresh();
      const place = items().findIndex(({ sample }) => sample === answer.sample);
      if (place >= 0) show(place);
    };
    const replace = () => outbox.push({ ...answer, id: crypto.randomUUID(), replace: true });
    if (reply.kind === "other") warn(reply.error, ["Replace it", replace], ["Keep theirs", back]);
    else if (reply.kind === "stale") warn(reply.error, ["Load again", () => location.reload()]);
    else {
      if (sent.has(answer.id)) drafts.put(answer.sample, sent.get(answer.id));
      warn(reply.error, ["Back to the image", back]);
    }
  },
};

// -- how the query stands ---------------------------------------------------------------------------------------------

async function refresh() {
  let state;
  try {
    state = await getJson("/api/state");
  } catch (error) {
    if (error instanceof Closed) warn(error.message);
    else say("The server does not answer", true);
    return;
  }
  if (outbox && !outbox.isEmpty) return;
  const isNew = page.state?.progress.round !== state.progress.round || page.state.phase !== state.phase || items().length !== state.items.length;
  page.state = state;
  drafts.keep(page);
  drafts.begin(state);
  $("name").textContent = `${state.name}, round ${state.progress.round}`;
  drawPause(state, async () => { await post("/api/train", {}); refresh(); });
  drawProgress(state.progress);
  if (state.phase !== "open") page.at = -1;
  else if (isNew || page.at < 0) {
    page.given = [];
    show(nextOpen() ?? 0);
  } else render();
}

async function begin() {
  await refresh();
  if (!page.state) return;
  outbox = new Outbox(page.state.run, page.state.reader ?? "", told);
  if (!reader()) $("who").showModal();
  setInterval(refresh, 2500);
}

// -- hands ------------------------------------------------------------------------------------------------------------

const acts = {
  choose, save, skip, undo, hold, show: (step) => show(page.at + step), turn: (step) => turn(Number($("slice").value) + step),
  zoom: (factor) => viewer.zoom(factor), fit: () => viewer.fit(),
};
addEventListener("keydown", (event) => page.state?.phase === "open" && page.at >= 0 && keysOf(event, page, acts));

const on = (id, act) => $(id).addEventListener("click", act);
const plain = { save, undo, fit: acts.fit, help: showKeys, before: () => acts.show(-1), after: () => acts.show(1) };
Object.entries(plain).forEach(([id, act]) => on(id, act));
on("zoom-in", () => viewer.zoom(1.4));
on("zoom-out", () => viewer.zoom(1 / 1.4));
on("auto", () => { viewer.setWindow(...page.about.window); drawWindow(viewer, page.about); });
on("back", () => page.layer.undo());
on("forth", () => page.layer.redo());
const discard = (isDiscarded) => page.proposals && Object.assign(page.proposals, { isDiscarded });
on("blank", () => { page.layer.clear(); discard(true); });
on("propose", () => { page.layer.set(page.proposal); discard(false); });
on("doubt", async () => {
  const { index } = item();
  page.doubts = !page.doubts;
  const doubt = page.doubts ? await doubtOf(index) : null;
  if (index !== item().index) return;
  viewer.doubt = page.doubt = doubt;
  if (page.doubts && !doubt) say("no model says where it is unsure");
  viewer.draw();
  render();
});
on("segment", () => hold({ segments: !page.layer.segments }));
on("unknown", () => hold({ value: UNKNOWN, tool: page.layer.tool === "eraser" ? "brush" : page.layer.tool }));
on("reader", () => page.state.reader ?? $("who").showModal());
on("theme", () => {
  const root = document.documentElement;
  const isDark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  localStorage.setItem("theme", (root.dataset.theme = isDark ? "light" : "dark"));
});
for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => hold({ tool: button.dataset.tool });
for (const button of document.querySelectorAll("[data-reason]")) button.onclick = () => skip(button.dataset.reason);
for (const id of ["level", "width"]) $(id).addEventListener("input", setWindow);
$("slice").addEventListener("input", () => turn(Number($("slice").value)));
$("size").addEventListener("input", () => hold({ size: Number($("size").value) }));
$("opacity").addEventListener("input", () => { page.layer.opacity = Number($("opacity").value); viewer.draw(); });
$("who").addEventListener("close", () => {
  const name = $("who-name").value.trim();
  if (name) localStorage.setItem("reader", name);
  if (page.at >= 0) render();
});
addEventListener("pagehide", () => drafts.keep(page));
document.addEventListener("visibilitychange", () => {
  drafts.keep(page);
  if (!clock) return;
  if (document.hidden) clock.seconds += (performance.now() - clock.since) / 1000;
  clock.since = performance.now();
});

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
begin();
