// What is not saved yet, a drawing, a comment or chosen labels, is kept in the browser: another image, a closed tab or a
// crash takes none of it. Drafts of rounds that are over are dropped.

export class Drafts {
  constructor(run, reader, round) {
    const own = ["draft", run, reader, ""].join("\n");
    this.key = `${own}${round}\n`;
    for (const name of Object.keys(localStorage))
      if (name.startsWith(own) && !name.startsWith(this.key)) localStorage.removeItem(name);
  }

  get(sample) {
    return JSON.parse(localStorage.getItem(this.key + sample) ?? "null");
  }

  keep(sample, text) {
    try {
      localStorage.setItem(this.key + sample, text);
    } catch {
      // a full store keeps no draft
    }
  }

  drop(sample) {
    localStorage.removeItem(this.key + sample);
  }
}

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
