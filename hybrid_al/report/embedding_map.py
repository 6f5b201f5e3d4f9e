"""A map of the embedding: its first two principal components, or UMAP, in arrays as small as a page needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.types import FloatArray, IntArray
from ..track.base import need_package
from .html import inert
from .runview import RunView

MOST_POINTS = 4000  # of the pool without a label; those with one are all there
MOST_FITTED = 5000
SCALE = 1000  # places are whole numbers from 0 to this


@dataclass(frozen=True)
class EmbeddingMap:
    """What the page draws; `spread` is the share of the variance that the two directions hold, None of UMAP."""

    values: Mapping[str, object]
    points: int
    left_out: int
    spread: float | None

    def to_json(self) -> str:
        """For a script element."""
        return inert(self.values)


def principal(vectors_ND: FloatArray, rows: IntArray) -> tuple[FloatArray, float]:
    """The rows (M, 2) on the first two principal components of at most `MOST_FITTED` vectors, and their share.

    The sign of a component makes its largest weight positive, so that the same vectors give the same map.
    """
    step = -(-len(vectors_ND) // MOST_FITTED)
    sample = np.asarray(vectors_ND[::step], dtype=np.float64)
    mean = sample.mean(axis=0)
    _, values, directions = np.linalg.svd(sample - mean, full_matrices=False)
    axes = np.zeros((2, directions.shape[1]))
    axes[: len(directions)] = directions[:2]
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    variance = values**2
    share = float(variance[:2].sum() / variance.sum()) if variance.sum() else 0.0
    return (np.asarray(vectors_ND[rows], dtype=np.float64) - mean) @ axes.T, share


def neighbourhoods(vectors_MD: FloatArray) -> FloatArray:
    """Places (M, 2) by UMAP, alike each time. InputError where its package is missing."""
    check_map("umap")
    from umap import UMAP

    places: FloatArray = UMAP(n_components=2, random_state=0).fit_transform(np.asarray(vectors_MD, dtype=np.float32))
    return np.asarray(places, dtype=np.float64)


def check_map(kind: str) -> None:
    """InputError where the package of a kind of map (`report.map`) is missing."""
    if kind == "umap":
        need_package("report.map", "umap", "umap")


def embedding_map(run: RunView) -> EmbeddingMap | None:
    """The map of a run's pool; None where its embeddings are not there or are not of its manifest."""
    file = None if run.path is None else _file(run.path)
    if file is None:
        return None
    vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    if len(vectors) < len(run.manifest) or vectors.ndim != 2:
        return None
    picks = {pick.index: (r.index, pick.label) for r in run.rounds for pick in r.picks}
    pool = run.manifest.indices("pool")
    rest = np.setdiff1d(pool, np.asarray(list(picks), dtype=np.int64))
    thinned = np.random.default_rng(0).permutation(rest)[:MOST_POINTS]
    rows = np.concatenate([np.sort(thinned), np.asarray(list(picks), dtype=np.int64)])
    settings = run.recipe.get("report")
    by_umap = isinstance(settings, Mapping) and settings.get("map") == "umap"
    places, share = (neighbourhoods(vectors[rows]), None) if by_umap else principal(vectors, rows)
    span = np.ptp(places, axis=0).max() or 1.0
    xy = np.round((places - places.min(axis=0)) / span * SCALE).astype(int)
    labels = [*run.classes, *sorted({label for _, label in picks.values() if label} - set(run.classes))]
    number = {name: k for k, name in enumerate(labels)}
    known = list(picks.values())
    values: dict[str, object] = {
        "x": xy[:, 0].tolist(),
        "y": (xy[:, 1].max() - xy[:, 1]).tolist(),
        "unlabeled": len(thinned),
        "round": [r for r, _ in known],
        "label": [number.get(label, -1) if label else -1 for _, label in known],
        "labels": labels,
        "ids": [run.manifest.ids[i] for i in picks],
        "last": max((r for r, _ in known), default=0),
        "values": _values(run, rows),
    }
    return EmbeddingMap(values, len(rows), len(rest) - len(thinned), share)


def _file(run: Path) -> Path | None:
    """The set that strategies read, else the plain one (`core.embeddings`)."""
    folder = run / "stage0" / "embeddings"
    return next((file for name in ("used", "plain") if (file := folder / f"{name}.npy").is_file()), None)


def _values(run: RunView, rows: IntArray) -> dict[str, list[int]]:
    """Uncertainty and inconsistency (M,) in percent by the last record; -1 of samples that it did not see."""
    record = next((r.consistency for r in run.rounds[::-1] if r.consistency is not None), None)
    if record is None:
        return {}
    parts = max(1, len(record.seen) // len(run.manifest))
    named = {"uncertainty": 1 - record.confidence, "inconsistency": 1 - record.agreement}
    seen = (record.seen > 0).reshape(-1, parts)[rows]
    out = {}
    for name, values in named.items():
        of_parts = np.where(seen, np.nan_to_num(values).reshape(-1, parts)[rows], 0.0)
        mean = of_parts.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
        out[name] = np.where(seen.any(axis=1), np.round(100 * mean), -1).astype(int).tolist()
    return out
