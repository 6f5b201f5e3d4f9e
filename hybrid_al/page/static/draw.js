// Drawing on an image: a label map by brush, eraser, polygon and box, or a list of boxes. Keys move a cross instead of
// the pointer. Coordinates are pixels of the image; a label map has class numbers, 255 where not known.

import { fromRuns, runsOf } from "./drafts.js";

export const UNKNOWN = 255;
export const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#f0e442", "#0072b2", "#999933", "#882255"];
const MOST_BYTES = 2 ** 26; // of steps that can be undone

class Layer {
  constructor(width, height, changed) {
    Object.assign(this, { width, height, changed, takes: true, value: 1, cursor: null, opacity: 0.45, isHidden: false });
    this.asked = null; // canvas that darkens what is not asked about
  }

  drawCursor(pen, scale) {
    if (!this.cursor) return;
    const [x, y] = this.cursor;
    pen.strokeStyle = "#fff";
    pen.lineWidth = 1 / scale;
    pen.setLineDash([3 / scale, 2 / scale]);
    pen.beginPath();
    if (this.tool === "brush" || this.tool === "eraser") pen.arc(x, y, this.size / 2, 0, 7);
    else {
      pen.moveTo(x - 8 / scale, y); pen.lineTo(x + 8 / scale, y);
      pen.moveTo(x, y - 8 / scale); pen.lineTo(x, y + 8 / scale);
    }
    pen.stroke();
    pen.setLineDash([]);
  }

  step(dx, dy) {
    const [x, y] = this.cursor ?? [this.width / 2, this.height / 2];
    this.cursor = [Math.min(this.width - 0.5, Math.max(0.5, x + dx)), Math.min(this.height - 0.5, Math.max(0.5, y + dy))];
    if (this.corner) this.end = this.cursor;
    this.changed();
  }

  // Space: what a press of the pointer is, and for a box its release too.
  press() {
    if (!this.cursor) this.step(0, 0);
    if (this.corner) this.up(...this.cursor);
    else {
      this.down(...this.cursor);
      if (this.tool !== "box") this.up(...this.cursor);
    }
    this.changed();
  }

  drawFrame(pen, scale, from, to, colour) {
    pen.strokeStyle = colour;
    pen.lineWidth = 2 / scale;
    pen.strokeRect(from[0], from[1], to[0] - from[0], to[1] - from[1]);
  }
}

export class MaskLayer extends Layer {
  // empty: the class of a blank map, 0 or UNKNOWN
  constructor(width, height, empty, changed) {
    super(width, height, changed);
    this.empty = empty;
    this.labels = new Uint8Array(width * height).fill(empty);
    this.tool = "brush";
    this.size = Math.max(1, Math.round(Math.min(width, height) / 24));
    this.past = [];
    this.future = [];
    this.edits = 0;
    this.proposes = null; // ({box} or {point}): draws what a segmenter finds there; else a box is filled
    this.polygon = [];
    this.overlay = new OffscreenCanvas(width, height);
    this.#paint();
  }

  get isBlank() { return this.labels.every((label) => label === this.empty); }

  set(labels, { isStep = true } = {}) {
    if (isStep) this.#remember();
    this.labels = labels.slice();
    this.#paint();
  }

  clear() { this.set(new Uint8Array(this.labels.length).fill(this.empty)); }

  get draft() { return runsOf(this.labels); }
  set draft(runs) { this.set(fromRuns(runs, this.labels.length)); }

  // Labels where a segmenter found a structure; `from`: the labels before its last proposal, which this one replaces.
  put(pixels, value, from) {
    if (from) this.labels = from.slice();
    else this.#remember();
    for (const i of pixels) this.labels[i] = value;
    this.#paint();
  }

  undo() { this.#swap(this.past, this.future); }
  redo() { this.#swap(this.future, this.past); }

  cancel() {
    this.polygon = [];
    this.corner = this.end = null;
    this.changed();
  }

  down(x, y) {
    this.cursor = [x, y];
    if (this.tool === "polygon") {
      const [first] = this.polygon;
      const isClosed = this.polygon.length > 2 && Math.hypot(first[0] - x, first[1] - y) < Math.max(2, this.width / 80);
      if (isClosed) this.close();
      else this.polygon.push([x, y]);
    } else if (this.tool === "point") {
      if (x >= 0 && y >= 0 && x < this.width && y < this.height) this.proposes?.({ point: [x, y] });
    } else if (this.tool === "box") this.corner = this.end = [x, y];
    else {
      this.#remember();
      this.last = [x, y];
      this.#stroke(x, y);
    }
  }

  move(x, y, isDown) {
    this.cursor = [x, y];
    if (!isDown) return;
    if (this.tool === "box") this.end = [x, y];
    else if (this.tool === "brush" || this.tool === "eraser") this.#stroke(x, y);
  }

  up(x, y) {
    if (this.tool !== "box" || !this.corner) return;
    const [[x0, x1], [y0, y1]] = [[this.corner[0], x], [this.corner[1], y]].map((pair) => pair.map(Math.round).sort((a, b) => a - b));
    this.corner = this.end = null;
    const [left, top, right, bottom] = [Math.max(x0, 0), Math.max(y0, 0), Math.min(x1, this.width), Math.min(y1, this.height)];
    if (right <= left || bottom <= top) return;
    if (this.proposes && this.segments) this.proposes({ box: [left, top, right, bottom] });
    else this.#fill((pen) => pen.rect(x0, y0, x1 - x0, y1 - y0));
  }

  close() {
    const corners = this.polygon;
    this.polygon = [];
    if (corners.length > 2) this.#fill((pen) => corners.forEach(([x, y]) => pen.lineTo(x, y)));
  }

  draw(pen, scale) {
    if (this.asked) pen.drawImage(this.asked, 0, 0);
    if (!this.isHidden) {
      pen.globalAlpha = this.opacity;
      pen.drawImage(this.overlay, 0, 0);
      pen.globalAlpha = 1;
    }
    if (this.corner) this.drawFrame(pen, scale, this.corner, this.end, "#fff");
    if (this.polygon.length) {
      pen.strokeStyle = "#fff";
      pen.lineWidth = 2 / scale;
      pen.beginPath();
      for (const [x, y] of this.polygon) pen.lineTo(x, y);
      if (this.cursor) pen.lineTo(...this.cursor);
      pen.stroke();
      for (const [x, y] of this.polygon) pen.strokeRect(x - 2 / scale, y - 2 / scale, 4 / scale, 4 / scale);
    }
    this.drawCursor(pen, scale);
  }

  #remember() {
    this.edits++;
    this.past.push(this.labels.slice());
    if (this.past.length * this.labels.length > MOST_BYTES) this.past.shift();
    this.future = [];
  }

  #swap(from, to) {
    this.edits++;
    if (this.polygon.length) this.polygon.pop();
    else if (from.length) {
      to.push(this.labels);
      this.labels = from.pop();
      this.#paint();
    }
    this.changed();
  }

  get #ink() { return this.tool === "eraser" ? this.empty : this.value; }

  #stroke(x, y) {
    const [fromX, fromY] = this.last;
    const steps = Math.max(1, Math.ceil(Math.hypot(x - fromX, y - fromY)));
    for (let s = 0; s <= steps; s++) this.#stamp(fromX + ((x - fromX) * s) / steps, fromY + ((y - fromY) * s) / steps);
    this.last = [x, y];
    this.#paint();
  }

  // The pixels whose middle lies within the brush; the one under its middle at least.
  #stamp(x, y) {
    const radius = this.size / 2;
    const set = (column, row) => {
      if (column >= 0 && row >= 0 && column < this.width && row < this.height) this.labels[row * this.width + column] = this.#ink;
    };
    set(Math.floor(x), Math.floor(y));
    for (let row = Math.floor(y - radius); row <= y + radius; row++)
      for (let column = Math.floor(x - radius); column <= x + radius; column++)
        if ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius ** 2) set(column, row);
  }

  // The pixels of which a path covers the half.
  #fill(path) {
    this.#remember();
    const sheet = new OffscreenCanvas(this.width, this.height);
    const pen = sheet.getContext("2d");
    pen.beginPath();
    path(pen);
    pen.fill("evenodd");
    const { data } = pen.getImageData(0, 0, this.width, this.height);
    for (let i = 0; i < this.labels.length; i++) if (data[4 * i + 3] > 127) this.labels[i] = this.#ink;
    this.#paint();
  }

  #paint() {
    const colours = new Uint32Array(256);
    COLOURS.forEach((colour, k) => {
      for (let c = k + 1; c < 255; c += COLOURS.length) colours[c] = 0xff000000 | swapped(colour);
    });
    colours[0] = this.empty === 0 ? 0 : 0xff808080;
    colours[UNKNOWN] = this.empty === UNKNOWN ? 0 : 0xff808080;
    const out = new ImageData(this.width, this.height);
    const pixels = new Uint32Array(out.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[this.labels[i]];
    this.overlay.getContext("2d").putImageData(out, 0, 0);
    this.changed();
  }
}

export class BoxLayer extends Layer {
  constructor(width, height, names, changed) {
    super(width, height, changed);
    Object.assign(this, { names, boxes: [], gone: [], tool: "box" });
  }

  get isBlank() { return !this.boxes.length; }
  undo() { if (this.boxes.length) this.gone.push(this.boxes.pop()); this.changed(); }
  redo() { if (this.gone.length) this.boxes.push(this.gone.pop()); this.changed(); }
  clear() { this.boxes = []; this.changed(); }
  get draft() { return this.boxes; }
  set draft(boxes) { this.boxes = boxes; this.changed(); }
  cancel() { this.corner = this.end = null; }
  close() {}
  down(x, y) { this.cursor = this.corner = this.end = [x, y]; }
  move(x, y, isDown) { this.cursor = [x, y]; if (isDown) this.end = [x, y]; }

  up(x, y) {
    if (!this.corner) return;
    const clip = (value, most) => Math.min(most, Math.max(0, Math.round(value)));
    const [left, right] = [clip(this.corner[0], this.width), clip(x, this.width)].sort((a, b) => a - b);
    const [top, bottom] = [clip(this.corner[1], this.height), clip(y, this.height)].sort((a, b) => a - b);
    this.corner = this.end = null;
    if (right > left && bottom > top) this.boxes.push({ name: this.names[this.value], left, top, right, bottom });
    this.changed();
  }

  draw(pen, scale) {
    for (const box of this.isHidden ? [] : this.boxes) {
      const colour = COLOURS[(this.names.indexOf(box.name) - 1) % COLOURS.length];
      this.drawFrame(pen, scale, [box.left, box.top], [box.right, box.bottom], colour);
    }
    if (this.corner) this.drawFrame(pen, scale, this.corner, this.end, "#fff");
    this.drawCursor(pen, scale);
  }
}

// #rrggbb as the bytes of a pixel, read as a little-endian number.
function swapped(colour) {
  const value = parseInt(colour.slice(1), 16);
  return ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}
