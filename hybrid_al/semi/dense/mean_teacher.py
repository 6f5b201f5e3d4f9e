"""Mean teacher (Tarvainen & Valpola 2017) pixel by pixel: the student agrees with its own moving average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...core.registry import Amount, Share, hyperparameters
from ..base import Labeled, Models, Step
from .base import UnlabeledPixels, mean_teacher_step


@dataclass(frozen=True)
@hyperparameters
class DenseMeanTeacher:
    """`dice_ce` plus the squared distance of class probabilities, summed over classes; section 2 of the paper.

    The teacher sees the weak view, the student the strong one of the same pixels.
    weight   of the consistency term at the end of its ramp-up
    rampup   share of the fit over which the weight grows as exp(-5 (1 - t)^2)
    cutmix   exchange a box of the strong views between images; the teacher sees whole ones. French et al. (BMVC 2020),
             section 3: the classes of pixels have no gap of low density between them, so small changes of an image say
             little, and a mean teacher of masks wants a perturbation like this one
    """

    weight: Amount = 1.0
    rampup: Share = 0.4
    cutmix: bool = True
    uses_unlabeled: ClassVar[bool] = True
    strong_views: ClassVar[int] = 1
    networks: ClassVar[int] = 1

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """See `DenseObjective.step`; the teacher's probabilities carry no gradient."""
        return mean_teacher_step(
            models, labeled, unlabeled, progress, weight=self.weight, rampup=self.rampup, cutmix=self.cutmix
        )
