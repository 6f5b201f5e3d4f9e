"""Who holds the truth where a sample has several labels that do not exclude each other: oracle, holdout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .calibration import Calibration, logs, reliability
from .core.learner import Learner
from .core.manifest import Manifest, Split
from .core.types import Annotation, FloatArray, IntArray
from .metrics import BY_LABEL, as_questions, multilabel
from .oracle import CALIBRATED, Measured

SPLITS: tuple[Split, ...] = ("val", "test")
HONEST = ("ece", "brier")


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

    def known(self, split: Split) -> IntArray:
        """Samples of a split of which a label is known (K,)."""
        rows = self.manifest.indices(split)
        return rows[(self.truth[rows] >= 0).any(axis=1)]

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Probabilities of no and yes (K, 2, L) and labels (K, L) of the samples of a split of which one is known."""
        rows = self.known(split)
        return np.concatenate([b.probs.mean(axis=1) for b in learner.predict(rows)]), self.truth[rows]

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Measured:
        """`<split>/<metric>` (see `metrics.multilabel`) of every split of which labels are known.

        Calibrated as well, but for the split that the calibration was fitted on; then the ECE and the Brier score are
        given label by label too. The reliability diagram is that of all known labels together, each a question of two
        classes.
        """
        found, shown = Measured({}, {}), BY_LABEL if calibration is None else (*BY_LABEL, *HONEST)
        for split in SPLITS:
            if not len(self.known(split)):
                continue
            probs, truth = self.answers(learner, split)
            measured = multilabel(probs[:, 1], truth, self.classes, by_label=shown)
            found.metrics.update({f"{split}/{name}": value for name, value in measured.items()})
            found.reliability[split] = reliability(*as_questions(probs[:, 1], truth))
            if calibration is not None and split != fitted_on:
                mended = calibration.probs(logs(probs))[:, 1]
                for name, value in multilabel(mended, truth, self.classes, by_label=HONEST).items():
                    metric, slash, label = name.partition("/")
                    if metric in CALIBRATED:
                        found.metrics[f"{split}/{metric}_calibrated{slash}{label}"] = value
                found.reliability[f"{split}_calibrated"] = reliability(*as_questions(mended, truth))
        return found
