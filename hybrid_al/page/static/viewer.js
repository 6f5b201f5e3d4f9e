// One image on a canvas: window and level, zoom and pan. Something else may draw on it and take the pointer.

const FULL = 65535;

export class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.image = null; // canvas of the windowed image
    this.levels = null; // of a deep image, one a pixel; else null
    this.source = null; // ImageData of one that is not
    this.window = [0, 1];
    this.scale = 1;
    this.left = this.top = 0;
    this.layer = null; // draws(pen) in pixels of the image, and takes the pointer: down, move, up
    this.onSlice = null; // told of the wheel where the image is a slice
    this.pointers = new Map();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  async load(url, about, { keepView = false } = {}) {
    const pixels = await pixelsOf(url);
    const isOfOtherSize = pixels.width !== this.width || pixels.height !== this.height;
    this.levels = about.deep ? deepLevels(pixels.data) : null;
    this.source = pixels;
    this.image = new OffscreenCanvas(pixels.width, pixels.height);
    if (!keepView) this.window = [...about.window];
    if (!keepView || isOfOtherSize) this.fit();
    this.setWindow(...this.window);
  }

  get width() { return this.source?.width ?? 1; }
  get height() { return this.source?.height ?? 1; }

  setWindow(low, high) {
    this.window = [low, high];
    const { width, height, data } = this.source;
    const out = new ImageData(width, height);
    const grey = (level) => 255 * Math.min(1, Math.max(0, (level - low) / (high - low || 1e-6)));
    if (this.levels) {
      const table = Uint8ClampedArray.from({ length: FULL + 1 }, (_, k) => grey(k / FULL));
      for (let i = 0, o = 0; i < this.levels.length; i++, o += 4) {
        out.data[o] = out.data[o + 1] = out.data[o + 2] = table[this.levels[i]];
        out.data[o + 3] = 255;
      }
    } else {
      const table = Uint8ClampedArray.from({ length: 256 }, (_, k) => grey(k / 255));
      for (let o = 0; o < data.length; o += 4) {
        for (let c = 0; c < 3; c++) out.data[o + c] = table[data[o + c]];
        out.data[o + 3] = 255;
      }
    }
    this.image.getContext("2d").putImageData(out, 0, 0);
    this.draw();
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = Math.min(clientWidth / this.width, clientHeight / this.height) || 1;
    this.left = (clientWidth - this.scale * this.width) / 2;
    this.top = (clientHeight - this.scale * this.height) / 2;
    this.draw();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const fitted = Math.min(this.canvas.clientWidth / this.width, this.canvas.clientHeight / this.height);
    const scale = Math.min(64, Math.max(fitted / 2, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  draw() {
    if (!this.image) return;
    const { pen, canvas } = this;
    const ratio = devicePixelRatio;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.left, ratio * this.top);
    pen.imageSmoothingEnabled = this.scale < 3 || !this.layer; // who draws sees the pixels
    pen.drawImage(this.image, 0, 0);
    if (this.doubt) pen.drawImage(this.doubt, 0, 0);
    pen.imageSmoothingEnabled = false;
    this.layer?.draw(pen, this.scale);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left - this.left) / this.scale, (event.clientY - box.top - this.top) / this.scale];
  }

  #resize() {
    const { canvas } = this;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    this.fit();
  }

  #wheel(event) {
    event.preventDefault();
    if (this.onSlice && !event.ctrlKey) {
      this.onSlice(Math.sign(event.deltaY));
      return;
    }
    const box = this.canvas.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }

  #down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.draws = this.pointers.size === 1 && event.button === 0 && !event.shiftKey && this.layer?.takes;
    if (this.draws) this.layer.down(...this.place(event), event);
    else this.layer?.cancel?.();
    this.draw();
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (before && !this.draws) this.#drag(event, before);
    else if (this.layer?.takes) this.layer.move(...this.place(event), Boolean(before));
    if (before) this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.draw();
  }

  #drag(event, before) {
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
      const box = this.canvas.getBoundingClientRect();
      this.zoom(apart([event.clientX, event.clientY]) / apart(before), other[0] - box.left, other[1] - box.top);
    } else {
      this.left += event.clientX - before[0];
      this.top += event.clientY - before[1];
    }
  }

  #up(event) {
    if (this.draws) this.layer.up(...this.place(event));
    this.draws = this.draws && this.pointers.size > 1;
    this.pointers.delete(event.pointerId);
    this.draw();
  }
}

// The pixels of a PNG as ImageData; null where the server has none.
export async function pixelsOf(url, request = {}) {
  const response = await fetch(url, request);
  if (response.status === 204) return null;
  if (!response.ok) throw new Error((await response.json()).error);
  const bitmap = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  return pen.getImageData(0, 0, bitmap.width, bitmap.height);
}

function deepLevels(data) {
  const levels = new Uint16Array(data.length / 4);
  for (let i = 0; i < levels.length; i++) levels[i] = (data[4 * i] << 8) | data[4 * i + 1];
  return levels;
}
