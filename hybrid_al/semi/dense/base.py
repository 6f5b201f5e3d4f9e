"""What objectives of segmentation share beside `semi.base`: batches and evidence of pixels, and the supervised loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.types import IGNORE, IntArray
from ..base import Evidence, Labeled, Models, Step
from .boxes import Lines, tightness


@dataclass(frozen=True)
class UnlabeledPixels:
    """Weak and strong views (U, ...) of unlabeled images, at distinct manifest positions (U,).

    Pixel for pixel all views show the same place. valid (U, H, W) is False in padding, which no loss counts. `others`
    are more strong views, for an objective that wants them; `parts` (U, H, W) the part of each pixel (`regions.py`),
    where parts of images are asked about.
    """

    indices: IntArray
    weak: Tensor
    strong: Tensor
    valid: Tensor
    others: tuple[Tensor, ...] = ()
    parts: Tensor | None = None


@dataclass(frozen=True)
class LabeledPixels(Labeled):
    """Weak views x (B, C, H, W) and label maps y (B, H, W).

    extent  whether they say how far structures extend, as masks do, also those of parts of an image; else they are
            points, scribbles or boxes
    boxes   rows and columns of boxes, where they are what is known of structures
    """

    extent: bool = True
    boxes: Lines | None = None


@dataclass(frozen=True)
class PixelEvidence(Evidence):
    """Class probabilities (U, C, H, W) of the two views, and the pixels (U, H, W) that are no padding."""

    valid: Tensor


class DenseObjective(Protocol):
    """As `semi.base.Objective`, for networks that give logits (B, C, H, W) and labels y (B, H, W).

    A label `IGNORE` is unknown: its pixel sends exactly no gradient through the supervised term.
    """

    @property
    def uses_unlabeled(self) -> bool:
        """Whether `step` wants unlabeled batches at all."""
        ...

    @property
    def strong_views(self) -> int:
        """Strong views that `step` wants of an unlabeled image."""
        ...

    @property
    def networks(self) -> int:
        """Networks that are trained together; of more than one, student and teacher are each a `Committee`."""
        ...

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """The loss of one step; `progress` runs from 0 to 1 over the fit; `unlabeled` is None when none are left."""
        ...


def dice_ce(logits: Tensor, y: Tensor) -> Tensor:
    """Half cross-entropy, half soft Dice loss, of logits (B, C, H, W) and labels (B, H, W); 0 where none is known.

    Cross-entropy is averaged over the known pixels. Dice is taken over the known pixels of the whole batch, as an image
    may not show a structure at all, and averaged over the classes but the background. As nnU-Net (Isensee et al.,
    Nature Methods 2021, methods) but for the smoothing 1, which lets a class that no pixel has be learned as absent.
    """
    known = y != IGNORE
    total = F.cross_entropy(logits, y, ignore_index=IGNORE, reduction="sum")
    entropy = total / known.sum().clamp(min=1)
    probs = logits.softmax(dim=1) * known.unsqueeze(1)
    truth = F.one_hot(y.where(known, torch.zeros_like(y)), logits.shape[1]).movedim(-1, 1) * known.unsqueeze(1)
    both, either = (probs * truth).sum(dim=(0, 2, 3)), (probs + truth).sum(dim=(0, 2, 3))
    overlap = (2 * both[1:] + 1) / (either[1:] + 1)
    return (entropy + (1 - overlap).mean()) / 2


def labeled_loss(logits: Tensor, labeled: Labeled) -> Tensor:
    """`dice_ce`; of points, scribbles and boxes partial cross-entropy, the mean over the known pixels.

    Of boxes `tightness` is added, and what is known by pixels is what lies outside of all.

    Tang et al., Normalized Cut Loss for Weakly-Supervised CNN Segmentation (CVPR 2018), section 3. Dice asks how far a
    structure extends, and that is what a scribble does not say.
    """
    if not isinstance(labeled, LabeledPixels) or labeled.extent:
        return dice_ce(logits, labeled.y)
    total = F.cross_entropy(logits, labeled.y, ignore_index=IGNORE, reduction="sum")
    partial = total / (labeled.y != IGNORE).sum().clamp(min=1)
    return partial if labeled.boxes is None else partial + tightness(logits, labeled.boxes)


def supervised_step(models: Models, labeled: Labeled) -> Step:
    """What every objective is where no unlabeled samples are left."""
    loss = labeled_loss(models.student(labeled.x), labeled)
    return Step(loss, {"loss_labeled": loss.detach()})


def over_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values (U, H, W) over the pixels that are no padding."""
    return (values * valid).sum() / valid.sum().clamp(min=1)


@dataclass(frozen=True)
class CutMix:
    """A box of each image is exchanged with that of the next one of a random ring, the same box in all.

    French et al., Semi-Supervised Semantic Segmentation Needs Strong, Varied Perturbations (BMVC 2020), section 3.3.
    One box for the batch, where the paper draws one an image: so every pixel of every image is seen once, and `undo`
    puts logits back where they belong.
    """

    order: Tensor
    box: Tensor

    @classmethod
    def draw(cls, like: Tensor, rng: np.random.Generator) -> CutMix:
        """A box of half the area of images (U, C, H, W), of any shape, and a ring."""
        u, _, h, w = like.shape
        tall = int(np.clip(round(h * math.exp(rng.uniform(math.log(0.5), 0))), 1, h))
        wide = int(np.clip(round(h * w / 2 / tall), 1, w))
        top, left = int(rng.integers(h - tall + 1)), int(rng.integers(w - wide + 1))
        ring = rng.permutation(u)
        order = np.empty(u, dtype=np.int64)
        order[ring] = np.roll(ring, 1)
        box = torch.zeros(h, w, dtype=torch.bool)
        box[top : top + tall, left : left + wide] = True
        return cls(torch.from_numpy(order).to(like.device), box.to(like.device))

    def mix(self, images: Tensor) -> Tensor:
        """The images (U, C, H, W), each with another's box."""
        return torch.where(self.box, images[self.order], images)

    def undo(self, maps: Tensor) -> Tensor:
        """What the mixed images gave (U, C, H, W), back at the images whose pixels they are."""
        return torch.where(self.box, maps[self.order.argsort()], maps)
