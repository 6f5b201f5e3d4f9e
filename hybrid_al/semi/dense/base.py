"""Shared by objectives of segmentation, beside `semi.base`: batches and evidence of pixels, the supervised loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.types import IGNORE, IntArray
from ..base import Evidence, Labeled, Models, Step, ramp_up
from .boxes import Lines, tightness


@dataclass(frozen=True)
class UnlabeledPixels:
    """Weak and strong views (U, ...) of unlabeled images, at distinct manifest positions (U,).

    All views show the same place, pixel for pixel.
    valid   (U, H, W) False in padding, which no loss counts
    others  further strong views, for an objective that wants them
    parts   (U, H, W) the part of each pixel (`regions/`), where regions are parts of images
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

    extent  True where y shows the extent of structures: masks, also those of parts of an image; False for points,
            scribbles and boxes
    boxes   rows and columns of boxes, where boxes are the labels
    """

    extent: bool = True
    boxes: Lines | None = None


@dataclass(frozen=True)
class PixelEvidence(Evidence):
    """Class probabilities (U, C, H, W) of the two views, and the pixels (U, H, W) that are no padding."""

    valid: Tensor


class DenseObjective(Protocol):
    """As `semi.base.Objective`, for networks that give logits (B, C, H, W) and labels y (B, H, W).

    A pixel with the label `IGNORE` is unlabeled: it sends exactly no gradient through the supervised term.
    """

    @property
    def uses_unlabeled(self) -> bool:
        """Whether `step` uses unlabeled batches."""
        ...

    @property
    def strong_views(self) -> int:
        """Number of strong views of each unlabeled image that `step` uses."""
        ...

    @property
    def networks(self) -> int:
        """Number of networks that are trained together; with several, student and teacher are each a `Committee`."""
        ...

    def step(self, models: Models, labeled: Labeled, unlabeled: UnlabeledPixels | None, progress: float) -> Step:
        """The loss of one step; `progress` runs from 0 to 1 over the fit; `unlabeled` is None when none are left."""
        ...


def dice_ce(logits: Tensor, y: Tensor) -> Tensor:
    """Half cross-entropy, half soft Dice loss, of logits (B, C, H, W) and labels (B, H, W); 0 without labeled pixels.

    Cross-entropy is averaged over the labeled pixels. Dice is taken over the labeled pixels of the whole batch, since
    an image may not show a structure at all, and averaged over all classes but the background. As nnU-Net (Isensee et
    al., Nature Methods 2021, methods), except for the smoothing of 1: with it, the network learns that a class without
    pixels is absent.
    """
    labeled = y != IGNORE
    total = F.cross_entropy(logits, y, ignore_index=IGNORE, reduction="sum")
    entropy = total / labeled.sum().clamp(min=1)
    probs = logits.softmax(dim=1) * labeled.unsqueeze(1)
    truth = F.one_hot(y.where(labeled, torch.zeros_like(y)), logits.shape[1]).movedim(-1, 1) * labeled.unsqueeze(1)
    products, sums = (probs * truth).sum(dim=(0, 2, 3)), (probs + truth).sum(dim=(0, 2, 3))
    overlap = (2 * products[1:] + 1) / (sums[1:] + 1)
    return (entropy + (1 - overlap).mean()) / 2


def labeled_loss(logits: Tensor, labeled: Labeled) -> Tensor:
    """`dice_ce` of masks; of points, scribbles and boxes partial cross-entropy, the mean over the labeled pixels.

    With boxes, `tightness` is added, and the labeled pixels are those outside all boxes.

    Tang et al., Normalized Cut Loss for Weakly-Supervised CNN Segmentation (CVPR 2018), section 3. Dice depends on how
    far a structure extends, which a scribble does not show.
    """
    if not isinstance(labeled, LabeledPixels) or labeled.extent:
        return dice_ce(logits, labeled.y)
    total = F.cross_entropy(logits, labeled.y, ignore_index=IGNORE, reduction="sum")
    partial = total / (labeled.y != IGNORE).sum().clamp(min=1)
    return partial if labeled.boxes is None else partial + tightness(logits, labeled.boxes)


def supervised_step(models: Models, labeled: Labeled) -> Step:
    """`labeled_loss` alone: the step of every objective when no unlabeled samples are left."""
    loss = labeled_loss(models.student(labeled.x), labeled)
    return Step(loss, {"loss_labeled": loss.detach()})


def over_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values (U, H, W) over the pixels that are no padding."""
    return (values * valid).sum() / valid.sum().clamp(min=1)


@dataclass(frozen=True)
class CutMix:
    """CutMix of a batch: each image gets a box from its neighbour in a random ring, the same box in all.

    French et al., Semi-Supervised Semantic Segmentation Needs Strong, Varied Perturbations (BMVC 2020), section 3.3.
    One box for the batch, where the paper draws one an image: so every pixel of every image appears once, and `undo`
    can put logits back where they belong.
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
        """Maps (U, C, H, W) of mixed images, each pixel back at the image that it came from."""
        return torch.where(self.box, maps[self.order.argsort()], maps)


def mean_teacher_step(
    models: Models,
    labeled: Labeled,
    unlabeled: UnlabeledPixels | None,
    progress: float,
    *,
    weight: float,
    rampup: float,
    cutmix: bool,
) -> Step:
    """`labeled_loss` plus the squared distance of class probabilities; see `mean_teacher.DenseMeanTeacher`."""
    if unlabeled is None:
        return supervised_step(models, labeled)
    with torch.no_grad():
        target = models.teacher(unlabeled.weak).softmax(dim=1)
    cut = CutMix.draw(unlabeled.strong, models.rng) if cutmix else None
    images = unlabeled.strong if cut is None else cut.mix(unlabeled.strong)
    logits = models.student(torch.cat([labeled.x, images]))
    logits_labeled, logits_mixed = logits.split([len(labeled.x), len(images)])
    logits_strong = logits_mixed if cut is None else cut.undo(logits_mixed)
    loss_labeled = labeled_loss(logits_labeled, labeled)

    strong = logits_strong.softmax(dim=1)
    loss_unlabeled = over_valid((strong - target).square().sum(dim=1), unlabeled.valid)

    loss = loss_labeled + weight * ramp_up(progress, rampup) * loss_unlabeled
    logs = {"loss_labeled": loss_labeled.detach(), "loss_unlabeled": loss_unlabeled.detach()}
    return Step(loss, logs, PixelEvidence(unlabeled.indices, target, strong.detach(), unlabeled.valid))
