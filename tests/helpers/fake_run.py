"""A run directory as a simulated run would leave it, made of random numbers in milliseconds: for tests of the report.

As a script it writes a few runs and their report: python tests/helpers/fake_run.py OUT
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from hybrid_al.core.files import write_arrays, write_json
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.manifest import Manifest, Split
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Annotation, IntArray, Query, Round, Scores
from hybrid_al.report.page import Pictures, RunView, write_report
from hybrid_al.scores.recorder import ConsistencyRecorder
from hybrid_al.track.jsonl import JsonlTracker

CLASSES = ("atelectasis", "cardiomegaly", "effusion", "nodule", "no finding")


def fake_run(
    path: Path,
    *,
    name: str = "chest-xray",
    seed: int = 0,
    strategy: str = "hybrid",
    objective: str = "fixmatch",
    pool: int = 300,
    budgets: tuple[int, ...] = (20, 20, 20, 40),
    ids: dict[int, str] | None = None,
    classes: tuple[str, ...] = CLASSES,
    committed: int | None = None,
) -> Path:
    """A run over `pool` images; `ids` renames some, `committed` leaves the rounds behind it waiting for labels."""
    rng = np.random.default_rng([seed, sum(strategy.encode())])
    disk = RunDir(path)
    manifest = _manifest(pool, ids or {})
    recipe = _recipe(name, seed, strategy, objective, budgets)
    facts = {
        "name": name,
        "seed": seed,
        "classes": list(classes),
        "recipe_digest": "d" * 64,
        "recipe": recipe,
        "manifest": manifest.fingerprint,
        "versions": {"hybrid_al": "0.1.0", "torch": "2.15.0"},
        "task": "classification",
    }
    disk.claim(facts, yaml.safe_dump(recipe, sort_keys=False), manifest)
    write_json(path / "stage0" / "seconds.json", {"seconds": 75.0})
    (path / "stage0" / "embeddings").mkdir()
    np.save(path / "stage0" / "embeddings" / "plain.npy", rng.normal(0, np.linspace(3, 1, 16), (pool, 16)))
    tracker = JsonlTracker(path / "metrics.jsonl")
    for step in range(0, 200, 20):
        tracker.log({"stage0/loss": 5 * 0.99**step + rng.normal(0, 0.05)}, stage="stage0", step=step)
    labels, gain = LabelStore(pool), 0.06 if strategy == "hybrid" else 0.0
    truth = rng.choice(len(classes), size=pool, p=_shares(len(classes)))
    for r, budget in enumerate(budgets):
        query = _query(r, budget, labels, rng)
        disk.commit_query(r, query, manifest)
        if committed is not None and r >= committed:
            break
        first, *others = query.indices.tolist()
        labels = labels.add([Annotation(first, "skip", None, "simulated", r)])
        labels = labels.add(Annotation(i, "class", int(truth[i]), "simulated", r) for i in others)
        _train(disk, tracker, r, labels, rng)
        score = 0.62 + gain * min(r, 2) / 2 + 0.07 * np.log2(1 + r) + rng.normal(0, 0.012)
        bins = np.stack([np.full(15, 20.0), np.linspace(0.03, 0.97, 15), np.linspace(0.03, 0.97, 15) ** 1.5])
        bins[:, :7] = np.asarray([0, np.nan, np.nan])[:, None]
        write_arrays(disk.round_path(r) / "holdout.npz", _holdout(len(classes), pool, 1.0 + 0.3 * r, rng))
        write_arrays(disk.round_path(r) / "reliability.npz", {"test": bins, "test_calibrated": bins[[0, 1, 1]]})
        metrics = {"test/auroc": score, "test/balanced_accuracy": score - 0.15, "val/auroc": score + 0.01}
        tracker.log({"train/loss": 0.1, "train/seconds": 31.5}, stage="train", round=r)
        disk.commit_round(_committed(r, strategy, query, labels, metrics, manifest), labels)
    tracker.close()
    return path


def thumbnail(index: int) -> bytes:
    """A made-up image as a JPEG of 64 px."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    rng = np.random.default_rng(index)
    cx, cy, r = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(0.1, 0.4)
    lungs = np.exp(-(((abs(x) - 0.4) / 0.25) ** 2) - (y / 0.6) ** 2)
    spot = ((x - cx) ** 2 + (y - cy) ** 2 < r**2) * 0.3
    pixels = (np.clip(0.8 - 0.7 * lungs + spot + rng.normal(0, 0.03, x.shape), 0, 1) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=80)
    return out.getvalue()


def _holdout(classes: int, n: int, sharp: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Answers about val and test: right more often the sharper the model is."""
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("val", 60), ("test", 150)):
        truth = rng.integers(0, classes, count)
        logits = rng.normal(0, 1, (count, classes))
        logits[np.arange(count), truth] += sharp
        arrays |= {
            f"{split}/probs": _softmax(logits),
            f"{split}/truth": truth,
            f"{split}/indices": np.arange(count) % n,
        }
    return arrays


def _manifest(pool: int, ids: dict[int, str]) -> Manifest:
    names = tuple(ids.get(i, f"patient{i // 2:04d}_{i % 2}") for i in range(pool))
    paths = tuple(f"images/{i}.png" for i in range(pool))
    groups = tuple(str(i // 2) for i in range(pool))
    splits: tuple[Split, ...] = tuple("pool" for _ in range(pool))
    return Manifest(names, paths, groups, splits, tuple(f"{i:064x}" for i in range(pool)))


def _recipe(name: str, seed: int, strategy: str, objective: str, budgets: tuple[int, ...]) -> dict[str, object]:
    return {
        "name": name,
        "modality": "chest_xray",
        "task": "classification",
        "seed": seed,
        "data": {"source": "npz", "root": "/home/jane.doe/private/chestmnist.npz", "image_size": 28},
        "learner": {"name": "finetune"},
        "cold_start": {"name": "typiclust"},
        "query": {"name": strategy},
        "train": {"name": objective, "steps": 150},
        "loop": {"budgets": list(budgets)},
        "oracle": {"name": "simulated"},
    }


def _shares(classes: int) -> list[float]:
    weights = [0.6**c for c in range(classes)]
    return [w / sum(weights) for w in weights]


def _query(r: int, budget: int, labels: LabelStore, rng: np.random.Generator) -> Query:
    candidates = np.setdiff1d(np.arange(labels.n), labels.answered).astype(np.int64)
    if r == 0:
        picks = rng.choice(candidates, budget, replace=False)
        return Query(picks, reasons=tuple(f"most typical of cluster {k}" for k in range(budget)))
    parts = {
        "entropy": rng.beta(2, 3, len(candidates)),
        "consistency": rng.beta(1.5, 4, len(candidates)),
        "typicality": rng.random(len(candidates)),
    }
    values = parts["entropy"] + 1.5 * parts["consistency"] + 0.2 * parts["typicality"]
    best: IntArray = np.argsort(-values)[:budget]
    reasons = tuple(
        f"entropy {parts['entropy'][k]:.2f}, consistency {parts['consistency'][k]:.2f}, cluster {rank}"
        for rank, k in enumerate(best)
    )
    return Query(candidates[best], scores=Scores(candidates, values, parts), reasons=reasons)


def _train(disk: RunDir, tracker: JsonlTracker, r: int, labels: LabelStore, rng: np.random.Generator) -> None:
    for step in range(0, 150, 10):
        loss = (1.6 - 0.1 * r) * 0.99**step
        tracker.log(
            {
                "train/loss": loss + rng.normal(0, 0.03),
                "train/loss_labeled": 0.7 * loss + rng.normal(0, 0.02),
                "train/loss_unlabeled": 0.3 * loss + rng.normal(0, 0.02),
                "train/mask_rate": 0.9 * (1 - 0.985**step) + 0.02 * r,
                "pseudo/accuracy": 0.6 + 0.05 * r + 0.15 * (1 - 0.98**step),
            },
            stage="train",
            round=r,
            step=step,
        )
    n, classes = labels.n, len(CLASSES)
    recorder = ConsistencyRecorder(n)
    sharp = rng.gamma(1.5, 2, (n, 1))
    mean = rng.normal(0, 1, (n, classes)) * sharp
    for _ in range(6):
        weak, strong = (_softmax(mean + rng.normal(0, s, (n, classes))) for s in (0.4, 1.2))
        recorder.update(np.arange(n, dtype=np.int64), weak, strong)
    write_arrays(disk.round_path(r) / "consistency.npz", recorder.record().arrays())


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result


def _committed(
    r: int, strategy: str, query: Query, labels: LabelStore, metrics: dict[str, float], manifest: Manifest
) -> Round:
    return Round(
        index=r,
        strategy=strategy if r else "typiclust",
        budget=len(query.indices),
        query=tuple(manifest.ids[i] for i in query.indices),
        labeled=len(labels.labeled),
        metrics=metrics,
        seed=r,
        seconds={"select": 0.4 + 0.8 * bool(r), "train": 31.5, "evaluate": 2.25},
    )


if __name__ == "__main__":
    root = Path(sys.argv[1])
    views = [
        RunView.read(fake_run(root / f"{query}-{train}-s{seed}", seed=seed, strategy=query, objective=train))
        for query, train in (("hybrid", "fixmatch"), ("entropy", "fixmatch"), ("random", "supervised"))
        for seed in range(3)
    ]
    print(write_report(views[:1], root / "one", pictures=[Pictures(lambda i, _: thumbnail(i))]))
    print(write_report(views, root / "many"))
