"""Our query strategies against scikit-activeml and baal: time, memory beyond the inputs, objective of the picks.

    python benchmarks/queries.py [kcenter typiclust badge probcover batchbald] --rivals PYTHON [--repeats 3] [--size N]

Each run is one process that makes the same inputs from a seed, warms up on a few rows, then is timed; ours and theirs
take turns. PYTHON is an interpreter with the extra `benchmark`; ours runs in the present one. Printed: medians, and
the median of the ratios theirs / ours of one turn. `--ours` runs ours alone (a million rows: `--size 1000000 --dim 384
--picks 1000`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"kcenter": (50_000, 500), "typiclust": (50_000, 500), "badge": (50_000, 500), "probcover": (20_000, 200)}
SIZES["batchbald"] = (5_000, 10)
CLASSES, PASSES = 10, 20


def inputs(n: int, dim: int, *, passes: bool) -> tuple[Any, Any]:
    """Unit vectors (n, dim) around 50 centres in a plane of 16 dimensions, probabilities (n, S, C)."""
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(50, 16))[rng.integers(50, size=n)] + 0.5 * rng.normal(size=(n, 16))
    vectors = latent.astype(np.float32) @ rng.normal(size=(16, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if not passes:
        return vectors, rng.dirichlet(np.ones(CLASSES), size=(n, 1))
    logits = 2 * rng.normal(size=(n, 1, CLASSES)) + rng.normal(size=(n, PASSES, CLASSES))
    return vectors, np.exp(logits) / np.exp(logits).sum(2, keepdims=True)


def ball(vectors: Any) -> float:
    """A radius within which 2 % of the pairs lie."""
    few = vectors[:1000]
    return float(np.sqrt(np.quantile(np.clip(2 - 2 * few @ few.T, 0, None), 0.02)))


def ours(method: str, vectors: Any, probs: Any, picks: int, radius: float) -> Any:
    """Picks of `hybrid_al`."""
    from hybrid_al.embeddings import Embeddings
    from hybrid_al.labels import LabelStore
    from hybrid_al.query import STRATEGIES
    from hybrid_al.query.base import QueryState
    from hybrid_al.types import PredictionBatch

    def predict(indices: Any, samples: int, views: int) -> Any:
        for rows in np.array_split(indices, max(len(indices) // 4096, 1)):
            yield PredictionBatch(rows, probs[rows], vectors[rows])

    n = len(vectors)
    everything = np.arange(n)
    state = QueryState(0, LabelStore(n), everything, everything, Embeddings(vectors, "", ""), predict)
    own: dict[str, dict[str, Any]] = {
        "typiclust": {"max_clusters": picks},
        "probcover": {"delta": radius},
        "batchbald": {"samples": PASSES},
    }
    strategy: Any = STRATEGIES[method](**own.get(method, {}))
    return strategy.select(state, picks, np.random.default_rng(0)).indices


def theirs(method: str, vectors: Any, probs: Any, picks: int, radius: float) -> Any:
    """Picks of scikit-activeml, or of baal for BatchBALD."""
    if method == "batchbald":
        from baal.active.heuristics import BatchBALD

        return np.asarray(BatchBALD(num_samples=picks)(probs.transpose(0, 2, 1)))[:picks]
    from skactiveml import pool
    from skactiveml.base import SkactivemlClassifier

    class Told(SkactivemlClassifier):  # type: ignore[misc]
        """A classifier that says the probabilities of the inputs."""

        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> Any:
            return probs[:, 0]

    more: dict[str, Any] = {"batch_size": picks}
    if method == "badge":
        more |= {"clf": Told(classes=list(range(CLASSES))), "fit_clf": False}
    made = {
        "kcenter": lambda: pool.CoreSet(random_state=0),
        "typiclust": lambda: pool.TypiClust(random_state=0, k=20),
        "badge": lambda: pool.Badge(random_state=0),
        "probcover": lambda: pool.ProbCover(n_classes=CLASSES, deltas=[radius], random_state=0),
    }
    return made[method]().query(vectors, np.full(len(vectors), np.nan), **more)


def objective(method: str, vectors: Any, picks: Any, radius: float) -> dict[str, float]:
    """What the method is to make small (cover radius, inertia) or large (typicality, covered share)."""
    from sklearn.neighbors import NearestNeighbors

    if method not in ("kcenter", "typiclust", "probcover"):
        return {}
    reach = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(vectors[picks]).kneighbors(vectors)[0][:, 0]
    if method == "kcenter":
        return {"radius": float(reach.max())}
    if method == "probcover":
        return {"covered": float((reach < radius).mean())}
    near = NearestNeighbors(n_neighbors=21, algorithm="brute").fit(vectors).kneighbors(vectors[picks])[0][:, 1:]
    return {"inertia": float((reach**2).sum()), "typicality": float((1 / near.mean(1)).mean())}


def worker(method: str, arm: str, n: int, dim: int, picks: int) -> dict[str, float]:
    """One run: seconds, MiB beyond those held before it, peak MiB of the process, objective."""
    vectors, probs = inputs(n, dim, passes=method == "batchbald")
    radius = ball(vectors)
    select = {"ours": ours, "theirs": theirs}[arm]
    select(method, vectors[:300], probs[:300], 3, radius)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = memory("VmRSS"), time.perf_counter()
    chosen = select(method, vectors, probs, picks, radius)
    seconds, peak = time.perf_counter() - start, memory("VmHWM")
    value = objective(method, vectors, chosen, radius) if n <= 100_000 else {}
    return {"s": seconds, "extra MiB": peak - before, "peak MiB": peak, **value}


def memory(field: str) -> float:
    """A line of /proc/self/status in MiB."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) / 1024


def table(method: str, runs: dict[str, list[dict[str, float]]], of: str) -> None:
    """Print the rows of a markdown table, one an arm."""
    for arm, found in runs.items():
        middle = {key: statistics.median(run[key] for run in found) for key in found[0]}
        value = ", ".join(f"{k} {v:.4g}" for k, v in middle.items() if k not in ("s", "extra MiB", "peak MiB"))
        cells = f"{middle['s']:.2f} | {middle['extra MiB']:.0f} | {middle['peak MiB']:.0f} | {value or '-'}"
        print(f"| {method} | {of} | {arm} | {cells} | {len(found)} |")
    if len(runs) == 2:
        ratios = [t["s"] / o["s"] for o, t in zip(runs["ours"], runs["theirs"], strict=True)]
        print(f"| {method} | {of} | theirs / ours | **{statistics.median(ratios):.1f}x** |  |  |  | {len(ratios)} |")
    sys.stdout.flush()


def main() -> None:
    """Run the methods that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(SIZES))
    parser.add_argument("--rivals", default=sys.executable, help="interpreter that has the extra `benchmark`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int)
    parser.add_argument("--picks", type=int)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--ours", action="store_true", help="ours alone")
    parser.add_argument("--worker", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = {m: (args.size or SIZES[m][0], args.picks or SIZES[m][1]) for m in args.methods}
    if args.worker:
        ((method, (n, picks)),) = sizes.items()
        print(json.dumps(worker(method, args.worker, n, args.dim, picks)))
        return
    print("| method | rows, picks | arm | s | extra MiB | peak MiB | objective | runs |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(args.threads))
    pythons = {"ours": sys.executable} if args.ours else {"ours": sys.executable, "theirs": args.rivals}
    for method, (n, picks) in sizes.items():
        runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in pythons}
        for turn in range(args.repeats):
            for arm in list(pythons)[:: 1 if turn % 2 == 0 else -1]:
                shape = ["--size", str(n), "--dim", str(args.dim), "--picks", str(picks)]
                command = [pythons[arm], __file__, method, "--worker", arm, *shape]
                done = subprocess.run(command, env=os.environ | threads, check=True, stdout=subprocess.PIPE, text=True)
                runs[arm].append(json.loads(done.stdout.splitlines()[-1]))
        table(method, runs, f"{n:,} x {args.dim}, {picks:,}")


if __name__ == "__main__":
    main()
