// Masks from boxes and points: the server's segmenter is asked, and what it proposed for an image is kept until it is saved.

import { fromRuns, runsOf } from "./drafts.js";
import { pixelsOf } from "./viewer.js";

export class Proposals {
  // start: the labels that the image began with, the model's where `isModel`; tell(text, isBad)
  constructor(index, layer, { isModel, tell }) {
    Object.assign(this, { index, layer, isModel, tell, start: layer.labels.slice(), given: [], prompts: 0, isDiscarded: false });
    this.last = Promise.resolve();
  }

  // One after the other: {box: [left, top, right, bottom]} begins a structure, {point: [x, y]} corrects the last or begins one.
  ask(prompt) {
    const { value } = this.layer;
    this.last = this.last.then(() => this.#ask(prompt, value)).catch((error) => this.tell(error.message, true));
    return this.last;
  }

  async #ask({ box = null, point }, value) {
    const { layer } = this;
    const isMore = point && this.current?.edits === layer.edits;
    const { box: before, points } = isMore ? this.current : { box, points: [] };
    const [x, y] = point ?? [];
    const isInside = !(isMore && this.current.has.has(Math.floor(y) * layer.width + Math.floor(x)));
    const all = point ? [...points, [x, y, isInside]] : points;
    this.prompts++;
    this.tell("Proposing…");
    const { data } = await pixelsOf(`/api/segment/${this.index}`, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ box: before, points: all }),
    });
    const pixels = Uint32Array.from({ length: layer.labels.length }, (_, i) => i).filter((i) => data[4 * i]);
    if (!pixels.length) return this.tell("No structure was found there", true);
    const isStill = isMore && this.current.edits === layer.edits;
    const from = isStill ? this.current.from : layer.labels.slice();
    layer.put(pixels, value, isStill ? from : null);
    if (isStill) this.given.pop();
    this.given.push({ pixels, value });
    this.current = { box: before, points: all, from, edits: layer.edits, has: new Set(pixels) };
    this.tell("Proposed: save it, change it, or undo it");
  }

  // What was proposed so far, for a drawing that somebody goes on with later.
  get draft() {
    const { prompts, isDiscarded, given } = this;
    return { prompts, isDiscarded, given: given.map(({ pixels, value }) => ({ value, runs: this.#runs(pixels) })) };
  }

  set draft({ prompts, isDiscarded, given }) {
    Object.assign(this, { prompts, isDiscarded, given: given.map(({ value, runs }) => ({ value, pixels: this.#pixels(runs) })) });
  }

  #runs(pixels) {
    const labels = new Uint8Array(this.layer.labels.length);
    for (const i of pixels) labels[i] = 1;
    return runsOf(labels);
  }

  #pixels(runs) {
    const labels = fromRuns(runs, this.layer.labels.length);
    return Uint32Array.from(labels.keys()).filter((i) => labels[i]);
  }

  // What became of all that was proposed, as an answer says it; a structure is refused where less than half of it stands.
  result(maskOf) {
    const { layer, given } = this;
    if (!this.isModel && !given.length) return {};
    const kept = given.filter(({ pixels, value }) => 2 * pixels.filter((i) => layer.labels[i] === value).length >= pixels.length);
    const began = this.isDiscarded ? new Uint8Array(layer.labels.length).fill(layer.empty) : this.start;
    const stands = composed(began, kept);
    const isGone = !kept.length && (this.isDiscarded || !this.isModel);
    const proposal = isGone ? "discarded" : layer.labels.every((label, i) => label === stands[i]) ? "accepted" : "edited";
    return {
      proposal,
      proposer: !given.length ? "model" : this.isModel ? "both" : "segmenter",
      prompts: this.prompts,
      refused: given.length - kept.length,
      proposed: proposal === "accepted" ? null : maskOf({ ...sizeOf(layer), labels: composed(this.start, given) }),
    };
  }
}

const sizeOf = ({ width, height }) => ({ width, height });

function composed(labels, given) {
  const out = labels.slice();
  for (const { pixels, value } of given) for (const i of pixels) out[i] = value;
  return out;
}
