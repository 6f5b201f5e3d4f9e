"""Holdouts: the labels of val and test, which only evaluate the learner and never train it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

import numpy as np

from ..core.learner import Learner
from ..core.manifest import Manifest, Split
from ..core.types import IGNORE, BoolArray, FloatArray, IntArray, LabelMap
from .calibration import Calibration, logs, reliability
from .classification import BY_LABEL, as_questions, classification, multilabel
from .domains import Parts, rows_by_part
from .operating import confusion, dice_of
from .pixel_calibration import PixelCalibration, sample_pixels
from .segmentation import mean_structures, structures


@dataclass(frozen=True)
class Evaluation:
    """Metrics `<split>/<metric>`, and a reliability diagram (3, bins) of each split (see `calibration.reliability`).

    Calibrated probabilities have `<split>/<metric>_calibrated` and `<split>_calibrated`.

    answers  what was said of each sample, by `<split>/<name>`: `indices` (K,), and of one class a sample `probs` (K, C)
             and `truth` (K,), of several labels `probs` (K, L) of yes and `truth` (K, L), of masks `dice` (K, C - 1) of
             each structure, nan where there is none, and `confusion` (C, C) of all known pixels, true by predicted
    """

    metrics: dict[str, float]
    reliability: dict[str, FloatArray]
    answers: dict[str, FloatArray | IntArray] = field(default_factory=dict)


class Holdout(Protocol):
    """The labels of val and test: they only evaluate the learner and never train it."""

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Probabilities and truth where a split has labels, in the form of `Learner.held_out`."""
        ...

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Evaluation:
        """The evaluation of each split that has labels; also calibrated, except for the split `fitted_on`."""
        ...


CALIBRATED = ("nll", "ece", "classwise_ece", "brier")


@dataclass(frozen=True)
class ClassHoldout:
    """The classes (N,) of val and test, -1 where unknown; `parts` have metrics of their own."""

    manifest: Manifest
    truth: IntArray
    parts: Parts = field(default_factory=dict)

    def samples(self, split: Split) -> IntArray:
        """Labeled samples of a split (K,)."""
        where = self.manifest.indices(split)
        return where[self.truth[where] >= 0]

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Class probabilities (K, C) and classes (K,) of the labeled samples of a split."""
        where = self.samples(split)
        return np.concatenate([b.probs.mean(axis=1) for b in learner.predict(where)]), self.truth[where]

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Evaluation:
        """See `Holdout.evaluate`, with the metrics of `classification`."""
        evaluation = Evaluation({}, {})
        for split in ("val", "test"):
            if not len(self.samples(split)):
                continue
            probs, truth = self.answers(learner, split)
            evaluation.metrics.update(
                {f"{split}/{name}": value for name, value in classification(probs, truth).items()}
            )
            for part, rows in rows_by_part(self.samples(split), self.parts):
                metrics = classification(probs[rows], truth[rows])
                evaluation.metrics.update({f"{part}/{split}/{name}": value for name, value in metrics.items()})
            evaluation.reliability[split] = reliability(probs, truth)
            evaluation.answers.update(_answers(split, indices=self.samples(split), probs=_small(probs), truth=truth))
            if calibration is not None and split != fitted_on:
                calibrated = calibration.probs(logs(probs))
                metrics = classification(calibrated, truth)
                evaluation.metrics.update({f"{split}/{name}_calibrated": metrics[name] for name in CALIBRATED})
                evaluation.reliability[f"{split}_calibrated"] = reliability(calibrated, truth)
        return evaluation


SPLITS: tuple[Split, ...] = ("val", "test")


BY_LABEL_CALIBRATED = ("ece", "brier")


@dataclass(frozen=True)
class LabelHoldout:
    """The labels (N, L) of val and test, -1 where unknown; `parts` have metrics of their own, means over the labels."""

    manifest: Manifest
    classes: tuple[str, ...]
    truth: IntArray
    parts: Parts = field(default_factory=dict)

    def samples(self, split: Split) -> IntArray:
        """Samples (K,) of a split with at least one known label."""
        rows = self.manifest.indices(split)
        return rows[(self.truth[rows] >= 0).any(axis=1)]

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Probabilities of no and yes (K, 2, L) and labels (K, L) of the `samples` of a split."""
        rows = self.samples(split)
        return np.concatenate([b.probs.mean(axis=1) for b in learner.predict(rows)]), self.truth[rows]

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Evaluation:
        """See `Holdout.evaluate`, with the metrics of `multilabel`.

        With a calibration, ECE and Brier score come label by label too. The reliability diagram is that of all known
        labels together, each a question of two classes.
        """
        evaluation, by_label = (
            Evaluation({}, {}),
            BY_LABEL if calibration is None else (*BY_LABEL, *BY_LABEL_CALIBRATED),
        )
        for split in SPLITS:
            if not len(self.samples(split)):
                continue
            probs, truth = self.answers(learner, split)
            metrics = multilabel(probs[:, 1], truth, self.classes, by_label=by_label)
            evaluation.metrics.update({f"{split}/{name}": value for name, value in metrics.items()})
            for part, of in rows_by_part(self.samples(split), self.parts):
                metrics = multilabel(probs[of, 1], truth[of], self.classes, by_label=())
                evaluation.metrics.update({f"{part}/{split}/{name}": value for name, value in metrics.items()})
            evaluation.reliability[split] = reliability(*as_questions(probs[:, 1], truth))
            rows = self.samples(split)
            evaluation.answers.update(_answers(split, indices=rows, probs=_small(probs[:, 1]), truth=truth))
            if calibration is not None and split != fitted_on:
                calibrated = calibration.probs(logs(probs))[:, 1]
                for name, value in multilabel(calibrated, truth, self.classes, by_label=BY_LABEL_CALIBRATED).items():
                    metric, slash, label = name.partition("/")
                    if metric in CALIBRATED:
                        evaluation.metrics[f"{split}/{metric}_calibrated{slash}{label}"] = value
                evaluation.reliability[f"{split}_calibrated"] = reliability(*as_questions(calibrated, truth))
        return evaluation


def _answers(split: str, **arrays: FloatArray | IntArray) -> dict[str, FloatArray | IntArray]:
    return {f"{split}/{name}": values for name, values in arrays.items()}


def _small(probs: FloatArray) -> FloatArray:
    return probs.astype(np.float32)


@dataclass(frozen=True)
class MaskHoldout:
    """The masks of val and test.

    classes   names, the background first
    has_mask  (N,) whether a sample has a mask
    truth     positions (B,) -> label maps (B, S, S) in the size of the network, `IGNORE` where the class is not known
    spacing   (N, 3) in that size, from slice to slice, row to row and column to column: in millimetres where the data
              gives it, else in the image's own pixels and slices
    parts     have metrics of their own, of structures but not of pixels
    """

    manifest: Manifest
    classes: tuple[str, ...]
    has_mask: BoolArray
    truth: Callable[[IntArray], LabelMap]
    spacing: FloatArray
    parts: Parts = field(default_factory=dict)

    def samples(self, split: Split) -> IntArray:
        """Samples (K,) of a split that have a mask, slices of a volume one after another."""
        where = self.manifest.indices(split)
        where = where[self.has_mask[where]]
        return np.asarray(sorted(where.tolist(), key=lambda i: (self._image_of(i), self.manifest.z[i])), dtype=np.int64)

    def answers(self, learner: Learner, split: Split) -> tuple[FloatArray, IntArray]:
        """Class probabilities (K, C) and classes (K,) of a sample of each image's pixels (`sample_pixels`)."""
        pixels = [sample_pixels(batch, self.truth(batch.indices)) for batch in learner.predict(self.samples(split))]
        return np.concatenate([probs for probs, _ in pixels]), np.concatenate([truth for _, truth in pixels])

    def evaluate(self, learner: Learner, calibration: Calibration | None = None, *, fitted_on: str = "") -> Evaluation:
        """See `Holdout.evaluate`, with `segmentation.mean_structures` and, of pixels, `PixelCalibration.metrics`.

        Structures are measured in images, or in whole volumes where samples are slices, one of them held at a time.
        Only the metrics of pixels have calibrated ones too.
        """
        evaluation = Evaluation({}, {})
        for split in SPLITS:
            rows, calibrations = self.samples(split), dict[str, Calibration | None]({"": None})
            if calibration is not None and split != fitted_on:
                calibrations["_calibrated"] = calibration
            if len(rows):
                metrics, pixels, counts = self._split(learner, split, rows, calibrations)
                evaluation.answers.update(_answers(split, indices=rows, **counts))
                evaluation.metrics.update(metrics)
                evaluation.reliability.update(
                    {f"{split}{suffix}": total.reliability() for suffix, total in pixels.items()}
                )
        return evaluation

    def _split(
        self, learner: Learner, split: Split, rows: IntArray, calibrations: Mapping[str, Calibration | None]
    ) -> tuple[dict[str, float], dict[str, PixelCalibration], dict[str, FloatArray | IntArray]]:
        """The metrics of a split, the sums over its pixels by each calibration, and confusion and Dice of `answers`."""
        pixels, confusions = {suffix: list[PixelCalibration]() for suffix in calibrations}, list[IntArray]()

        def collect(probs: FloatArray, truth: LabelMap) -> None:
            labels = probs.argmax(axis=1)
            for t, p in zip(truth, labels, strict=True):
                confusions.append(confusion(t[t != IGNORE], p[t != IGNORE], len(self.classes)))
            for suffix, calibration in calibrations.items():
                pixels[suffix].append(PixelCalibration.of_images(probs, truth, calibration))

        images, first = list[FloatArray](), list[int]()
        for samples, predicted, truth in self._images(learner, rows, collect):
            images.append(self._structures(samples, predicted, truth))
            first.append(samples[0])
        structures = mean_structures(images, self.classes)
        metrics = {f"{split}/{name}": value for name, value in structures.items()}
        for part, of in rows_by_part(np.asarray(first, dtype=np.int64), self.parts):
            values = mean_structures([images[i] for i in np.flatnonzero(of)], self.classes)
            metrics |= {f"{part}/{split}/{name}": value for name, value in values.items()}
        totals = {suffix: sum(sums[1:], sums[0]) for suffix, sums in pixels.items()}
        for suffix, total in totals.items():
            metrics |= {f"{split}/{name}{suffix}": value for name, value in total.metrics().items()}
        counts_KCC = np.stack(confusions)
        return metrics, totals, {"confusion": counts_KCC.sum(axis=0), "dice": dice_of(counts_KCC)}

    def _image_of(self, index: int) -> str:
        return self.manifest.paths[index] if self.manifest.z[index] >= 0 else self.manifest.ids[index]

    def _images(
        self, learner: Learner, rows: IntArray, collect: Callable[[FloatArray, LabelMap], None]
    ) -> Iterator[tuple[list[int], list[LabelMap], list[LabelMap]]]:
        """(samples, predicted and true label maps) of each image or volume; `collect` gets all probabilities."""

        def streamed() -> Iterator[tuple[int, LabelMap, LabelMap]]:
            for batch in learner.predict(rows):
                probs, truth = batch.probs.mean(axis=1), self.truth(batch.indices)
                collect(probs, truth)
                labels = probs.argmax(axis=1).astype(np.uint8)
                yield from zip(batch.indices.tolist(), labels, truth, strict=True)

        for _, slices in groupby(streamed(), key=lambda slice_: self._image_of(slice_[0])):
            samples, predicted, truth = zip(*slices, strict=True)
            yield list(samples), list(predicted), list(truth)

    def _structures(
        self, samples: Sequence[int], predicted: Sequence[LabelMap], truth: Sequence[LabelMap]
    ) -> FloatArray:
        spacing = self.spacing[samples[0]]
        if self.manifest.z[samples[0]] < 0:
            return structures(predicted[0], truth[0], len(self.classes), spacing[1:].tolist())
        z = np.asarray([self.manifest.z[i] for i in samples])
        shape = (int(z[-1] - z[0]) + 1, *truth[0].shape)
        predicted_volume, true_volume = np.zeros(shape, dtype=np.uint8), np.full(shape, IGNORE, dtype=np.uint8)
        predicted_volume[z - z[0]], true_volume[z - z[0]] = np.stack(predicted), np.stack(truth)
        return structures(predicted_volume, true_volume, len(self.classes), spacing.tolist())


def network_spacing(spacing: FloatArray, sizes: IntArray, size: int) -> FloatArray:
    """Spacing (N, 3) of images of height and width `sizes` (N, 2), resized so that the longer side is `size` pixels.

    Where it is unknown (nan), the image's own pixels and slices are the unit of length.
    """
    scale = sizes.max(axis=1) / size
    filled = np.where(np.isfinite(spacing), spacing, 1.0)
    return np.stack([filled[:, 0], filled[:, 1] * scale, filled[:, 2] * scale], axis=1)
