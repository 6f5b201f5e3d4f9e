"""Thousands of answers in hundreds of batches, whose processes are killed: none is lost, doubled or another.

`python -m tests.fuzz.many_answers --answers 10000 --batches 200`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Query
from hybrid_al.oracles.worklist import WorklistOracle

CLASSES = ("a", "b", "c")


def play(folder: Path, answers: int, batches: int, seed: int) -> tuple[int, list[str]]:
    """How many processes were killed, and what is wrong with the answers in the end."""
    rng, ids = np.random.default_rng(seed), tuple(f"i{k:06d}" for k in range(answers))
    run = RunDir(folder / "run")
    splits: list[Split] = ["pool"] * answers
    manifest = Manifest(ids, ids, ids, tuple(splits), ids)
    run.commit_query(0, Query(np.arange(answers)), manifest)
    people, truth, kills = WorklistOracle(run, manifest, CLASSES), rng.integers(len(CLASSES), size=answers), 0
    for part in np.array_split(rng.permutation(answers), batches):
        file = folder / "batch.csv"
        file.write_text("id,label\n" + "".join(f"{ids[i]},{CLASSES[truth[i]]}\n" for i in part), encoding="utf-8")
        done, longest = False, 0.05
        while not done:
            if not (child := os.fork()):
                try:
                    with run.lock():
                        people.take(file, "ann")
                finally:
                    os._exit(0)
            time.sleep(float(rng.uniform(0, longest)))
            if rng.random() < 0.3:
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            done, kills, longest = status == 0, kills + (status == signal.SIGKILL), 2 * longest
    latest = {a.index: a.target for a in people.answers(0)}
    wrong = [ids[i] for i in range(answers) if latest.get(i) != truth[i]]
    counts = Counter(a.index for a in people.latest_answers(np.arange(answers), 0)[0])
    doubled = [ids[i] for i, count in counts.items() if count > 1]
    with run.lock():
        left = [str(file) for file in run.path.rglob("*.tmp")]
    lists = {"lost or another": wrong, "doubled": doubled, "left over": left}
    return kills, [f"{len(rows)} {what}: {rows[0]}" for what, rows in lists.items() if rows]


def main() -> None:
    """Play, and end with 1 where an answer is lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        kills, faults = play(Path(temporary), options.answers, options.batches, options.seed)
    print(f"{options.answers} answers in {options.batches} batches, {kills} kills, {len(faults)} faults")
    print("\n".join(faults), file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
