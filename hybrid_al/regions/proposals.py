"""Boxes that a model proposes: the best windows of each image, without overlap and without pixels already asked."""

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
from .components import Components


@runtime_checkable
class BoxProposer(Protocol):
    """A way to propose boxes from predictions: a frozen dataclass. A box is (top, left, bottom, right).

    `bottom` and `right` are the first row and column outside. A window of side s around pixel r starts at row
    r - s // 2, so an odd one has its pixel in the middle; it is cut off where the picture ends.
    """

    @property
    def most(self) -> int:
        """The most boxes of an image."""
        ...

    @property
    def largest(self) -> int:
        """The longest side of a box; before there is a model, the side of the windows of the grid."""
        ...

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, blocked_BHW: Tensor) -> Tensor:
        """The boxes (B, most, 4) of each image, best first; a missing box has no pixels.

        frames   the box of each picture; outside it is padding
        blocked  pixels that no box may hold
        """
        ...


@dataclass(frozen=True)
@hyperparameters
class Ripu:
    """Windows of `side` around any pixel, by region impurity x prediction uncertainty.

    Xie et al., Towards Fewer Annotations: Active Learning via Region Impurity and Prediction Uncertainty for Domain
    Adaptive Semantic Segmentation (CVPR 2022), section 3.2: `samples.ripu` of each window (in the paper the side is
    2 k + 1, and log C is log 19), the best first, without those that overlap a better one. Where no window has two
    predicted classes, all scores are 0 and the paper takes any window; here the most uncertain ones follow.
    """

    side: Count = 8
    most: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 16

    @property
    def largest(self) -> int:
        """See `BoxProposer.largest`."""
        return self.side

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, blocked_BHW: Tensor) -> Tensor:
        """See `BoxProposer.boxes`."""
        valid = _within(frames_B4, blocked_BHW)
        sums = window_sums(impurity_maps(probs_BSCHW) * valid.unsqueeze(1), self.side)
        impurity, entropies, pixels = impurity_of(sums)
        uncertainty = entropies / pixels
        score, tiny = impurity * uncertainty, torch.finfo(uncertainty.dtype).tiny
        values = score.where(score > 0, uncertainty.clamp(tiny, 1).log())  # 0 or below, so after the others
        return greedy_windows(values, frames_B4, blocked_BHW, side=self.side, most=self.most)


@dataclass(frozen=True)
@hyperparameters
class Peaks:
    """Boxes around peaks of the uncertainty map.

    The map is the entropy of the pixels, averaged over the window of side `smooth` around each. A peak is the largest
    value left. Its box begins as the window of the smallest side around the peak. It grows by one row or column at a
    time, above, below, left and right in turn, while three things hold: the mean over the new pixels is at least
    `share` of the peak, none of them is blocked or in a box, and the largest side is not reached. The next peak is one
    whose window overlaps no box.

    side   of the boxes, or (smallest, largest)
    most   the most boxes of an image
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
        """The side with which a box begins."""
        return self.side if isinstance(self.side, int) else self.side[0]

    @property
    def largest(self) -> int:
        """See `BoxProposer.largest`."""
        return self.side if isinstance(self.side, int) else self.side[1]

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, blocked_BHW: Tensor) -> Tensor:
        """See `BoxProposer.boxes`."""
        valid = _within(frames_B4, blocked_BHW)
        sums = window_sums(torch.stack([entropy(probs_BSCHW) * valid, valid.to(probs_BSCHW)], dim=1), self.smooth)
        values = sums[:, 0] / sums[:, 1].clamp(min=1)

        def grow(boxes_B4: Tensor, peaks_B: Tensor, occupied_BHW: Tensor) -> Tensor:
            free = values.masked_fill(occupied_BHW | ~valid, -math.inf)
            return grow_boxes(boxes_B4, free, self.share * peaks_B, self.largest)

        growing = grow if self.largest > self.smallest else None
        return greedy_windows(values, frames_B4, blocked_BHW, side=self.smallest, most=self.most, grow=growing)


@dataclass(frozen=True)
@hyperparameters
class Points:
    """Single pixels: the most uncertain ones that lie at least `apart` rows or columns from one another.

    A click says the class of each (`oracle.answer: dominant`). They keep as far from the points of earlier rounds. As
    Tang et al., Active Pointly-Supervised Instance Segmentation (ECCV 2022), ask about points that are uncertain and
    spread out; there inside the boxes of objects, here anywhere, by the entropy of the class.

    most  the most points of an image
    grid  before there is a model: the side of the windows of the first round, each of which a click gives one class
    """

    most: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 16
    apart: Count = 4
    grid: Count = 8

    @property
    def largest(self) -> int:
        """See `BoxProposer.largest`: the grid's; a point has a side of 1."""
        return self.grid

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, blocked_BHW: Tensor) -> Tensor:
        """See `BoxProposer.boxes`."""
        side, width = 2 * self.apart - 1, blocked_BHW.shape[2]
        points = blocked_BHW & (window_sums(blocked_BHW.to(probs_BSCHW).unsqueeze(1), 3)[:, 0] < 2)
        near = window_sums(points.to(probs_BSCHW).unsqueeze(1), side)[:, 0] > 0
        scores = entropy(probs_BSCHW).masked_fill(near | ~_within(frames_B4, blocked_BHW) | blocked_BHW, -math.inf)
        boxes = list[Tensor]()
        for _ in range(self.most):
            best, place = scores.flatten(1).max(dim=1)
            corner = torch.stack([place // width, place % width], dim=1)
            box = torch.cat([corner, corner + best.isfinite().unsqueeze(1)], dim=1)
            scores = scores.masked_fill(_within(box + box.new_tensor([-1, -1, 1, 1]) * (side // 2), scores), -math.inf)
            boxes.append(box)
        return torch.stack(boxes, dim=1)


BOXES: dict[str, type[BoxProposer]] = {"ripu": Ripu, "peaks": Peaks, "points": Points, "components": Components}

Grow = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(boxes (B, 4), values of their peaks (B,), pixels that are blocked or in a box (B, H, W)) -> larger boxes (B, 4)"""


def greedy_windows(
    values_BHW: Tensor, frames_B4: Tensor, blocked_BHW: Tensor, *, side: int, most: int, grow: Grow | None = None
) -> Tensor:
    """The windows (B, most, 4) around the largest values that overlap neither a better one nor a blocked pixel.

    Best first; of equal values the first, row by row; zeros where no window is left. Memory: a few maps of the batch.
    """
    height, width = values_BHW.shape[1:]
    rows = torch.arange(height, device=values_BHW.device).view(1, -1, 1)
    columns = torch.arange(width, device=values_BHW.device).view(1, 1, -1)
    closed = (window_sums(blocked_BHW.to(values_BHW).unsqueeze(1), side)[:, 0] > 0) | ~_within(frames_B4, blocked_BHW)
    scores, occupied, boxes = values_BHW.masked_fill(closed, -math.inf), blocked_BHW.clone(), list[Tensor]()
    for _ in range(most):
        best, place = scores.flatten(1).max(dim=1)
        corner = torch.stack([place // width, place % width], dim=1) - side // 2
        box = torch.cat([corner.maximum(frames_B4[:, :2]), (corner + side).minimum(frames_B4[:, 2:])], dim=1)
        box = box.where(best.isfinite().unsqueeze(1), torch.zeros_like(box))
        if grow is not None:
            box = grow(box, best, occupied)
            occupied |= _within(box, occupied)
        top, start, bottom, end = (edge.view(-1, 1, 1) for edge in box.unbind(dim=1))
        overlaps = (rows < bottom + side // 2) & (rows > top - side + side // 2)
        overlaps = overlaps & (columns < end + side // 2) & (columns > start - side + side // 2)
        scores = scores.masked_fill(overlaps & (bottom > top), -math.inf)
        boxes.append(box)
    return torch.stack(boxes, dim=1)


def grow_boxes(boxes_B4: Tensor, free_BHW: Tensor, least_B: Tensor, largest: int) -> Tensor:
    """Boxes (B, 4) grown by adjacent rows and columns while the mean of `free` on these is at least `least`.

    free     values of the pixels, -inf where no box may grow; above, below, left and right are tried in turn until no
             side grows. Boxes without pixels stay so.
    largest  side of a box
    """
    # the pixels that a box can reach, in a frame of pixels where it may not grow
    reach = 2 * largest + 1
    padded = F.pad(free_BHW, (reach, reach, reach, reach), value=-math.inf)
    offset = torch.arange(reach, device=free_BHW.device)
    origin = boxes_B4[:, :2] - largest
    coordinates = origin.unsqueeze(2) + offset + reach  # (B, 2, reach) rows and columns in `padded`
    batch = torch.arange(len(boxes_B4), device=free_BHW.device)
    surroundings = padded[batch.view(-1, 1, 1), coordinates[:, 0].unsqueeze(2), coordinates[:, 1].unsqueeze(1)]
    low, high = boxes_B4[:, :2] - origin, boxes_B4[:, 2:] - origin
    exists = (high > low).all(dim=1)
    changed = exists
    while bool(changed.any()):
        changed = torch.zeros_like(exists)
        for axis, upward in ((0, True), (0, False), (1, True), (1, False)):
            maps = surroundings if axis == 0 else surroundings.transpose(1, 2)
            line = (low[:, axis] - 1 if upward else high[:, axis]).clamp(0, reach - 1)
            across = (offset >= low[:, 1 - axis, None]) & (offset < high[:, 1 - axis, None])
            line_values = maps[batch, line].where(across, free_BHW.new_zeros(()))
            grows = line_values.sum(dim=1) >= least_B * across.sum(dim=1)
            grows = grows & exists & (high[:, axis] - low[:, axis] < largest)
            edge, step = (low, -1) if upward else (high, 1)
            edge[:, axis] += step * grows.long()
            changed = changed | grows
    return torch.cat([low + origin, high + origin], dim=1)


def window_sums(values_BKHW: Tensor, side: int) -> Tensor:
    """Sums (B, K, H, W) over the window of `side` around each pixel; outside the map values are 0."""
    before = side // 2
    padded = F.pad(values_BKHW, (before, side - 1 - before, before, side - 1 - before))
    along = F.avg_pool2d(padded, (side, 1), stride=1, divisor_override=1)
    return F.avg_pool2d(along, (1, side), stride=1, divisor_override=1)


def _within(boxes_B4: Tensor, like_BHW: Tensor) -> Tensor:
    """Mask (B, H, W) of the pixels in the box of each image."""
    top, left, bottom, right = (edge.view(-1, 1, 1) for edge in boxes_B4.unbind(dim=1))
    rows = torch.arange(like_BHW.shape[1], device=like_BHW.device).view(1, -1, 1)
    columns = torch.arange(like_BHW.shape[2], device=like_BHW.device).view(1, 1, -1)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
