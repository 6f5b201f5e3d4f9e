"""Boxes that follow the model: in each image the best windows that overlap neither each other nor what is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..core.registry import Count, Part, hyperparameters
from ..errors import InputError
from ..scores.pixels import entropy
from ..scores.regions import impurity_maps, impurity_of
from .base import MOST_PARTS


@runtime_checkable
class BoxUnit(Protocol):
    """How a model's boxes are found: a frozen dataclass of its settings. A box is (top, left, bottom, right).

    `bottom` and `right` are the first row and column beyond. A window of side s around pixel r takes the rows from
    r - s // 2 on, so that an odd one has its pixel in the middle; what it has beyond the picture is cut off.
    """

    @property
    def most(self) -> int:
        """Boxes of an image at most."""
        ...

    @property
    def largest(self) -> int:
        """The longest side that a box may have; that of the windows of the grid, where there is no model yet."""
        ...

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, known_BHW: Tensor) -> Tensor:
        """The boxes (B, most, 4) of each image, best first, with no side of one pixel or more where there is none.

        frames  the box of each picture: beyond it lies padding
        known   pixels that no box may hold
        """
        ...


@dataclass(frozen=True)
@hyperparameters
class Ripu:
    """Windows of `side` around any pixel, by region impurity x prediction uncertainty.

    Xie et al., Towards Fewer Annotations: Active Learning via Region Impurity and Prediction Uncertainty for Domain
    Adaptive Semantic Segmentation (CVPR 2022), section 3.2: as `samples.ripu` of each window (of theirs the side is
    2 k + 1, and log C is log 19), the best first, without those that overlap a better one. Where no window is left in
    which two classes are predicted, all are 0 and the paper takes any: here the most uncertain ones follow.
    """

    side: Count = 8
    most: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 16

    @property
    def largest(self) -> int:
        """See `BoxUnit.largest`."""
        return self.side

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, known_BHW: Tensor) -> Tensor:
        """See `BoxUnit.boxes`."""
        shown = _within(frames_B4, known_BHW)
        sums = window_sums(impurity_maps(probs_BSCHW) * shown.unsqueeze(1), self.side)
        impurity, entropies, pixels = impurity_of(sums)
        uncertain = entropies / pixels
        score, least = impurity * uncertain, torch.finfo(uncertain.dtype).tiny
        values = score.where(score > 0, uncertain.clamp(least, 1).log())  # 0 or below, so after the others
        return greedily(values, frames_B4, known_BHW, side=self.side, most=self.most)


@dataclass(frozen=True)
@hyperparameters
class Peaks:
    """Boxes around peaks of the uncertainty map.

    The map is the entropy of the pixels, each the mean over the window of side `smooth` around it. A peak is its
    largest value; the box begins as the window of the smallest side around it and takes one more row or column,
    above, below, left and right in turn, while the mean over that is `share` of the peak or more, nothing known or
    already in a box is on it, and the largest side is not reached. Then the next peak, whose window overlaps no box.

    side   of the boxes, or (smallest, largest)
    most   boxes of an image at most
    """

    side: Count | tuple[Count, Count] = (4, 12)
    most: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 16
    share: Part = 0.5
    smooth: Count = 3

    def __post_init__(self) -> None:
        """Refuse a range the wrong way round."""
        if self.largest < self.smallest:
            raise InputError("Peaks.side", f"a largest side of {self.smallest} or more", str(self.largest))

    @property
    def smallest(self) -> int:
        """The side that a box begins with."""
        return self.side if isinstance(self.side, int) else self.side[0]

    @property
    def largest(self) -> int:
        """See `BoxUnit.largest`."""
        return self.side if isinstance(self.side, int) else self.side[1]

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, known_BHW: Tensor) -> Tensor:
        """See `BoxUnit.boxes`."""
        shown = _within(frames_B4, known_BHW)
        sums = window_sums(torch.stack([entropy(probs_BSCHW) * shown, shown.to(probs_BSCHW)], dim=1), self.smooth)
        values = sums[:, 0] / sums[:, 1].clamp(min=1)

        def grow(boxes_B4: Tensor, peaks_B: Tensor, taken_BHW: Tensor) -> Tensor:
            free = values.masked_fill(taken_BHW | ~shown, -math.inf)
            return grown(boxes_B4, free, self.share * peaks_B, self.largest)

        growing = grow if self.largest > self.smallest else None
        return greedily(values, frames_B4, known_BHW, side=self.smallest, most=self.most, grow=growing)


BOXES: dict[str, type[BoxUnit]] = {"ripu": Ripu, "peaks": Peaks}

Grow = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(boxes (B, 4), the values of their peaks (B,), pixels that are known or in a box (B, H, W)) -> larger boxes (B, 4)"""


def greedily(
    values_BHW: Tensor, frames_B4: Tensor, known_BHW: Tensor, *, side: int, most: int, grow: Grow | None = None
) -> Tensor:
    """The windows (B, most, 4) around the largest values that overlap neither a better one nor a known pixel.

    Best first, of equal values the first, row by row; zeros where there is none left. Memory: a few maps of the batch.
    """
    height, width = values_BHW.shape[1:]
    rows = torch.arange(height, device=values_BHW.device).view(1, -1, 1)
    columns = torch.arange(width, device=values_BHW.device).view(1, 1, -1)
    closed = (window_sums(known_BHW.to(values_BHW).unsqueeze(1), side)[:, 0] > 0) | ~_within(frames_B4, known_BHW)
    left, taken, found = values_BHW.masked_fill(closed, -math.inf), known_BHW.clone(), list[Tensor]()
    for _ in range(most):
        best, place = left.flatten(1).max(dim=1)
        corner = torch.stack([place // width, place % width], dim=1) - side // 2
        box = torch.cat([corner.maximum(frames_B4[:, :2]), (corner + side).minimum(frames_B4[:, 2:])], dim=1)
        box = box.where(best.isfinite().unsqueeze(1), torch.zeros_like(box))
        if grow is not None:
            box = grow(box, best, taken)
            taken |= _within(box, taken)
        top, start, bottom, end = (edge.view(-1, 1, 1) for edge in box.unbind(dim=1))
        near = (rows < bottom + side // 2) & (rows > top - side + side // 2)
        near = near & (columns < end + side // 2) & (columns > start - side + side // 2)
        left = left.masked_fill(near & (bottom > top), -math.inf)
        found.append(box)
    return torch.stack(found, dim=1)


def grown(boxes_B4: Tensor, free_BHW: Tensor, least_B: Tensor, largest: int) -> Tensor:
    """Boxes (B, 4) with each line beside them on which the mean of `free` is `least` or more, as far as `largest`.

    free  values of the pixels, -inf where no box may go; lines are tried one by one, above, below, left and right in
          turn, until none is taken. Boxes without pixels stay so.
    """
    # what a box can reach, with a frame of pixels where it may not go
    reach = 2 * largest + 1
    padded = F.pad(free_BHW, (reach, reach, reach, reach), value=-math.inf)
    offset = torch.arange(reach, device=free_BHW.device)
    origin = boxes_B4[:, :2] - largest
    at = origin.unsqueeze(2) + offset + reach  # (B, 2, reach) rows and columns in `padded`
    batch = torch.arange(len(boxes_B4), device=free_BHW.device)
    near = padded[batch.view(-1, 1, 1), at[:, 0].unsqueeze(2), at[:, 1].unsqueeze(1)]
    low, high = boxes_B4[:, :2] - origin, boxes_B4[:, 2:] - origin
    there = (high > low).all(dim=1)
    moved = there
    while bool(moved.any()):
        moved = torch.zeros_like(there)
        for axis, upward in ((0, True), (0, False), (1, True), (1, False)):
            maps = near if axis == 0 else near.transpose(1, 2)
            line = (low[:, axis] - 1 if upward else high[:, axis]).clamp(0, reach - 1)
            across = (offset >= low[:, 1 - axis, None]) & (offset < high[:, 1 - axis, None])
            on = maps[batch, line].where(across, free_BHW.new_zeros(()))
            goes = on.sum(dim=1) >= least_B * across.sum(dim=1)
            goes = goes & there & (high[:, axis] - low[:, axis] < largest)
            edge, step = (low, -1) if upward else (high, 1)
            edge[:, axis] += step * goes.long()
            moved = moved | goes
    return torch.cat([low + origin, high + origin], dim=1)


def window_sums(values_BKHW: Tensor, side: int) -> Tensor:
    """Sums (B, K, H, W) over the window of `side` around each pixel, which beyond the map holds nothing."""
    before = side // 2
    padded = F.pad(values_BKHW, (before, side - 1 - before, before, side - 1 - before))
    along = F.avg_pool2d(padded, (side, 1), stride=1, divisor_override=1)
    return F.avg_pool2d(along, (1, side), stride=1, divisor_override=1)


def _within(boxes_B4: Tensor, like_BHW: Tensor) -> Tensor:
    """Which pixels (B, H, W) lie in the box of each image."""
    top, left, bottom, right = (edge.view(-1, 1, 1) for edge in boxes_B4.unbind(dim=1))
    rows = torch.arange(like_BHW.shape[1], device=like_BHW.device).view(1, -1, 1)
    columns = torch.arange(like_BHW.shape[2], device=like_BHW.device).view(1, 1, -1)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
