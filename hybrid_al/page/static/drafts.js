// What is not saved yet, a drawing, a comment or chosen labels, is kept in the browser: another image, a closed tab or a
// crash takes none of it. Drafts of rounds that are over are dropped.

const comment = document.getElementById("comment");

export class Drafts {
  begin({ run, reader, progress: { round } }) {
    const own = ["draft", run, reader ?? "", ""].join("\n");
    if (this.key === `${own}${round}\n`) return;
    this.key = `${own}${round}\n`;
    this.open = null; // the sample that is on the screen; `before`: what was last kept of it, or began with
    for (const name of Object.keys(localStorage))
      if (name.startsWith(own) && !name.startsWith(this.key)) localStorage.removeItem(name);
  }

  // Shows what was kept of a sample that is on the screen now; whether there was anything.
  enter(page, sample) {
    this.open = sample;
    this.before = now(page);
    const text = localStorage.getItem(this.key + sample);
    if (!text || text === this.before) return false;
    const kept = JSON.parse(text);
    comment.value = kept.comment;
    page.chosen = new Set(kept.chosen);
    if (page.layer && kept.drawing) page.layer.draft = kept.drawing;
    if (page.proposals && kept.proposals) page.proposals.draft = kept.proposals;
    this.before = now(page);
    return true;
  }

  keep(page) {
    const text = this.open && now(page);
    if (!text || text === this.before) return;
    this.before = text;
    this.put(this.open, text);
  }

  leave(page) {
    this.keep(page);
    this.open = null;
  }

  // What was on the screen, which is an answer now and no draft.
  end(page) {
    localStorage.removeItem(this.key + this.open);
    this.open = null;
    return now(page);
  }

  put(sample, text) {
    try {
      localStorage.setItem(this.key + sample, text);
    } catch {
      // a full store keeps no draft
    }
  }
}

const now = ({ chosen, layer, proposals }) =>
  JSON.stringify({ comment: comment.value, chosen: [...chosen], drawing: layer?.draft, proposals: proposals?.draft });

// Labels as [label, how many, label, how many, ...], and back.
export function runsOf(labels) {
  const runs = [];
  for (let i = 0, begin = 0; i < labels.length; i++)
    if (labels[i] !== labels[i + 1]) {
      runs.push(labels[i], i + 1 - begin);
      begin = i + 1;
    }
  return runs;
}

export function fromRuns(runs, size) {
  const labels = new Uint8Array(size);
  for (let r = 0, at = 0; r < runs.length; at += runs[r + 1], r += 2) labels.fill(runs[r], at, at + runs[r + 1]);
  return labels;
}
