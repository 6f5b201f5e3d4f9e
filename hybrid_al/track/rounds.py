"""A round for the trackers: its point of the curve, the classes of its picks, and how right the pseudo-labels were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..core.labels import LabelStore
from ..core.learner import FitResult
from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..core.types import IntArray, Round
from .base import Trackers
from .content import collapse, round_content


def track_round(
    tracker: Trackers,
    disk: RunDir,
    manifest: Manifest,
    row: Round,
    samples: IntArray,
    labels: LabelStore,
    fit: FitResult,
    score: Callable[[IntArray, IntArray], dict[int, float]],
    classes: Sequence[str],
    *,
    shares: bool,
    cost: Mapping[str, float],
    people: Mapping[str, float],
    enough: bool,
    thumbnail: Callable[[int], bytes] | None,
) -> None:
    """Log a round of which `samples` (b,) were asked about, show what it has beside numbers, and alert.

    score   `Oracle.score`, for pseudo-labels
    shares  whether samples have one class, of which the picks have shares
    cost    what the query cost the machine, see `query.cost`
    people  how people answered, by its names
    enough  whether the stopping signal says so after this round
    """
    values: dict[str, float] = {"query/seconds": row.seconds["query"], **people}
    values |= {f"query/{name}": value for name, value in cost.items()}
    if shares and len(samples):
        counts = Counter(labels.current[i].target for i in samples.tolist())
        values |= {f"picks/share/{name}": counts[c] / len(samples) for c, name in enumerate(classes)}
    tracker.log(values, stage="query", round=row.index)
    tracker.log({**fit.metrics, "train/seconds": row.seconds["train"]}, stage="train", round=row.index)
    if tracker.mirrored:
        tracker.show_made(lambda: round_content(disk, manifest, row.index, labels, thumbnail))
    curve = {f"curve/{n.removeprefix('test/')}": v for n, v in row.metrics.items() if n.startswith("test/")}
    evaluated = {n: v for n, v in row.metrics.items() if n not in fit.metrics}
    values = {"labels": float(row.labeled), **curve, **evaluated}
    if fit.consistency is not None:
        rows = np.setdiff1d(np.flatnonzero(fit.consistency.seen > 0), labels.answered)
        for c, share in score(rows, fit.consistency.pseudo_label[rows]).items():
            values["pseudo/accuracy" if c < 0 else f"pseudo/accuracy/{classes[c]}"] = share
    tracker.log(values, stage="evaluate", round=row.index)
    if tracker.mirrored and (lost := collapse(disk, row.index, labels)):
        tracker.alert(f"round {row.index}: a class is lost", f"the model predicts {lost} nowhere in the pool any more")
    if enough:
        text = "the stopping signal says that more of them would change little"
        tracker.alert(f"round {row.index}: the labels are enough", text)
