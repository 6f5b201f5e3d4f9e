"use strict";
// Draws the figures as SVG: each is JSON in a script element, in a few of the words of plotly.js (`figures.py`).
// Colours are names of the style sheet, so that a figure follows the theme; text goes in as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = { dot: "2 4", dash: "8 5", dashdot: "8 4 2 4", longdash: "14 5", longdashdot: "14 4 2 4" };
const SHAPES = {
  circle: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
  square: (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  diamond: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0z`,
  "triangle-up": (r) => `M0 ${-1.2 * r}L${1.2 * r} ${r}L${-1.2 * r} ${r}z`,
  cross: (r) => `M${-r / 3} ${-r}h${r / 1.5}v${r / 1.5}h${r / 1.5}v${r / 1.5}h${-r / 1.5}v${r / 1.5}h${-r / 1.5}v${-r / 1.5}h${-r / 1.5}v${-r / 1.5}h${r / 1.5}z`,
  x: (r) => `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`,
  star: (r) => "M" + [...Array(10).keys()].map((k) => {
    const far = k % 2 ? 0.5 * r : 1.3 * r;
    return `${(far * Math.sin(k * Math.PI / 5)).toFixed(2)} ${(-far * Math.cos(k * Math.PI / 5)).toFixed(2)}`;
  }).join("L") + "z",
  hexagon: (r) => "M" + [0, 1, 2, 3, 4, 5].map((k) =>
    `${(r * Math.cos(k * Math.PI / 3)).toFixed(2)} ${(r * Math.sin(k * Math.PI / 3)).toFixed(2)}`).join("L") + "z",
};

function paint(value) {
  const [name, strength] = (value || "--neutral").split("/");
  return { color: name.startsWith("--") ? `var(${name})` : name, opacity: strength || 1 };
}

function element(name, attributes, parent, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function ticks(low, high, most, least = 0) {
  const raw = Math.max(least, (high - low) / Math.max(1, most));
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((m) => m * power >= raw * 0.999) || 10);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const values = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) values.push(k * step);
  return { values, words: values.map((v) => Math.abs(v) >= 1e5 ? v.toExponential(0) : v.toFixed(places)) };
}

// -- scales: numbers, or words in the order in which they come

function domain(traces, key, axis) {
  const all = traces.flatMap((trace) => trace[key] || []);
  const words = all.find((v) => v !== null);
  if (typeof words === "string") return { words: [...new Set(all)] };
  if (axis.range) return { low: axis.range[0], high: axis.range[1] };
  if (key === "y") {
    traces.forEach((trace) => ["lowerfence", "upperfence"].forEach((name) => all.push(...(trace[name] || []))));
    if (traces.some((trace) => trace.type === "bar")) all.push(0, ...stackHeights(traces));
  } else {
    traces.forEach((trace) => {
      const bar = trace.error_x || {};
      (bar.array || []).forEach((d, k) => all.push(trace.x[k] + d, trace.x[k] - bar.arrayminus[k]));
    });
  }
  const numbers = all.filter((v) => Number.isFinite(v));
  let [low, high] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1];
  if (low === high) [low, high] = [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
  const pad = 0.05 * (high - low);
  const flat = traces.some((trace) => trace.type === "bar") && key === "y";
  return { low: flat ? low : low - pad, high: high + pad };
}

function stackHeights(traces) {
  const sums = new Map();
  for (const trace of traces) {
    if (trace.type === "bar") trace.x.forEach((x, k) => sums.set(x, (sums.get(x) || 0) + trace.y[k]));
  }
  return [...sums.values()];
}

function scale(span, from, to) {
  if (!span.words) return (v) => from + (v - span.low) / (span.high - span.low) * (to - from);
  const step = (to - from) / span.words.length;
  const at = (v) => from + (span.words.indexOf(v) + 0.5) * step;
  at.band = Math.abs(step);
  return at;
}

// -- one figure

function drawFigure(plot) {
  const spec = plot.spec, width = Math.max(240, plot.clientWidth), height = spec.layout.height;
  const menu = document.getElementById(plot.dataset.menu);
  const choice = spec.choices[menu ? menu.selectedIndex : 0];
  const named = spec.data.filter((trace) => !trace.meta || trace.meta === choice.name);
  const traces = named.filter((trace) => !plot.hidden_.has(groupOf(trace)));
  const xAxis = spec.layout.xaxis || {}, yAxis = spec.layout.yaxis || {};
  const spanX = domain(traces, "x", xAxis), spanY = domain(traces, "y", yAxis);
  const yTicks = spanY.words ? { values: spanY.words, words: spanY.words } : ticks(spanY.low, spanY.high, height / 60);
  const longest = Math.max(0, ...yTicks.words.map((word) => word.length));
  const left = Math.min(0.42 * width, 14 + 7.2 * longest) + (choice.y ? 20 : 0);
  const box = { left, right: width - 14, top: 10, bottom: height - (choice.x ? 46 : 28) };
  const x = scale(spanX, box.left, box.right), y = scale(spanY, box.bottom, box.top);
  const counted = traces.every((trace) => (trace.x || []).every(Number.isInteger));
  const xTicks = spanX.words ? { values: spanX.words, words: spanX.words }
    : ticks(spanX.low, spanX.high, (box.right - box.left) / 80, counted ? 1 : 0);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, width: "100%", "aria-hidden": "true" });
  axes(svg, box, x, y, xTicks, yTicks, choice, spec.layout, spanX, spanY);
  const marks = [];
  const layers = { box, x, y, svg, marks, stacks: new Map(), boxes: traces.filter((trace) => trace.type === "box") };
  traces.forEach((trace) => (({ bar: drawBar, box: drawBox })[trace.type] || drawLine)(trace, layers));
  plot.replaceChildren(svg);
  plot.marks = marks;
  legend(plot, named, spec.layout.showlegend);
}

const groupOf = (trace) => trace.legendgroup || trace.name || "";

function axes(svg, box, x, y, xTicks, yTicks, choice, layout, spanX, spanY) {
  const line = (x1, y1, x2, y2, name) => element("line", { x1, y1, x2, y2, class: name }, svg);
  const fits = (text, room) => text.length * 7 <= room ? text : text.slice(0, Math.max(2, room / 7 - 1)) + "…";
  yTicks.values.forEach((value, k) => {
    if ((layout.yaxis || {}).showgrid !== false) line(box.left, y(value), box.right, y(value), "grid");
    element("text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, svg, fits(yTicks.words[k], box.left - 8));
  });
  const thin = spanX.words ? Math.ceil(xTicks.values.length * 44 / (box.right - box.left)) : 1;
  xTicks.values.forEach((value, k) => {
    if (!spanX.words) line(x(value), box.top, x(value), box.bottom, "grid");
    const word = spanX.words ? fits(xTicks.words[k], thin * x.band) : xTicks.words[k];
    if (k % thin === 0) element("text", { x: x(value), y: box.bottom + 18, "text-anchor": "middle" }, svg, word);
  });
  const zero = (axis, span) => axis && axis.zeroline && !span.words && span.low < 0 && span.high > 0;
  if (zero(layout.yaxis, spanY)) line(box.left, y(0), box.right, y(0), "zero");
  if (zero(layout.xaxis, spanX)) line(x(0), box.top, x(0), box.bottom, "zero");
  element("text", { x: (box.left + box.right) / 2, y: box.bottom + 40, "text-anchor": "middle" }, svg, choice.x);
  const middle = (box.top + box.bottom) / 2;
  element("text", { transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" }, svg, choice.y);
}

function drawLine(trace, { x, y, svg, marks }) {
  const places = trace.x.map((v, k) => [x(v), trace.y[k] === null ? NaN : y(trace.y[k])]);
  const whole = places.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b));
  const path = "M" + whole.map((place) => place.map((v) => v.toFixed(1)).join(" ")).join("L");
  if (!whole.length) return;
  if (trace.fill) {
    const { color, opacity } = paint(trace.fillcolor);
    element("path", { d: path + "z", style: `fill:${color}`, "fill-opacity": opacity }, svg);
    return;
  }
  const line = trace.line || {}, marker = trace.marker || {};
  if (trace.mode.includes("lines")) {
    const dash = DASHES[line.dash] || (line.dash || "").replaceAll("px", "").replaceAll(",", " ").replace("solid", "");
    element("path", {
      d: path, fill: "none", style: `stroke:${paint(line.color).color}`, "stroke-width": line.width || 2,
      "stroke-dasharray": dash, "stroke-linejoin": "round",
    }, svg);
  }
  if (trace.error_x && trace.error_x.visible) {
    trace.error_x.array.forEach((up, k) => {
      const at = places[k][1], ends = [x(trace.x[k] - trace.error_x.arrayminus[k]), x(trace.x[k] + up)];
      const d = `M${ends[0]} ${at - 4}v8m0 -4H${ends[1]}m0 -4v8`;
      element("path", { d, fill: "none", style: `stroke:${paint(trace.error_x.color).color}`, "stroke-width": 2 }, svg);
    });
  }
  places.forEach(([a, b], k) => {
    if (!Number.isFinite(a) || !Number.isFinite(b)) return;
    if (trace.mode.includes("markers")) mark(svg, a, b, { color: line.color, ...marker });
    if (trace.hoverinfo !== "skip") marks.push({ a, b, words: hoverWords(trace, k) });
  });
}

function mark(svg, a, b, marker) {
  const symbol = marker.symbol || "circle", open = symbol.endsWith("-open"), { color } = paint(marker.color);
  element("path", {
    d: SHAPES[symbol.replace("-open", "")]((marker.size || 6) / 2), transform: `translate(${a.toFixed(1)} ${b.toFixed(1)})`,
    style: `fill:${open ? "var(--card)" : color};stroke:${symbol === "x" || open ? color : "none"}`,
    "stroke-width": 2, opacity: marker.opacity || 1,
  }, svg);
}

function drawBar(trace, { x, y, svg, marks, stacks }) {
  const wide = (x.band || 30) * 0.6, { color } = paint(trace.marker.color);
  trace.x.forEach((value, k) => {
    const below = stacks.get(value) || 0, top = below + trace.y[k];
    stacks.set(value, top);
    if (!trace.y[k]) return;
    element("rect", {
      x: x(value) - wide / 2, width: wide, y: y(top), height: Math.max(1, y(below) - y(top)),
      style: `fill:${color};stroke:var(--card)`, "fill-opacity": trace.marker.pattern ? 0.5 : 1,
    }, svg);
    marks.push({ a: x(value), b: (y(below) + y(top)) / 2, words: hoverWords(trace, k) });
  });
}

function drawBox(trace, { x, y, svg, boxes }) {
  const wide = Math.min(70, 0.8 * x.band / boxes.length), place = boxes.indexOf(trace) - (boxes.length - 1) / 2;
  const stroke = `stroke:${paint(trace.line.color).color}`, fill = paint(trace.fillcolor);
  trace.x.forEach((value, k) => {
    const middle = x(value) + place * wide * 1.1, half = wide / 2 - 3;
    const [low, q1, median, q3, high] = ["lowerfence", "q1", "median", "q3", "upperfence"].map((name) => y(trace[name][k]));
    element("path", {
      d: `M${middle} ${low}V${q1}M${middle} ${q3}V${high}M${middle - half / 2} ${low}h${half}M${middle - half / 2} ${high}h${half}`,
      style: stroke, "stroke-width": 1.6,
    }, svg);
    element("rect", {
      x: middle - half, width: 2 * half, y: q3, height: Math.max(1, q1 - q3),
      style: `${stroke};fill:${fill.color}`, "fill-opacity": fill.opacity, "stroke-width": 1.6,
    }, svg);
    element("path", { d: `M${middle - half} ${median}h${2 * half}`, style: stroke, "stroke-width": 2.5 }, svg);
  });
}

// -- legend and hover

function legend(plot, traces, wanted) {
  const names = [...new Map(traces.filter((t) => t.name && t.showlegend !== false).map((t) => [groupOf(t), t])).values()];
  const list = plot.previousElementSibling;
  list.hidden = !names.length || (wanted === undefined ? names.length < 2 : !wanted);
  list.replaceChildren(...names.map((trace) => {
    const button = document.createElement("button");
    const look = trace.line || trace.marker || {}, swatch = element("svg", { width: 30, height: 12, "aria-hidden": "true" });
    drawLine(
      { x: [2, 28], y: [6, 6], mode: "lines", line: { ...look, color: look.color || (trace.marker || {}).color, width: trace.mode ? 3 : 9 } },
      { x: (v) => v, y: (v) => v, svg: swatch, marks: [] },
    );
    button.type = "button";
    button.setAttribute("aria-pressed", String(!plot.hidden_.has(groupOf(trace))));
    button.append(swatch, trace.name);
    button.addEventListener("click", () => {
      if (!plot.hidden_.delete(groupOf(trace))) plot.hidden_.add(groupOf(trace));
      drawFigure(plot);
      [...list.children].find((other) => other.textContent === trace.name).focus();
    });
    return button;
  }));
}

function hoverWords(trace, k) {
  const values = { x: trace.x[k], y: trace.y[k], customdata: (trace.customdata || [])[k], text: (trace.text || [])[k] };
  const words = (trace.hovertemplate || "%{x}: %{y}").replace(/%\{(\w+)(?::\.(\d)([fg]))?\}/g, (_, name, places, form) => {
    const value = values[name];
    if (!places || typeof value !== "number") return value;
    return form === "f" ? value.toFixed(places) : String(Number(value.toPrecision(places)));
  });
  return words.replace("<extra></extra>", "").replace(/<extra>(.*)<\/extra>/, ", $1").split("<br>");
}

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function hideTip() {
  tip.hidden = true;
}

function showTip(lines, left, top) {
  tip.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
  tip.hidden = false;
  tip.style.left = `${Math.max(4, Math.min(left + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, top - tip.offsetHeight - 10)}px`;
}

function hover(event) {
  const plot = event.currentTarget, frame = plot.getBoundingClientRect();
  const far = (m) => Math.hypot(m.a - (event.clientX - frame.left), m.b - (event.clientY - frame.top));
  const nearest = (plot.marks || []).reduce((best, m) => (!best || far(m) < far(best) ? m : best), null);
  if (nearest && far(nearest) < 30) showTip(nearest.words, event.clientX, event.clientY);
  else hideTip();
}

const plots = [...document.querySelectorAll("[data-spec]")];
const watcher = new ResizeObserver((entries) => entries.forEach(({ target, contentRect }) => {
  if (contentRect.width && contentRect.width !== target.width_) {
    target.width_ = contentRect.width;
    drawFigure(target);
  }
}));
for (const plot of plots) {
  plot.spec = JSON.parse(document.getElementById(plot.dataset.spec).textContent);
  plot.hidden_ = new Set();
  plot.addEventListener("pointermove", hover);
  plot.addEventListener("pointerleave", hideTip);
  watcher.observe(plot);
}
document.addEventListener("change", (event) => {
  plots.filter((plot) => plot.dataset.menu === event.target.id).forEach(drawFigure);
});
