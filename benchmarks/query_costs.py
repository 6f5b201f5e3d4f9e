"""What one query of every strategy costs on a large pool: seconds, processor, passes of the model, memory.

    OMP_NUM_THREADS=1 python benchmarks/query_costs.py benchmarks/query_costs.csv [NAME ...] [--seconds 900]
    python benchmarks/query_costs.py benchmarks/query_costs.csv --table
    OMP_NUM_THREADS=1 python benchmarks/query_costs.py --profile NAME

100 picks of 100,000 embeddings x 384 with 100 labels of ten classes, a strategy a forked child with its defaults. Rows
are added to the CSV as they come, so that it goes on where it was stopped, and with strategies that are new; those in
it are left. The model is a softmax on the embeddings, which costs next to nothing.
"""

from __future__ import annotations

import argparse
import csv
import os
import pickle
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

from hybrid_al.core.types import IntArray, PredictionBatch
from hybrid_al.errors import HybridALError
from hybrid_al.query.base import QueryState, check_query
from hybrid_al.query.cost import Meter
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.query.synthetic import make_state, restrict

N, DIM, CLASSES, LABELED, PICKS, BLOCK = 100_000, 384, 10, 100, 100, 4096
COLUMNS = ("strategy", "seconds", "cpu", "passes", "mib", "ended")


def large_state(n: int = N) -> QueryState:
    """A pool that meets every need; its model answers in blocks."""
    state = make_state(n, labeled=LABELED, classes=CLASSES, dim=DIM, held_out=0)
    assert state.embeddings is not None
    vectors = state.embeddings.vectors
    weight = np.random.default_rng(0).normal(size=(CLASSES, DIM)).astype(np.float32) / DIM**0.5
    logits = vectors @ weight.T

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for start in range(0, len(indices), BLOCK):
            rows = indices[start : start + BLOCK]
            noise = np.random.default_rng(start).normal(size=(len(rows), samples * views, CLASSES))
            probs = scipy.special.softmax(logits[rows][:, None] + noise, axis=2)
            yield PredictionBatch(rows, probs, vectors[rows], (weight, np.zeros(CLASSES)))

    return replace(state, predictor=predict)


def play(name: str, state: QueryState) -> dict[str, object]:
    """One query in this process."""
    strategy, meter = STRATEGIES[name](), Meter()
    given, began = meter.watch(restrict(state, strategy.needs)), sum(os.times()[:2])
    ended = "done"
    try:
        with meter.running():
            check_query(strategy.select(given, PICKS, np.random.default_rng(0)), given, PICKS)
    except HybridALError as error:
        ended = str(error)
    cost = {key: round(meter.cost[key], 1) for key in ("seconds", "passes", "memory") if key in meter.cost}
    return {
        "strategy": name,
        "seconds": cost.get("seconds", ""),
        "cpu": round(sum(os.times()[:2]) - began, 1),
        "passes": cost.get("passes", ""),
        "mib": cost.get("memory", ""),
        "ended": ended,
    }


def in_child(name: str, state: QueryState, seconds: int) -> dict[str, object]:
    """The same in a child that may take so many seconds of the processor."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        os.write(writer, pickle.dumps(play(name, state)))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if data:
        return dict(pickle.loads(data))  # from our own child
    what = f"more than {seconds} s" if code == -signal.SIGXCPU else f"ended with {code}"
    return dict.fromkeys(COLUMNS, "") | {"strategy": name, "ended": what}


def rows_of(file: Path) -> list[dict[str, str]]:
    """What is in the CSV."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def append(file: Path, row: dict[str, object]) -> None:
    """Add a row."""
    is_new = not file.is_file()
    with file.open("a", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def table(rows: Sequence[dict[str, str]]) -> str:
    """Markdown, the quickest first."""
    lines = ["| strategy | processor, s | passes a candidate | memory, MiB |", "|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: float(row["cpu"] or "inf")):
        if row["ended"] != "done":
            lines.append(f"| {row['strategy']} | {row['cpu']} | | {row['ended']} |")
            continue
        passes = float(row["passes"]) / (N - LABELED)
        lines.append(f"| {row['strategy']} | {row['cpu']} | {passes:.3g} | {float(row['mib']):.0f} |")
    return "\n".join(lines)


def profile(name: str) -> None:
    """Where the time of a strategy goes."""
    import cProfile
    import pstats

    state, profiler = large_state(), cProfile.Profile()
    print(profiler.runcall(play, name, state))
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Play what the CSV lacks, or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?")
    parser.add_argument("names", nargs="*", default=sorted(STRATEGIES))
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--profile", metavar="NAME")
    args: Any = parser.parse_args()
    if args.profile:
        profile(args.profile)
        return
    if args.table:
        print(table(rows_of(args.csv)))
        return
    names = [name for name in args.names if name not in {row["strategy"] for row in rows_of(args.csv)}]
    state = large_state()
    for name in names:
        row = in_child(name, state, args.seconds)
        append(args.csv, row)
        print(*row.values(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
