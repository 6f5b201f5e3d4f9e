"""The protocol of a learner: the only door between the decision plane and the learning plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .consistency import Consistency
from .labels import LabelStore
from .types import FloatArray, IntArray, PredictionBatch

Log = Callable[[Mapping[str, float], int], None]
"""(values by metric name, step) -> None; hands the numbers of a training to the trackers."""


@dataclass(frozen=True)
class FitResult:
    """Results of a fit besides the model: its last training metrics and its consistency record.

    costs  of its labels by unit, for the round's metrics: `cost/pixels`, ...
    """

    metrics: Mapping[str, float]
    consistency: Consistency | None = None
    costs: Mapping[str, float] = field(default_factory=dict)

    def of_round(self) -> dict[str, float]:
        """What the round's metrics take in: the costs, and what tells whether unlabeled samples took part at all."""
        return {name: value for name, value in self.metrics.items() if name == "train/mask_rate"} | dict(self.costs)


class Learner(Protocol):
    """Trains on the labeled set (and the rest of the pool), predicts for any sample; never sees val or test labels."""

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        """Train; deterministic on CPU given `seed`.

        `previous` is the folder of the last committed round, None in the first: a learner may start from the model
        there, or carry its consistency on.
        """
        ...

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        """Predictions of the last fit, in the order of `indices`; S = samples * views passes.

        A committee's passes are its members: S = members * views, whatever `samples` is.
        """
        ...

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        """Class probabilities (K, C) of `labels.labeled`, each by a network trained without it, and the classes (K,).

        With several labels a sample (K, 2, L) and (K, L); with masks those of a few labeled pixels of each. The labels
        are split into `folds` folds, class by class (one label a fold where there are fewer). The last fit stays.
        """
        ...

    def save(self, path: Path) -> None:
        """Write student and teacher of the last fit as safetensors."""
        ...

    def load(self, path: Path) -> None:
        """Restore what `save` wrote."""
        ...
