"""What the loop asks of a learner: the only door between the decision plane and the learning plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .consistency import Consistency
from .labels import LabelStore
from .types import FloatArray, IntArray, PredictionBatch

Log = Callable[[Mapping[str, float], int], None]
"""(values by metric name, step) -> None; takes numbers out of a training to the trackers."""


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves behind besides the model: its last training metrics and the consistency it saw.

    spent  what its labels cost in one unit or another, for the round's metrics: `cost/pixels`, ...
    """

    metrics: Mapping[str, float]
    consistency: Consistency | None = None
    spent: Mapping[str, float] = field(default_factory=dict)


class Learner(Protocol):
    """Trains on the labeled set (and the rest of the pool), predicts for any sample; never sees val or test labels."""

    def fit(self, labels: LabelStore, *, round: int, seed: int, log: Log, previous: Path | None = None) -> FitResult:
        """Train; deterministic on CPU given `seed`.

        `previous` is the folder of the last committed round, for a learner that starts from its model or carries its
        consistency on; None where there is none.
        """
        ...

    def predict(self, indices: IntArray, samples: int = 1, views: int = 1) -> Iterator[PredictionBatch]:
        """Predictions of the last fit, in the order of `indices`; S = samples * views passes.

        Of a committee S = members * views, however many samples are asked for: its members are the passes.
        """
        ...

    def held_out(self, labels: LabelStore, *, round: int, seed: int, folds: int) -> tuple[FloatArray, IntArray]:
        """Class probabilities (K, C) of `labels.labeled`, each by a network trained without it, and the classes (K,).

        Of several labels a sample (K, 2, L) and (K, L); of masks those of a few known pixels of each. The labels are
        dealt into `folds` parts, class by class (a part each where there are fewer labels). The last fit stays.
        """
        ...

    def save(self, path: Path) -> None:
        """Write student and teacher of the last fit as safetensors."""
        ...

    def load(self, path: Path) -> None:
        """Restore what `save` wrote."""
        ...
