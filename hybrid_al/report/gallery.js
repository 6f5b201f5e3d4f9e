"use strict";
// The gallery of picks: filters, a page at a time, a pick in large; all of it by keyboard too.

const AT_ONCE = innerWidth < 600 ? 12 : 28;
const FACTS = [
  ["Round", "round"], ["Rank", "rank"], ["Answer", "class"], ["Reader", "reader"], ["Why", "why"], ["Score", "score"],
  ["The last model says", "said"], ["Before it was corrected", "before"], ["Seed", "seed"],
];
const picks = JSON.parse(document.getElementById("gallery-data").textContent);
const list = document.getElementById("gallery");

function make(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

function source(item) {
  return item.i === undefined ? null : `data:image/jpeg;base64,${picks.images[item.i]}`;
}

function wanted(item) {
  return [...document.querySelectorAll("[data-filter]")].every(({ dataset, value }) => {
    const own = String(item[dataset.filter] ?? "");
    if (!value || own === value) return true;
    return dataset.filter === "class" ? own.split(", ").includes(value) : dataset.filter === "mistake" && own.split(" ").includes(value);
  });
}

function card(item, place) {
  const entry = make("li"), button = make("button"), words = make("span", "words");
  button.type = "button";
  button.dataset.place = place;
  if (source(item)) {
    const image = make("img");
    image.src = source(item);
    image.alt = "";
    button.append(image);
  }
  words.append(make("span", "id", item.id), make("span", "chip", item.class));
  if (item.mistake) words.append(" ", make("span", "bad", item.mistake === "corrected" ? "corrected" : `model: ${item.said}`));
  if (item.why) words.append(make("span", "why", item.why));
  button.append(words);
  entry.append(button);
  return entry;
}

let chosen = [], shown = 0;

function showMore(count) {
  const next = chosen.slice(shown, shown + count);
  list.append(...next.map((item, k) => card(item, shown + k)));
  shown += next.length;
  document.getElementById("gallery-more").hidden = shown >= chosen.length;
  document.getElementById("gallery-count").textContent =
    `${chosen.length} of ${picks.items.length} picks${shown < chosen.length ? `, ${shown} shown` : ""}`;
}

function refill() {
  chosen = picks.items.filter(wanted);
  shown = 0;
  list.replaceChildren();
  showMore(AT_ONCE);
}

// -- one pick in large

const dialog = document.getElementById("pick-dialog");
let current = 0;

function open(place) {
  current = (place + chosen.length) % chosen.length;
  const item = chosen[current], image = document.getElementById("pick-image");
  document.getElementById("pick-title").textContent = item.id;
  image.hidden = !source(item);
  if (source(item)) image.src = source(item);
  image.alt = `Image of ${item.id}, ${item.class}`;
  document.getElementById("pick-facts").replaceChildren(...FACTS.filter(([, key]) => item[key] !== undefined)
    .flatMap(([name, key]) => [make("dt", "", name), make("dd", "", item[key])]));
  if (!dialog.open) dialog.showModal();
}

if (list) {
  document.querySelectorAll("[data-filter]").forEach((select) => select.addEventListener("change", refill));
  document.getElementById("gallery-more").addEventListener("click", () => {
    const first = shown;
    showMore(AT_ONCE);
    list.children[first].firstChild.focus();
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) open(Number(button.dataset.place));
  });
  list.addEventListener("keydown", (event) => {
    const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const target = step && list.children[Number(event.target.dataset.place) + step];
    if (target) {
      event.preventDefault();
      target.firstChild.focus();
    }
  });
  dialog.addEventListener("click", (event) => {
    const step = event.target.dataset.step;
    if (step === "0") dialog.close();
    else if (step) open(current + Number(step));
  });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) open(current + step);
  });
  dialog.addEventListener("close", () => list.children[current]?.firstChild.focus());
  refill();
}
