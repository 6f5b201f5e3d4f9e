"""How honest probabilities of pixels are: what `metrics` says of samples, added up by image; and a few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.rng import derive
from ..core.types import IGNORE, FloatArray, IntArray, LabelMap, PredictionBatch
from .calibration import BINS, Calibration, confidence_by_bin, diagram, gaps_by_bin, logs

FEW = 64  # pixels that stand for an image where all would be too many


@dataclass(frozen=True)
class Honesty:
    """Sums over pixels, from which their calibration is told; of two sets of pixels the sum is that of both together.

    pixels   their number
    largest  (3, BINS) by equal bins (lo, hi] of the largest probability: pixels, sum of it, and how many are right
    gaps     (C, BINS) by bins of each class's probability: sum of whether it is the true one, less the probability
    nll      sum of the negative log probability of the true class, cut at 1e-12
    brier    sum of the squared distances from the true class
    """

    pixels: int
    largest: FloatArray
    gaps: FloatArray
    nll: float
    brier: float

    @classmethod
    def of(cls, probs_PC: FloatArray, truth_P: IntArray) -> Honesty:
        """Of some pixels."""
        probs = probs_PC.astype(np.float64)
        own = np.take_along_axis(probs, truth_P[:, None], axis=1)[:, 0]
        true = truth_P[:, None] == np.arange(probs.shape[1])
        return cls(
            len(probs),
            confidence_by_bin(probs, truth_P, BINS),
            gaps_by_bin(probs, true, BINS),
            -float(np.log(np.maximum(own, 1e-12)).sum()),
            float(np.square(true - probs).sum()),
        )

    @classmethod
    def of_images(cls, probs_BCHW: FloatArray, truth_BHW: LabelMap, calibration: Calibration | None = None) -> Honesty:
        """Of the known pixels of some images, one at a time; of their calibrated probabilities where one is given."""
        each = []
        for maps, labels in zip(probs_BCHW, truth_BHW, strict=True):
            probs, truth = of_maps(maps[None], labels[None])
            each.append(cls.of(probs if calibration is None else calibration.probs(logs(probs)), truth))
        return sum(each[1:], each[0])

    def __add__(self, other: Honesty) -> Honesty:
        """That of both together."""
        return Honesty(
            self.pixels + other.pixels,
            self.largest + other.largest,
            self.gaps + other.gaps,
            self.nll + other.nll,
            self.brier + other.brier,
        )

    def metrics(self) -> dict[str, float]:
        """`nll`, `ece`, `classwise_ece` and `brier` of all pixels, as `metrics.classification` says them of samples.

        Nothing is said of no pixels.
        """
        if not self.pixels:
            return {}
        return {
            "nll": self.nll / self.pixels,
            "ece": float(np.abs(self.largest[2] - self.largest[1]).sum() / self.pixels),
            "classwise_ece": float(np.abs(self.gaps).sum() / (self.pixels * len(self.gaps))),
            "brier": self.brier / self.pixels,
        }

    def reliability(self) -> FloatArray:
        """What a reliability diagram shows (3, BINS), as `calibration.reliability` gives it."""
        return diagram(self.largest)


def of_maps(probs_BCHW: FloatArray, truth_BHW: LabelMap) -> tuple[FloatArray, IntArray]:
    """Probabilities (P, C) and classes (P,) of the pixels whose class is known."""
    known = truth_BHW != IGNORE
    return np.moveaxis(probs_BCHW, 1, -1)[known], truth_BHW[known].astype(np.int64)


def a_few(batch: PredictionBatch, maps_BHW: LabelMap, most: int = FEW) -> tuple[FloatArray, IntArray]:
    """As `of_maps`, of the mean over passes, but of so many random pixels an image at most: the same at each call."""
    some = np.full_like(maps_BHW, IGNORE).reshape(len(maps_BHW), -1)
    for kept, labels, i in zip(some, maps_BHW.reshape(some.shape), batch.indices.tolist(), strict=True):
        chosen = derive(i, "a few pixels").permutation(np.flatnonzero(labels != IGNORE))[:most]
        kept[chosen] = labels[chosen]
    return of_maps(batch.probs.mean(axis=1), some.reshape(maps_BHW.shape))
