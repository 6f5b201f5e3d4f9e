"""Who holds the truth of segmentation: the oracle that answers with masks, and the holdout that measures label maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from .calibration import Calibration
from .core.learner import Learner
from .core.manifest import Manifest, Split
from .core.rundir import RunDir, write_atomic
from .core.types import IGNORE, Annotation, AnnotationKind, BoolArray, FloatArray, IntArray, LabelMap
from .data.answers import answer_file, box_file, from_png, write_answer
from .data.boxes import boxes, outside
from .mask_metrics import averaged, structures
from .oracle import Measured
from .oracles.weak import points, scribbles, strokes
from .pixel_honesty import Honesty, a_few
from .regions import Parts, Regions


@dataclass(frozen=True)
class Answer:
    """How an annotator answers about an image.

    kind   of the annotation
    shown  label map -> the label map of what is said of single pixels, `IGNORE` elsewhere
    cost   of the answer: label map and what is shown of it -> clicks, or strokes; an answer is at least 1
    boxes  whether the boxes around structures are said, which a label map cannot hold
    """

    kind: AnnotationKind
    shown: Callable[[LabelMap], LabelMap]
    cost: Callable[[LabelMap, LabelMap], int]
    boxes: bool = False


ANSWERS: dict[str, Answer] = {
    "mask": Answer("mask", lambda labels: labels, lambda *_: 1),
    "points": Answer("point", points, lambda _, shown: strokes(shown)),
    "scribbles": Answer("scribble", scribbles, lambda _, shown: strokes(shown)),
    "boxes": Answer("box", outside, lambda labels, _: 2 * len(boxes(labels)), boxes=True),
}


@dataclass(frozen=True)
class SimulatedMasks:
    """Answers from the masks that came with the data, as PNG files in the run directory; else by skipping.

    known (N,) whether a sample has a mask that may be given; read  position -> LabelMap, in the image's own pixels for
    an answer that is the whole mask, else in the size of the network. Boxes lie beside the PNG file (`box_file`).
    """

    known: BoolArray
    read: Callable[[int], LabelMap]
    run: RunDir
    answer: Answer = ANSWERS["mask"]

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers at once. `target` is the path of the file, relative to the run directory."""
        return tuple(self._answer(i, round) for i in query.tolist())

    def _answer(self, index: int, round: int) -> Annotation:
        if not self.known[index]:
            return Annotation(index, "skip", None, "simulated", round)
        labels = self.read(index)
        shown = self.answer.shown(labels)
        target, cost = write_answer(self.run, round, index, shown), max(self.answer.cost(labels, shown), 1)
        if self.answer.boxes:
            write_atomic(box_file(self.run.path / target), json.dumps(boxes(labels).tolist()))
        return Annotation(index, self.answer.kind, target, "simulated", round, cost=float(cost))


@dataclass(frozen=True)
class SimulatedRegions:
    """Answers with parts of the masks, in the size of the network; the file of an answer holds the earlier ones too.

    known (N,) whether a sample has a mask that may be given; truth  positions (B,) -> label maps (B, S, S).
    """

    known: BoolArray
    truth: Callable[[IntArray], LabelMap]
    regions: Parts
    run: RunDir

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; the query is of units, an annotation of a sample with the parts that were asked."""
        regions = self.regions.at(round)
        return tuple(self._answer(regions, i, parts, round) for i, parts in regions.by_sample(query).items())

    def _answer(self, regions: Regions, index: int, parts: tuple[int, ...], round: int) -> Annotation:
        asked = regions.covered(index, parts)
        shown = np.full(asked.shape, IGNORE, dtype=np.uint8)
        if self.known[index]:
            earlier = [file for r in range(round) if (file := answer_file(self.run, r, index)).is_file()]
            before = from_png(earlier[-1].read_bytes()) if earlier else shown
            shown = np.where(asked, self.truth(np.asarray([index], dtype=np.int64))[0], before)
        if (shown == IGNORE).all():
            return Annotation(index, "skip", None, "simulated", round, region=parts)
        target = write_answer(self.run, round, index, shown)
        return Annotation(index, "mask", target, "simulated", round, cost=float(len(parts)), region=parts)


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
        """`<split>/<metric>` of every split that has masks: `mask_metrics.averaged`, and `Honesty.metrics` of pixels.

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
