// Requests to the server, and the outbox through which answers go: in order, and again until the server has each.

export async function getJson(path) {
  const response = await fetch(path);
  if (response.status === 403) throw new Closed(await response.text());
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

export class Closed extends Error {}

export async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const plain = response.status === 403 ? { kind: "closed", error: await response.text() } : await response.json();
  return { ok: response.ok, status: response.status, ...plain };
}

export class Outbox {
  // saved(answer, reply), refused(answer, reply) and waiting(count, isStuck) are told how each answer fares. The store has
  // each answer by itself under the name of the run and its reader: tabs take nothing from each other, and what another
  // tab left is sent too. The server takes an answer that comes twice once.
  constructor(run, reader, { saved, refused, waiting }) {
    this.key = ["outbox", run, reader, ""].join("\n");
    this.tell = { saved, refused, waiting };
    this.queue = stored(this.key);
    this.isBusy = false;
    if (this.queue.length) this.#work();
  }

  push(answer) {
    this.queue.push(answer);
    try {
      localStorage.setItem(this.key + answer.id, JSON.stringify([Date.now(), answer]));
    } catch {
      // a full store keeps the answer in this tab alone
    }
    this.#work();
  }

  get isEmpty() {
    return !this.queue.length;
  }

  async #work() {
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.queue.length) {
      const answer = this.queue[0];
      this.tell.waiting(this.queue.length, false);
      let reply;
      try {
        reply = await post("/api/answer", answer);
      } catch {
        reply = null;
      }
      if (reply === null || reply.status >= 500 || reply.kind === "closed") {
        this.tell.waiting(this.queue.length, true, reply?.error);
        await new Promise((wake) => setTimeout(wake, 1500));
        continue;
      }
      this.queue.shift();
      localStorage.removeItem(this.key + answer.id);
      if (reply.ok) this.tell.saved(answer, reply);
      else this.tell.refused(answer, reply);
    }
    this.isBusy = false;
    this.tell.waiting(0, false);
  }
}

// The answers in the store whose keys begin so, the first given first.
function stored(key) {
  const kept = Object.keys(localStorage).filter((name) => name.startsWith(key)).map((name) => JSON.parse(localStorage.getItem(name)));
  return kept.filter(Boolean).sort(([a], [b]) => a - b).map(([, answer]) => answer);
}
