// Drawings from the server and to it.

import { BoxLayer, MaskLayer, UNKNOWN } from "./draw.js";
import { Proposals } from "./segment.js";
import { getJson } from "./api.js";
import { pixelsOf } from "./viewer.js";

// A layer with what was drawn about an item before, or the model's proposal (page.proposal), or nothing.
export async function beginDrawing(page, { index, answer }, viewer, tell) {
  const { kind, classes } = page.state;
  const changed = () => viewer.draw();
  let layer;
  if (kind === "box") {
    layer = new BoxLayer(viewer.width, viewer.height, classes, changed);
    const rows = answer?.file ? await getJson(`/drawn/${index}`) : [];
    layer.boxes = rows.map(({ class: name, ...edges }) => ({ name, ...edges }));
  } else {
    layer = new MaskLayer(viewer.width, viewer.height, kind === "mask" ? 0 : UNKNOWN, changed);
    if (kind === "mask") page.proposal = await labelsOf(`/proposal/${index}.png`);
    const labels = answer?.file ? await labelsOf(`/drawn/${index}`) : page.proposal;
    if (labels) layer.set(labels, { isStep: false });
    const proposals = new Proposals(index, layer, { isModel: Boolean(page.proposal && !answer?.file), tell });
    page.proposals = proposals;
    if (page.state.segments) layer.proposes = (prompt) => proposals.ask(prompt);
    if (page.about.asked) layer.asked = await shade(`/asked/${index}.png`);
  }
  page.layer = Object.assign(layer, { opacity: Number(document.getElementById("opacity").value), segments: true, ...page.hand });
  return layer;
}

export const maskOf = ({ width, height, labels }) => ({ width, height, pixels: base64(labels) });

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}

async function labelsOf(url) {
  const pixels = await pixelsOf(url);
  return pixels && Uint8Array.from({ length: pixels.width * pixels.height }, (_, i) => pixels.data[4 * i]);
}

// Colour over the less sure half of the pixels, the stronger the less sure; null without a model.
export async function doubtOf(index) {
  const pixels = await pixelsOf(`/doubt/${index}.png`);
  if (!pixels) return null;
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  const doubts = Float32Array.from({ length: pixels.width * pixels.height }, (_, i) => pixels.data[4 * i]);
  const sorted = doubts.slice().sort();
  const [low, high] = [sorted[doubts.length >> 1], sorted[doubts.length - 1]];
  doubts.forEach((doubt, i) => pixels.data.set([255, 120, 0, Math.max(0, (200 * (doubt - low)) / (high - low || 1))], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// Darkness over what is not asked about, which the file has black.
async function shade(url) {
  const pixels = await pixelsOf(url);
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  for (let o = 0; o < pixels.data.length; o += 4) {
    pixels.data[o + 3] = pixels.data[o] ? 0 : 150;
    pixels.data[o] = pixels.data[o + 1] = pixels.data[o + 2] = 0;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}
