"""PLD-AL (MICCAI 2023): a mean teacher, and labels refined by it once the fit to the given ones slows down."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.registry import Amount, Part, Share, hyperparameters
from ...core.types import IGNORE, FloatArray
from ..base import Labeled, Models, Step, without_dropout
from .base import UnlabeledPixels, mean_teacher_step

CHECKPOINTS = 20  # of a fit: the curve has a point at each
BATCHES = 3  # whose fit makes a point: each costs one more pass


@dataclass(frozen=True)
@hyperparameters
class PseudoLabelDivergence:
    """`DenseMeanTeacher`, and from some step on its teacher's classes where it is sure, in the place of given labels.

    That step is the first checkpoint at which the student's fit to the given labels, their mean IoU so far, slows down:
    a curve a (1 - exp(-b t^c)) through the checkpoints has lost the share `slowdown` of its slope at the first.
    weight, rampup, cutmix  of the mean teacher
    slowdown                share of the slope; 1: labels stay
    confidence              of the teacher, from which its class replaces a given label
    """

    weight: Amount = 1.0
    rampup: Share = 0.4
    cutmix: bool = True
    slowdown: Part = 0.9
    confidence: Share = 0.8
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; the share of replaced labels is logged."""
        refined, share = labeled.y, labeled.x.new_zeros(())
        if self._slowed(models, labeled, progress):
            with torch.no_grad():
                confidence, classes = models.teacher(labeled.x).softmax(dim=1).max(dim=1)
            replaces = (confidence >= self.confidence) & (labeled.y != IGNORE) & (classes != labeled.y)
            refined = classes.where(replaces, labeled.y)
            share = replaces.sum() / (labeled.y != IGNORE).sum().clamp(min=1)
        labeled = replace(labeled, y=refined)
        step = mean_teacher_step(
            models, labeled, unlabeled, progress, weight=self.weight, rampup=self.rampup, cutmix=self.cutmix
        )
        return replace(step, logs={**step.logs, "refined": share})

    def _slowed(self, models: Models, labeled: Labeled, progress: float) -> bool:
        """Whether labels are refined from now on; once they are, they stay so for the fit."""
        memory, point = models.memory, min(int(progress * CHECKPOINTS), CHECKPOINTS - 1)
        if "slowed" not in memory:
            memory |= {"slowed": torch.tensor(False), "iou": torch.zeros(CHECKPOINTS, 2)}
        if memory["slowed"]:
            return True
        sums, counts = memory["iou"].T
        if counts[point] == 0 and counts.any():
            means = (sums / counts)[counts > 0].double().numpy()
            memory["slowed"] = torch.tensor(slope_lost(means) >= self.slowdown)
        if counts[point] < BATCHES:
            with torch.no_grad(), without_dropout(models.student):
                sums[point] += iou(models.student(labeled.x).argmax(dim=1), labeled.y)
            counts[point] += 1
        return bool(memory["slowed"])


def iou(predicted: Tensor, y: Tensor) -> float:
    """Intersection over union of all structures, no background, over the labeled pixels; 1 where neither shows any."""
    known = y != IGNORE
    either = ((predicted > 0) | (y > 0)) & known
    return float(((predicted == y) & either).sum() / either.sum()) if either.any() else 1.0


def slope_lost(values_T: FloatArray) -> float:
    """1 - slope at the last point / slope at the first, of a (1 - exp(-b t^c)) through points at t = 1, 2, ..., T.

    0 where there are fewer than four points, or no such curve fits them. Liu et al., Adaptive Early-Learning Correction
    for Segmentation from Noisy Annotations (CVPR 2022), section 3.1.
    """
    from scipy.optimize import OptimizeWarning, curve_fit  # takes half a second to import

    if len(values_T) < 4:
        return 0.0
    t = np.arange(1, len(values_T) + 1, dtype=np.float64)
    curve = lambda t, a, b, c: a * (1 - np.exp(-b * t**c))  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            (a, b, c), _ = curve_fit(curve, t, values_T, p0=(1, 1, 1), bounds=([1e-6] * 3, [1, 50, 5]))
        except (RuntimeError, ValueError):
            return 0.0
    slopes = a * b * c * t ** (c - 1) * np.exp(-b * t**c)
    return float(1 - slopes[-1] / slopes[0]) if slopes[0] > 0 else 0.0
