"use strict";
// The map of the embedding, on a canvas: thousands of points, coloured by what the menu says.

const canvas = document.getElementById("map-canvas");

function css(name) {
  return getComputedStyle(root).getPropertyValue(name).trim();
}

function shade(share) {
  const [from, to] = ["--c1", "--c2"].map((name) => [1, 3, 5].map((i) => parseInt(css(name).slice(i, i + 2), 16)));
  return `rgb(${from.map((v, i) => Math.round(v + share * (to[i] - v))).join(",")})`;
}

function drawMap(map) {
  const by = document.getElementById("map-color").value, width = canvas.clientWidth, ratio = devicePixelRatio || 1;
  const spread = Math.max(...map.y, 1) / Math.max(...map.x, 1);
  const height = Math.min(560, Math.max(220, spread * width));
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d"), edge = 12;
  pen.scale(ratio, ratio);
  const zoom = Math.min((width - 2 * edge) / Math.max(...map.x, 1), (height - 2 * edge) / Math.max(...map.y, 1));
  const left = (width - zoom * Math.max(...map.x)) / 2;
  map.places = map.x.map((x, k) => [left + zoom * x, edge + zoom * map.y[k]]);
  const category = css("--neutral"), palette = [1, 2, 3, 4, 5, 6, 7, 8].map((k) => css(`--c${k}`));
  const scalar = map.values[by];
  const color = (k) => {
    if (scalar) return scalar[k] < 0 ? category : shade(scalar[k] / 100);
    if (k < map.unlabeled) return category;
    const pick = k - map.unlabeled;
    if (by === "round") return shade(map.last ? map.round[pick] / map.last : 1);
    return map.label[pick] < 0 ? css("--ink") : palette[map.label[pick] % 8];
  };
  map.places.forEach(([x, y], k) => {
    const pick = k - map.unlabeled, isPick = pick >= 0;
    pen.globalAlpha = isPick ? 1 : scalar ? 0.7 : 0.4;
    pen.fillStyle = color(k);
    pen.beginPath();
    pen.arc(x, y, isPick ? 5 : 2.5, 0, 7);
    pen.fill();
    if (!isPick) return;
    pen.lineWidth = map.round[pick] === map.last ? 2 : 1;
    pen.strokeStyle = map.round[pick] === map.last ? css("--ink") : css("--card");
    pen.stroke();
  });
  mapLegend(map, by, scalar, palette, category);
}

function mapLegend(map, by, scalar, palette, category) {
  const entries = [];
  if (scalar) entries.push([shade(0), "0"], [shade(0.5), "0.5"], [shade(1), "1"]);
  else if (by === "round") entries.push([shade(0), "round 0"], ...(map.last ? [[shade(1), `round ${map.last}`]] : []));
  else map.labels.forEach((name, k) => { if (map.label.includes(k)) entries.push([palette[k % 8], name]); });
  if (!scalar) entries.push([category, "not asked"]);
  document.getElementById("map-legend").replaceChildren(...entries.map(([color, name]) => {
    const entry = make("span"), dot = element("svg", { width: 12, height: 12, "aria-hidden": "true" });
    element("circle", { cx: 6, cy: 6, r: 5, style: `fill:${color}` }, dot);
    entry.append(dot, name);
    return entry;
  }));
}

function mapWords(map, k) {
  const pick = k - map.unlabeled, values = Object.entries(map.values).filter(([, v]) => v[k] >= 0);
  const measured = values.map(([name, v]) => `${name} ${(v[k] / 100).toFixed(2)}`);
  if (pick < 0) return ["not asked", ...measured];
  return [map.ids[pick], `round ${map.round[pick]}: ${map.labels[map.label[pick]] ?? "no answer yet"}`, ...measured];
}

if (canvas) {
  const map = JSON.parse(document.getElementById("map-data").textContent);
  const redraw = () => { if (canvas.clientWidth) drawMap(map); };
  new ResizeObserver(redraw).observe(canvas.parentElement);
  document.getElementById("map-color").addEventListener("change", redraw);
  document.addEventListener("themechange", redraw);
  canvas.addEventListener("pointermove", (event) => {
    const frame = canvas.getBoundingClientRect();
    const far = ([x, y]) => Math.hypot(x - (event.clientX - frame.left), y - (event.clientY - frame.top));
    let best = -1;
    map.places.forEach((place, k) => { if (best < 0 || far(place) <= far(map.places[best])) best = k; });
    if (best >= 0 && far(map.places[best]) < 12) showTip(mapWords(map, best), event.clientX, event.clientY);
    else hideTip();
  });
  canvas.addEventListener("pointerleave", hideTip);
}
