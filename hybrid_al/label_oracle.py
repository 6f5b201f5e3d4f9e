"""Who holds the truth where a sample has several labels that do not exclude each other: oracle, holdout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .calibration import Calibration, reliability
from .errors import InputError
from .learner import Learner
from .manifest import Manifest, Split
from .metrics import as_questions, multilabel
from .oracle import Measured
from .types import Annotation, FloatArray, IntArray

SPLITS: tuple[Split, ...] = ("val", "test")


@dataclass(frozen=True)
class SimulatedLabels:
    """Answers with the labels that a sample has, from the truth (N, L) in {0, 1}.

    A sample of which one label is unknown (-1) is skipped: an answer says of every label whether it is there.
    """

    truth: IntArray

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers at once."""
        return tuple(self._answer(i, round) for i in query.tolist())

    def _answer(self, index: int, round: int) -> Annotation:
        labels = self.truth[index]
        if (labels < 0).any():
            return Annotation(index, "skip", None, "simulated", round)
        return Annotation(index, "classes", tuple(np.flatnonzero(labels).tolist()), "simulated", round)


@dataclass(frozen=True)
class LabelHoldout:
    """The labels (N, L) of val and test, -1 where unknown: the learner never sees them, it is only measured by them."""

    manifest: Manifest
    classes: tuple[str, ...]
    truth: IntArray

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Samples have no class to calibrate by: InputError."""
        raise InputError("calibration", "none in a multilabel task", f"answers of {split}")

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Measured:
        """`<split>/<metric>` (see `metrics.multilabel`) of every split of which labels are known; none is calibrated.

        The reliability diagram is that of all known labels together, each a question of two classes.
        """
        found = Measured({}, {})
        for split in SPLITS:
            rows = self.manifest.indices(split)
            rows = rows[(self.truth[rows] >= 0).any(axis=1)]
            if not len(rows):
                continue
            probs = np.concatenate([b.probs.mean(axis=1) for b in learner.predict(rows)])[:, 1]
            truth = self.truth[rows]
            measured = multilabel(probs, truth, self.classes)
            found.metrics.update({f"{split}/{name}": value for name, value in measured.items()})
            found.reliability[split] = reliability(*as_questions(probs, truth))
        return found
