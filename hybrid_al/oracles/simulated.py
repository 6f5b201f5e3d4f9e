"""Simulated oracles: they hold the truth that came with the data, and answer at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.rundir import RunDir
from ..core.types import IGNORE, Annotation, AnnotationKind, BoolArray, IntArray, LabelMap
from ..data.answers import answer_file, read_answer, write_answer
from ..data.boxes import boxes, outside
from ..regions.base import Parts, Regions
from .weak import points, scribbles, strokes


@dataclass(frozen=True)
class SimulatedOracle:
    """Answers from the truth (N,) that came with the data; -1 is answered by skipping."""

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
        known = self.truth[indices] >= 0
        right = (predicted == self.truth[indices])[known]
        predicted = predicted[known]
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
    an answer that is the whole mask, else in the size of the network. Boxes lie beside the PNG file (`read_boxes`).
    """

    known: BoolArray
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
        if not self.known[index]:
            return Annotation(index, "skip", None, "simulated", round)
        labels = self.read(index)
        shown = self.answer.shown(labels)
        drawn = boxes(labels) if self.answer.boxes else None
        target = write_answer(self.run, round, index, shown, boxes=drawn)
        cost = max(self.answer.cost(labels, shown), 1)
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

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def _answer(self, regions: Regions, index: int, parts: tuple[int, ...], round: int) -> Annotation:
        asked = regions.mask(index, parts)
        shown = np.full(asked.shape, IGNORE, dtype=np.uint8)
        if self.known[index]:
            earlier = [file for r in range(round) if (file := answer_file(self.run, r, index)).is_file()]
            before = read_answer(earlier[-1]) if earlier else shown
            shown = np.where(asked, self.truth(np.asarray([index], dtype=np.int64))[0], before)
        if (shown == IGNORE).all():
            return Annotation(index, "skip", None, "simulated", round, region=parts)
        target = write_answer(self.run, round, index, shown)
        return Annotation(index, "mask", target, "simulated", round, cost=float(len(parts)), region=parts)
