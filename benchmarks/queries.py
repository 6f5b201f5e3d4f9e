"""Our query strategies against scikit-activeml and baal: time, memory beyond the inputs, objective of the picks.

    python benchmarks/queries.py [kcenter typiclust badge probcover batchbald] --rivals PYTHON [--repeats 3]
    python benchmarks/queries.py kcenter typiclust badge probcover facility_location --pool FILE [--repeats 1]

Each run is one process that makes the same inputs, warms up on a few rows, then is timed; ours and theirs take turns,
each turn with a seed of its own. PYTHON is an interpreter with the extra `benchmark`; ours runs in the present one.
Printed: medians, and the median of the ratios theirs / ours of one turn. The second form is ours alone on a
memory-mapped pool, 1,000 picks of a million rows x 384 unless told otherwise; FILE is made where it does not exist.
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
POOL = (1_000_000, 1_000)
CLASSES, PASSES = 10, 20
MIXTURE = 50  # centres


def unit_vectors(n: int, dim: int, rng: np.random.Generator, basis: Any) -> Any:
    """Unit vectors (n, dim) around centres in a plane of 16 dimensions."""
    centres, plane = basis
    latent = centres[rng.integers(MIXTURE, size=n)] + 0.5 * rng.normal(size=(n, 16))
    vectors = latent.astype(np.float32) @ plane
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def inputs(n: int, dim: int, pool: Path | None, method: str) -> tuple[Any, Any]:
    """Vectors (n, dim) and probabilities (n, S, C), which take no memory where the method reads none."""
    rng = np.random.default_rng(0)
    if pool:
        vectors = np.load(pool, mmap_mode="r")
    else:
        centres = rng.normal(size=(MIXTURE, 16))
        vectors = unit_vectors(n, dim, rng, (centres, rng.normal(size=(16, dim)).astype(np.float32)))
    if method != "batchbald":
        return vectors, rng.dirichlet(np.ones(CLASSES), size=(n, 1)) if method == "badge" else np.zeros((n, 1, CLASSES))
    logits = 2 * rng.normal(size=(n, 1, CLASSES)) + rng.normal(size=(n, PASSES, CLASSES))
    return vectors, np.exp(logits) / np.exp(logits).sum(2, keepdims=True)


def make_pool(path: Path, n: int, dim: int) -> None:
    """A pool like that of `inputs` on disk, in float32."""
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(MIXTURE, 16)), rng.normal(size=(16, dim)).astype(np.float32)
    found = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, dim))
    for start in range(0, n, 50_000):
        found[start : start + 50_000] = unit_vectors(len(found[start : start + 50_000]), dim, rng, basis)
    found.flush()


def ball(vectors: Any) -> float:
    """A radius so small that the picks cannot cover everything: within it lies one of 4,000 pairs."""
    few = vectors[:2000]
    squared = np.clip(2 - 2 * few @ few.T, 0, None)[np.triu_indices(len(few), 1)]
    return float(np.sqrt(np.quantile(squared, 1 / 4000)))


def ours(method: str, vectors: Any, probs: Any, picks: int, radius: float, seed: int) -> Any:
    """Picks of `hybrid_al`."""
    from hybrid_al.core.embeddings import Embeddings
    from hybrid_al.core.labels import LabelStore
    from hybrid_al.core.types import PredictionBatch
    from hybrid_al.query.base import QueryState
    from hybrid_al.query.strategies import STRATEGIES

    def predict(indices: Any, samples: int, views: int) -> Any:
        for rows in np.array_split(indices, max(len(indices) // 4096, 1)):
            yield PredictionBatch(rows, probs[rows], vectors[rows])

    n = len(vectors)
    large = n > 100_000
    everything = np.arange(n)
    state = QueryState(0, LabelStore(n), everything, everything, Embeddings(vectors, "", ""), predict)
    own: dict[str, dict[str, Any]] = {
        "typiclust": {} if large else {"max_clusters": picks},
        "probcover": {"delta": radius} | ({"neighbours": 32} if large else {}),
        "facility_location": {"neighbours": 32} if large else {},
        "batchbald": {"samples": PASSES},
    }
    strategy: Any = STRATEGIES[method](**own.get(method, {}))
    return strategy.select(state, picks, np.random.default_rng(seed)).indices


def theirs(method: str, vectors: Any, probs: Any, picks: int, radius: float, seed: int) -> Any:
    """Picks of scikit-activeml, or of baal for BatchBALD."""
    if method == "batchbald":
        from baal.active.heuristics import BatchBALD

        ranks = np.asarray(BatchBALD(num_samples=picks)(probs.transpose(0, 2, 1)))
        return ranks[picks::-1][:picks]  # it picks one more than it is told, and ranks them from the last to the first
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
        "kcenter": lambda: pool.CoreSet(random_state=seed),
        "typiclust": lambda: pool.TypiClust(random_state=seed, k=20),
        "badge": lambda: pool.Badge(random_state=seed),
        "probcover": lambda: pool.ProbCover(n_classes=CLASSES, deltas=[radius], random_state=seed),
    }
    return made[method]().query(vectors, np.full(len(vectors), np.nan), **more)


def joint_information(probs: Any, picks: Any, draws: int = 200_000) -> float:
    """Mutual information of the picks' labels and the pass, in nats: mean of log p(y | s) / p(y) over draws."""
    rng = np.random.default_rng(0)
    passes = rng.integers(probs.shape[1], size=draws)
    told = np.zeros((draws, probs.shape[1]))
    for p in picks:
        labels = (probs[p].cumsum(1)[passes] < rng.random((draws, 1))).sum(1).clip(0, probs.shape[2] - 1)
        told += np.log(probs[p][:, labels].T)
    return float((told[np.arange(draws), passes] - np.log(np.exp(told).mean(1))).mean())


def objective(method: str, vectors: Any, probs: Any, picks: Any, radius: float) -> dict[str, float]:
    """What the method is to make small (cover radius, inertia) or large (typicality, covered share, information)."""
    from sklearn.neighbors import NearestNeighbors

    if method == "batchbald":
        return {"information": joint_information(probs, picks)}
    if method not in ("kcenter", "typiclust", "probcover"):
        return {}
    reach = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(vectors[picks]).kneighbors(vectors)[0][:, 0]
    if method == "kcenter":
        return {"radius": float(reach.max())}
    if method == "probcover":
        return {"covered": float((reach < radius).mean())}
    near = NearestNeighbors(n_neighbors=21, algorithm="brute").fit(vectors).kneighbors(vectors[picks])[0][:, 1:]
    return {"inertia": float((reach**2).sum()), "typicality": float((1 / near.mean(1)).mean())}


def worker(method: str, arm: str, shape: tuple[int, int, int], pool: Path | None, seed: int) -> dict[str, float]:
    """One run: seconds, seconds of all threads, MiB beyond those held before it, peak MiB, objective."""
    n, dim, picks = shape
    vectors, probs = inputs(n, dim, pool, method)
    radius = ball(vectors)
    select = {"ours": ours, "theirs": theirs}[arm]
    select(method, vectors[:300], probs[:300], 3, radius, seed)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    chosen = select(method, vectors, probs, picks, radius, seed)
    seconds, cpu, peak = time.perf_counter() - start, time.process_time() - cpu, memory("VmHWM")
    value = objective(method, vectors, probs, chosen, radius) if n <= 100_000 else {}
    return {"s": seconds, "CPU s": cpu, "extra MiB": peak - before, "peak MiB": peak, **value}


def memory(field: str) -> float:
    """A line of /proc/self/status in MiB."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(field))
    return int(line.split()[1]) / 1024


def table(method: str, runs: dict[str, list[dict[str, float]]], of: str) -> None:
    """Print the rows of a markdown table, one an arm."""
    for arm, found in runs.items():
        middle = {key: statistics.median(run[key] for run in found) for key in found[0]}
        told = [middle.pop("s"), middle.pop("CPU s"), middle.pop("extra MiB"), middle.pop("peak MiB")]
        value = ", ".join(f"{k} {v:.4g}" for k, v in middle.items())
        cells = " | ".join([f"{told[0]:.2f}", f"{told[1]:.2f}", f"{told[2]:.0f}", f"{told[3]:.0f}", value or "-"])
        print(f"| {method} | {of} | {arm} | {cells} | {len(found)} |")
    if len(runs) == 2:
        pairs = list(zip(runs["ours"], runs["theirs"], strict=True))
        ratio = {key: statistics.median(t[key] / o[key] for o, t in pairs) for key in ("s", "CPU s")}
        cells = f"**{ratio['s']:.1f}x** | {ratio['CPU s']:.1f}x |  |  | "
        print(f"| {method} | {of} | theirs / ours | {cells} | {len(pairs)} |")
    sys.stdout.flush()


def run(python: str, method: str, arm: str, args: argparse.Namespace, seed: int) -> dict[str, float]:
    """One run in a process of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(args.threads))
    n, picks = size(method, args)
    command = [python, __file__, method, "--worker", arm, "--seed", str(seed), "--dim", str(args.dim)]
    command += ["--size", str(n), "--picks", str(picks), *(["--pool", str(args.pool)] if args.pool else [])]
    done = subprocess.run(command, env=os.environ | threads, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def size(method: str, args: argparse.Namespace) -> tuple[int, int]:
    """Rows and picks."""
    usual = POOL if args.pool else SIZES.get(method, POOL)
    return args.size or usual[0], args.picks or usual[1]


def main() -> None:
    """Run the methods that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(SIZES))
    parser.add_argument("--rivals", default=sys.executable, help="interpreter that has the extra `benchmark`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int)
    parser.add_argument("--picks", type=int)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--pool", type=Path, help="ours alone, on this memory-mapped .npy")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--worker", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.dim = args.dim or (384 if args.pool else 128)
    if args.worker:
        (method,) = args.methods
        n, picks = size(method, args)
        print(json.dumps(worker(method, args.worker, (n, args.dim, picks), args.pool, args.seed)))
        return
    if args.pool and not args.pool.exists():
        make_pool(args.pool, args.size or POOL[0], args.dim)
    print(f"load {os.getloadavg()[0]:.1f}, {args.threads} threads")
    print("| method | rows, picks | arm | s | CPU s | extra MiB | peak MiB | objective | runs |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    pythons = {"ours": sys.executable} | ({} if args.pool else {"theirs": args.rivals})
    for method in args.methods:
        runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in pythons}
        for turn in range(args.repeats):
            for arm in list(pythons)[:: 1 if turn % 2 == 0 else -1]:
                runs[arm].append(run(pythons[arm], method, arm, args, turn))
        n, picks = size(method, args)
        table(method, runs, f"{n:,} x {args.dim}, {picks:,}")


if __name__ == "__main__":
    main()
