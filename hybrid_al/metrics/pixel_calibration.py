"""Calibration of the probabilities of pixels, summed image by image; and random samples of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.rng import derive
from ..core.types import IGNORE, FloatArray, IntArray, LabelMap, PredictionBatch
from .calibration import BINS, Calibration, confidence_by_bin, diagram, gaps_by_bin, logs

FEW = 64  # pixels of an image, where all would be too many


@dataclass(frozen=True)
class PixelCalibration:
    """Sums over pixels that give the metrics of their calibration; the sums of two sets of pixels add up.

    pixels   number of pixels
    largest  (3, BINS) by equal bins (lo, hi] of the largest probability: pixels, that probability, right predictions
    gaps     (C, BINS) by bins of the probability of each class: 1 where it is the true class else 0, less probability
    nll      negative log probability of the true class, cut at 1e-12
    brier    squared distance from the true class
    """

    pixels: int
    largest: FloatArray
    gaps: FloatArray
    nll: float
    brier: float

    @classmethod
    def of(cls, probs_PC: FloatArray, truth_P: IntArray) -> PixelCalibration:
        """The sums over these pixels."""
        probs = probs_PC.astype(np.float64)
        true_probs = np.take_along_axis(probs, truth_P[:, None], axis=1)[:, 0]
        is_true = truth_P[:, None] == np.arange(probs.shape[1])
        return cls(
            len(probs),
            confidence_by_bin(probs, truth_P, BINS),
            gaps_by_bin(probs, is_true, BINS),
            -float(np.log(np.maximum(true_probs, 1e-12)).sum()),
            float(np.square(is_true - probs).sum()),
        )

    @classmethod
    def of_images(
        cls, probs_BCHW: FloatArray, truth_BHW: LabelMap, calibration: Calibration | None = None
    ) -> PixelCalibration:
        """The sums over the labeled pixels of images, one image at a time, calibrated where there is a calibration."""
        images = []
        for maps, labels in zip(probs_BCHW, truth_BHW, strict=True):
            probs, truth = labeled_pixels(maps[None], labels[None])
            images.append(cls.of(probs if calibration is None else calibration.probs(logs(probs)), truth))
        return sum(images[1:], images[0])

    def __add__(self, other: PixelCalibration) -> PixelCalibration:
        """The sums over the pixels of both."""
        return PixelCalibration(
            self.pixels + other.pixels,
            self.largest + other.largest,
            self.gaps + other.gaps,
            self.nll + other.nll,
            self.brier + other.brier,
        )

    def metrics(self) -> dict[str, float]:
        """`nll`, `ece`, `classwise_ece` and `brier` of all pixels, as those of samples by `classification`.

        Empty where there are no pixels.
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
        """Reliability diagram (3, BINS), see `calibration.reliability`."""
        return diagram(self.largest)


def labeled_pixels(probs_BCHW: FloatArray, truth_BHW: LabelMap) -> tuple[FloatArray, IntArray]:
    """Probabilities (P, C) and classes (P,) of the labeled pixels."""
    labeled = truth_BHW != IGNORE
    return np.moveaxis(probs_BCHW, 1, -1)[labeled], truth_BHW[labeled].astype(np.int64)


def sample_pixels(batch: PredictionBatch, maps_BHW: LabelMap, most: int = FEW) -> tuple[FloatArray, IntArray]:
    """`labeled_pixels` of the mean over passes, at most `most` random ones of each image, the same at each call."""
    sample = np.full_like(maps_BHW, IGNORE).reshape(len(maps_BHW), -1)
    for row, labels, i in zip(sample, maps_BHW.reshape(sample.shape), batch.indices.tolist(), strict=True):
        pixels = derive(i, "a few pixels").permutation(np.flatnonzero(labels != IGNORE))[:most]
        row[pixels] = labels[pixels]
    return labeled_pixels(batch.probs.mean(axis=1), sample.reshape(maps_BHW.shape))
