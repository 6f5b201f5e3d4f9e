"""Holdouts: what is known of val and test, which the learner never sees and is only measured by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import numpy as np

from ..core.learner import Learner
from ..core.manifest import Manifest, Split
from ..core.types import IGNORE, BoolArray, FloatArray, IntArray, LabelMap
from .calibration import Calibration, logs, reliability
from .classification import BY_LABEL, as_questions, classification, multilabel
from .pixel_calibration import Honesty, a_few
from .segmentation import averaged, structures


@dataclass(frozen=True)
class Measured:
    """`<split>/<metric>`, and a reliability diagram (3, bins) of each split (see `calibration.reliability`).

    Those of calibrated probabilities are named `<split>/<metric>_calibrated` and `<split>_calibrated`.
    """

    metrics: dict[str, float]
    reliability: dict[str, FloatArray]


class Holdout(Protocol):
    """What is known of val and test: the learner never sees it, it is only measured by it."""

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Probabilities and truth of what is known of a split, as `Learner.held_out` gives them of the pool."""
        ...

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Measured:
        """Every split of which something is known; calibrated as well, but for the one that was `fitted_on`."""
        ...


CALIBRATED = ("nll", "ece", "classwise_ece", "brier")


@dataclass(frozen=True)
class ClassHoldout:
    """The val and test labels (N,), -1 where unknown: the learner never sees them, it is only measured by them."""

    manifest: Manifest
    truth: IntArray

    def known(self, split: Split) -> IntArray:
        """Labeled samples of a split (K,)."""
        where = self.manifest.indices(split)
        return where[self.truth[where] >= 0]

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Class probabilities (K, C) and classes (K,) of the labeled samples of a split."""
        where = self.known(split)
        return np.concatenate([b.probs.mean(axis=1) for b in learner.predict(where)]), self.truth[where]

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Measured:
        """Every split that has labels; calibrated as well, but for the split that the calibration was fitted on."""
        found = Measured({}, {})
        for split in ("val", "test"):
            if not len(self.known(split)):
                continue
            probs, truth = self.answers(learner, split)
            found.metrics.update({f"{split}/{name}": value for name, value in classification(probs, truth).items()})
            found.reliability[split] = reliability(probs, truth)
            if calibration is not None and split != fitted_on:
                mended = calibration.probs(logs(probs))
                after = classification(mended, truth)
                found.metrics.update({f"{split}/{name}_calibrated": after[name] for name in CALIBRATED})
                found.reliability[f"{split}_calibrated"] = reliability(mended, truth)
        return found


SPLITS: tuple[Split, ...] = ("val", "test")


HONEST = ("ece", "brier")


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


@dataclass(frozen=True)
class MaskHoldout:
    """The masks of val and test: the learner never sees them, it is only measured by them.

    classes  names, the background first
    known    (N,) whether a sample has a mask
    truth    positions (B,) -> label maps (B, S, S) in the size of the network, `IGNORE` where nobody knows
    spacing  (N, 3) of that size: from slice to slice, row to row and column to column, in millimetres where the data
             says it, else in the image's own pixels and slices
    """

    manifest: Manifest
    classes: tuple[str, ...]
    known: BoolArray
    truth: Callable[[IntArray], LabelMap]
    spacing: FloatArray

    def samples(self, split: Split) -> IntArray:
        """Samples of a split that have a mask, slices of a volume one after another (K,)."""
        where = self.manifest.indices(split)
        where = where[self.known[where]]
        return np.asarray(sorted(where.tolist(), key=lambda i: (self._unit(i), self.manifest.z[i])), dtype=np.int64)

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Class probabilities (K, C) and classes (K,) of a few known pixels of each image of a split (`a_few`)."""
        said = [a_few(batch, self.truth(batch.indices)) for batch in learner.predict(self.samples(split))]
        return np.concatenate([probs for probs, _ in said]), np.concatenate([truth for _, truth in said])

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Measured:
        """`<split>/<metric>` of every split that has masks: `segmentation.averaged`, and `Honesty.metrics` of pixels.

        Units are images, and whole volumes where samples are slices. One unit is held at a time. Pixels are measured
        calibrated as well, but for those of the split that the calibration was fitted on.
        """
        found = Measured({}, {})
        for split in ("val", "test"):
            rows, ways = self.samples(split), dict[str, Calibration | None]({"": None})
            if calibration is not None and split != fitted_on:
                ways["_calibrated"] = calibration
            if len(rows):
                metrics, pixels = self._split(learner, rows, ways)
                found.metrics.update({f"{split}/{name}": value for name, value in metrics.items()})
                found.reliability.update({f"{split}{way}": total.reliability() for way, total in pixels.items()})
        return found

    def _split(
        self, learner: Learner, rows: IntArray, ways: Mapping[str, Calibration | None]
    ) -> tuple[dict[str, float], dict[str, Honesty]]:
        """The metrics of a split, and how honest its pixels are, calibrated in each of the ways."""
        pixels = {way: list[Honesty]() for way in ways}

        def look(probs: FloatArray, truth: LabelMap) -> None:
            for way, calibration in ways.items():
                pixels[way].append(Honesty.of_images(probs, truth, calibration))

        metrics = averaged([self._measured(*unit) for unit in self._units(learner, rows, look)], self.classes)
        totals = {way: sum(each[1:], each[0]) for way, each in pixels.items()}
        for way, total in totals.items():
            metrics |= {f"{name}{way}": value for name, value in total.metrics().items()}
        return metrics, totals

    def _unit(self, index: int) -> str:
        return self.manifest.paths[index] if self.manifest.z[index] >= 0 else self.manifest.ids[index]

    def _units(
        self, learner: Learner, rows: IntArray, look: Callable[[FloatArray, LabelMap], None]
    ) -> Iterator[tuple[list[int], list[LabelMap], list[LabelMap]]]:
        """(samples, predicted and true label maps) of each image or volume; `look` is shown all probabilities."""

        def streamed() -> Iterator[tuple[int, LabelMap, LabelMap]]:
            for batch in learner.predict(rows):
                probs, truth = batch.probs.mean(axis=1), self.truth(batch.indices)
                look(probs, truth)
                labels = probs.argmax(axis=1).astype(np.uint8)
                yield from zip(batch.indices.tolist(), labels, truth, strict=True)

        for _, unit in groupby(streamed(), key=lambda one: self._unit(one[0])):
            samples, predicted, truth = zip(*unit, strict=True)
            yield list(samples), list(predicted), list(truth)

    def _measured(self, samples: Sequence[int], predicted: Sequence[LabelMap], truth: Sequence[LabelMap]) -> FloatArray:
        spacing = self.spacing[samples[0]]
        if self.manifest.z[samples[0]] < 0:
            return structures(predicted[0], truth[0], len(self.classes), spacing[1:].tolist())
        z = np.asarray([self.manifest.z[i] for i in samples])
        shape = (int(z[-1] - z[0]) + 1, *truth[0].shape)
        ours, theirs = np.zeros(shape, dtype=np.uint8), np.full(shape, IGNORE, dtype=np.uint8)
        ours[z - z[0]], theirs[z - z[0]] = np.stack(predicted), np.stack(truth)
        return structures(ours, theirs, len(self.classes), spacing.tolist())


def network_spacing(spacing: FloatArray, sizes: IntArray, size: int) -> FloatArray:
    """Spacing (N, 3) of images of own height and width (N, 2) once their longer side is `size` pixels.

    What is unknown (nan) is counted in the image's own pixels, and in slices.
    """
    scale = sizes.max(axis=1) / size
    known = np.where(np.isfinite(spacing), spacing, 1.0)
    return np.stack([known[:, 0], known[:, 1] * scale, known[:, 2] * scale], axis=1)
