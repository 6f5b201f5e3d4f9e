"""Scores of pixels and their reduction to one number an image: in torch, so that maps never leave the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.registry import Count, Part, hyperparameters
from ..core.types import IGNORE
from .samples import FLOOR, ROUNDING


def least_confidence(probs_BSCHW: Tensor) -> Tensor:
    """`samples.least_confidence` of every pixel: (B, S, C, H, W) -> (B, H, W)."""
    return 1 - probs_BSCHW.mean(dim=1).amax(dim=1)


def margin(probs_BSCHW: Tensor) -> Tensor:
    """`samples.margin` of every pixel: (B, S, C, H, W) -> (B, H, W)."""
    first, second = probs_BSCHW.mean(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return 1 - (first - second)


def ratio(probs_BSCHW: Tensor) -> Tensor:
    """`samples.ratio` of every pixel: (B, S, C, H, W) -> (B, H, W)."""
    first, second = probs_BSCHW.mean(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return second / first


def entropy(probs_BSCHW: Tensor) -> Tensor:
    """`samples.entropy` of every pixel: (B, S, C, H, W) -> (B, H, W), in [0, 1]."""
    return _nats(probs_BSCHW.mean(dim=1)) / math.log(probs_BSCHW.shape[2])


def bald(probs_BSCHW: Tensor) -> Tensor:
    """`samples.bald` of every pixel: (B, S, C, H, W) -> (B, H, W), in [0, 1]."""
    mean_entropy: Tensor = torch.special.entr(probs_BSCHW).sum(dim=2).mean(dim=1)
    return ((_nats(probs_BSCHW.mean(dim=1)) - mean_entropy) / math.log(probs_BSCHW.shape[2])).clamp(0, 1)


def variation_ratio(probs_BSCHW: Tensor) -> Tensor:
    """`samples.variation_ratio` of every pixel: (B, S, C, H, W) -> (B, H, W)."""
    return 1 - _votes(probs_BSCHW).amax(dim=1)


def vote_entropy(probs_BSCHW: Tensor) -> Tensor:
    """`samples.vote_entropy` of every pixel: (B, S, C, H, W) -> (B, H, W), in [0, 1]."""
    return _nats(_votes(probs_BSCHW)) / math.log(probs_BSCHW.shape[2])


def mean_std(probs_BSCHW: Tensor) -> Tensor:
    """`samples.mean_std` of every pixel: (B, S, C, H, W) -> (B, H, W), in [0, 1/2]."""
    return _spread(probs_BSCHW.std(dim=1, correction=0).mean(dim=1))


def summed_variance(probs_BSCHW: Tensor) -> Tensor:
    """`samples.summed_variance` of every pixel: (B, S, C, H, W) -> (B, H, W)."""
    return _spread(probs_BSCHW.var(dim=1, correction=0).sum(dim=1))


def student_divergence(probs_BSCHW: Tensor) -> Tensor:
    """`samples.student_divergence` of every pixel: (B, S, C, H, W) -> (B, H, W); S are the teacher and the student."""
    teacher, student = (probs_BSCHW[:, s].clamp_min(FLOOR) for s in (0, -1))
    nats: Tensor = (teacher * (teacher.log() - student.log())).sum(dim=1).clamp_min(0)
    return _spread(nats)


def attention(probs_BSCHW: Tensor) -> Tensor:
    """`samples.attention` of every pixel: (B, S, C, H, W) -> (B, H, W), in [0, 1]."""
    overlap = (_votes(probs_BSCHW) > 0)[:, 1:].sum(dim=1) > 1
    return (2 * mean_std(probs_BSCHW) + entropy(probs_BSCHW) + overlap) / 3


PIXEL_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "least_confidence": least_confidence,
    "margin": margin,
    "ratio": ratio,
    "entropy": entropy,
    "bald": bald,
    "variation_ratio": variation_ratio,
    "vote_entropy": vote_entropy,
    "mean_std": mean_std,
    "summed_variance": summed_variance,
    "student_divergence": student_divergence,
    "attention": attention,
}
"""Scores of a pixel by name; the function of that name in `samples` is the same in NumPy."""


def by_part(values_BHW: Tensor, parts_BHW: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sums of values over the parts of each image, and pixels of the parts, both (B, count); `IGNORE` is no part."""
    sums = sums_by_part(torch.stack([values_BHW, torch.ones_like(values_BHW)], dim=1), parts_BHW, count)
    return sums[:, 0], sums[:, 1]


def sums_by_part(values_BKHW: Tensor, parts_BHW: Tensor, count: int) -> Tensor:
    """Sums (B, K, count) of K maps over the parts of each image; `IGNORE` is no part."""
    place = parts_BHW.long().where(parts_BHW != IGNORE, torch.full_like(parts_BHW, count, dtype=torch.long)).flatten(1)
    flat = values_BKHW.flatten(2)
    sums = flat.new_zeros(*flat.shape[:2], count + 1).scatter_add_(2, place.unsqueeze(1).expand(flat.shape), flat)
    return sums[..., :count]


def jensen_shannon(p_BCHW: Tensor, q_BCHW: Tensor) -> Tensor:
    """`samples.jensen_shannon` of each pixel: (B, C, H, W) twice -> (B, H, W), in [0, 1]."""
    between = _nats((p_BCHW + q_BCHW) / 2) - (_nats(p_BCHW) + _nats(q_BCHW)) / 2
    return (between / math.log(2)).clamp(0, 1)


def kullback_leibler(p_BCHW: Tensor, q_BCHW: Tensor) -> Tensor:
    """`samples.kullback_leibler` of each pixel: (B, C, H, W) twice -> (B, H, W), in [0, 1]."""
    nats = (torch.xlogy(p_BCHW, p_BCHW) - torch.xlogy(p_BCHW, q_BCHW)).sum(dim=1)
    return 1 - torch.exp(-nats.clamp(min=0))


DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "jensen_shannon": jensen_shannon,
    "kullback_leibler": kullback_leibler,
}
"""Distances of a pixel's predictions by name; the function of that name in `samples` is the same in NumPy."""


def _nats(probs_BCHW: Tensor) -> Tensor:
    nats: Tensor = torch.special.entr(probs_BCHW).sum(dim=1)
    return nats


def _spread(values: Tensor) -> Tensor:
    return values.where(values >= ROUNDING, values.new_zeros(()))


def _votes(probs_BSCHW: Tensor) -> Tensor:
    classes = probs_BSCHW.shape[2]
    return F.one_hot(probs_BSCHW.argmax(dim=2), classes).movedim(-1, 2).float().mean(dim=1)


class Reduction(Protocol):
    """From a map to a number: a frozen dataclass of its settings."""

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        """One number an image (B,) from values, predicted classes and valid pixels, each (B, H, W).

        Only valid pixels count; an image without any gives 0.
        """
        ...


@dataclass(frozen=True)
class Mean:
    """Mean over all pixels, as in the survey's code: mostly a number of the background."""

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        """See `Reduction`."""
        return _mean(values, valid)


@dataclass(frozen=True)
class Sum:
    """Sum over all pixels; larger images have larger sums."""

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        """See `Reduction`."""
        return (values * valid).sum(dim=(1, 2))


@dataclass(frozen=True)
class Foreground:
    """Mean over the pixels of predicted foreground; over all pixels where there are none."""

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        """See `Reduction`."""
        return _mean_of_part(values, predicted > 0, valid)


@dataclass(frozen=True)
@hyperparameters
class Boundary:
    """Mean over the pixels within `width` pixels of another predicted class; over all pixels where there are none."""

    width: Count = 2

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        """See `Reduction`. Padding is no class: the border of an image is no boundary."""
        side, far = 2 * self.width + 1, torch.finfo(torch.float32).max
        classes = predicted.float()
        highest = F.max_pool2d(classes.where(valid, classes.new_tensor(-far)), side, 1, self.width)
        lowest = -F.max_pool2d((-classes).where(valid, classes.new_tensor(-far)), side, 1, self.width)
        return _mean_of_part(values, highest > lowest, valid)


@dataclass(frozen=True)
@hyperparameters
class Top:
    """Mean over the `share` of the pixels with the largest values, at least one pixel."""

    share: Part = 0.1

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        """See `Reduction`."""
        sorted_values = values.where(valid, values.new_tensor(-math.inf)).flatten(1).sort(dim=1, descending=True).values
        count = (self.share * valid.sum(dim=(1, 2)).double()).round().clamp(min=1)
        place = torch.arange(sorted_values.shape[1], device=values.device)
        is_top = (place < count[:, None]) & sorted_values.isfinite()
        return _mean(sorted_values.where(is_top, sorted_values.new_zeros(())).unsqueeze(1), is_top.unsqueeze(1))


@dataclass(frozen=True)
class Balanced:
    """Mean over the predicted classes of the mean over its pixels: small structures count like large ones."""

    def __call__(self, values: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
        """See `Reduction`."""
        classes = int(predicted.max()) + 1
        flat = predicted.where(valid, predicted.new_tensor(classes)).flatten(1)
        sums = values.new_zeros(len(values), classes + 1).scatter_add_(1, flat, values.flatten(1))
        counts = torch.zeros_like(sums).scatter_add_(1, flat, torch.ones_like(values).flatten(1))
        means, present = (sums / counts.clamp(min=1))[:, :classes], counts[:, :classes] > 0
        return (means * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)


REDUCTIONS: dict[str, type[Reduction]] = {
    "mean": Mean,
    "sum": Sum,
    "foreground": Foreground,
    "boundary": Boundary,
    "top": Top,
    "balanced": Balanced,
}


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    return (values * valid).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)


def _mean_of_part(values: Tensor, part: Tensor, valid: Tensor) -> Tensor:
    part = part & valid
    has_part = part.any(dim=2).any(dim=1)
    return _mean(values, torch.where(has_part[:, None, None], part, valid))
