"""Simulated oracles: they hold the labels that came with the data, and answer at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.rundir import RunDir
from ..core.types import IGNORE, Annotation, AnnotationKind, BoolArray, IntArray, LabelMap
from ..data.answers import answer_file, read_answer, write_answer
from ..data.boxes import boxes, outside
from ..regions.base import Parts, Regions
from .weak import dominant, points, scribbles, strokes


@dataclass(frozen=True)
class SimulatedOracle:
    """Answers with the class `truth` (N,) that came with the data; where it is -1, skips."""

    truth: IntArray

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers at once."""
        return tuple(self._answer(i, int(self.truth[i]), round) for i in query.tolist())

    @staticmethod
    def _answer(index: int, target: int, round: int) -> Annotation:
        if target < 0:
            return Annotation(index, "skip", None, "simulated", round)
        return Annotation(index, "class", target, "simulated", round)

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`; for the dashboard alone."""
        labeled = self.truth[indices] >= 0
        right = (predicted == self.truth[indices])[labeled]
        predicted = predicted[labeled]
        if not len(right):
            return {}
        return {-1: float(right.mean()), **{int(c): float(right[predicted == c].mean()) for c in np.unique(predicted)}}


@dataclass(frozen=True)
class SimulatedLabels:
    """Answers with the labels that a sample has, from the truth (N, L) in {0, 1}.

    A sample of which one label is unknown (-1) is skipped: an answer says of every label whether it is there.
    """

    truth: IntArray

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers at once."""
        return tuple(self._answer(i, round) for i in query.tolist())

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def _answer(self, index: int, round: int) -> Annotation:
        labels = self.truth[index]
        if (labels < 0).any():
            return Annotation(index, "skip", None, "simulated", round)
        return Annotation(index, "classes", tuple(np.flatnonzero(labels).tolist()), "simulated", round)


@dataclass(frozen=True)
class Answer:
    """How an annotator answers about an image.

    kind          of the annotation
    pixel_labels  true label map -> label map of the answer, `IGNORE` where it says nothing
    cost          (true label map, label map of the answer) -> clicks or strokes; an answer costs at least 1
    boxes         whether the answer has boxes around structures, which no label map can hold
    """

    kind: AnnotationKind
    pixel_labels: Callable[[LabelMap], LabelMap]
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
    """Answers from the masks that came with the data, as PNG files in the run directory; skips where there is none.

    Boxes lie beside the PNG file (`read_boxes`).

    has_mask  (N,) whether a sample has a mask that may be given
    read      position -> label map: in the image's own pixels for whole masks, else in the size of the network
    """

    has_mask: BoolArray
    read: Callable[[int], LabelMap]
    run: RunDir
    answer: Answer = ANSWERS["mask"]

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; answers at once. `target` is the path of the file, relative to the run directory."""
        return tuple(self._answer(i, round) for i in query.tolist())

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def _answer(self, index: int, round: int) -> Annotation:
        if not self.has_mask[index]:
            return Annotation(index, "skip", None, "simulated", round)
        labels = self.read(index)
        pixel_labels = self.answer.pixel_labels(labels)
        rows = boxes(labels) if self.answer.boxes else None
        target = write_answer(self.run, round, index, pixel_labels, boxes=rows)
        cost = max(self.answer.cost(labels, pixel_labels), 1)
        return Annotation(index, self.answer.kind, target, "simulated", round, cost=float(cost))


@dataclass(frozen=True)
class SimulatedRegions:
    """Answers with regions of the masks, in the size of the network; a file holds the earlier answers of a sample too.

    has_mask  (N,) whether a sample has a mask that may be given
    truth     positions (B,) -> label maps (B, S, S)
    click     whether an answer is a click: the class of most pixels of a region, for all of it
    """

    has_mask: BoolArray
    truth: Callable[[IntArray], LabelMap]
    regions: Parts
    run: RunDir
    click: bool = False

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; a query is of regions, an annotation of a sample with the parts asked about."""
        regions = self.regions.at(round)
        return tuple(self._answer(regions, i, parts, round) for i, parts in regions.by_sample(query).items())

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def _answer(self, regions: Regions, index: int, parts: tuple[int, ...], round: int) -> Annotation:
        mask = regions.mask(index, parts)
        label_map = np.full(mask.shape, IGNORE, dtype=np.uint8)
        if self.has_mask[index]:
            files = [file for r in range(round) if (file := answer_file(self.run, r, index)).is_file()]
            earlier_map = read_answer(files[-1]) if files else label_map
            true_map = self.truth(np.asarray([index], dtype=np.int64))[0]
            if self.click:
                true_map = dominant(true_map, [regions.mask(index, (part,)) for part in parts])
            label_map = np.where(mask, true_map, earlier_map)
        if (label_map == IGNORE).all():
            return Annotation(index, "skip", None, "simulated", round, region=parts)
        target = write_answer(self.run, round, index, label_map)
        kind: AnnotationKind = "point" if self.click else "mask"
        return Annotation(index, kind, target, "simulated", round, cost=float(len(parts)), region=parts)
