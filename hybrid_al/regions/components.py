"""Boxes of adaptive size: around connected pieces of high uncertainty, at a threshold that is found by bisection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy.ndimage import label
from torch import Tensor

from ..core.registry import Count, Part, hyperparameters
from ..core.types import BoolArray, FloatArray
from ..scores.pixels import margin
from .base import MOST_PARTS

Box = tuple[int, int, int, int]
TRIALS = 10  # thresholds that are tried for a box, as published
SEEDS = 4  # times `most` peaks are looked at, as some have no box that is free
TOUCHING = np.ones((3, 3), dtype=np.int64)


@dataclass(frozen=True)
@hyperparameters
class Components:
    """Boxes around the connected piece of high uncertainty that holds each peak.

    Qiu et al., Adaptive Region Selection for Active Learning in Whole Slide Image Semantic Segmentation (MICCAI 2023),
    section 2: the uncertainty of a pixel is 1 - the difference of its two largest probabilities (for two classes the
    paper's 1 - 2 abs(p - 0.5)). A peak is the largest value left. Between the largest value of the image and the
    one that a share `tail` of its pixels lie above, a threshold is looked for in 10 halvings whose piece has a box with
    both sides between half and one and a half of `side`. Where there is none the box is the square of `side` around
    the peak. A box holds no pixel that is blocked or in a box already; a peak without a box is passed over.

    side  nominal, in pixels of the network's size
    most  the most boxes of an image
    tail  0.02 as published: thresholds from the 98th percentile up
    """

    side: Count = 16
    most: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 16
    tail: Part = 0.02

    @property
    def smallest(self) -> int:
        """The shortest side of a box that is no square of `side`."""
        return max(math.ceil(self.side / 2), 1)

    @property
    def largest(self) -> int:
        """See `BoxProposer.largest`."""
        return max(3 * self.side // 2, self.side)

    def boxes(self, probs_BSCHW: Tensor, frames_B4: Tensor, blocked_BHW: Tensor) -> Tensor:
        """See `BoxProposer.boxes`; one image at a time, on the CPU."""
        boxes = np.zeros((len(frames_B4), self.most, 4), dtype=np.int64)
        maps, blocked = margin(probs_BSCHW).double().cpu().numpy(), blocked_BHW.cpu().numpy()
        for b, frame in enumerate(frames_B4.tolist()):
            found = self._of_image(maps[b], frame, blocked[b].copy())
            boxes[b, : len(found)] = np.asarray(found).reshape(-1, 4)
        return torch.from_numpy(boxes)

    def _of_image(self, values_HW: FloatArray, frame: Box, blocked_HW: BoolArray) -> list[Box]:
        """The boxes of an image, best first; pixels outside of its frame and in boxes become blocked."""
        outside = np.ones_like(blocked_HW)
        outside[frame[0] : frame[2], frame[1] : frame[3]] = False
        blocked_HW |= outside
        if outside.all():
            return []
        low = float(np.quantile(values_HW[~outside], 1 - self.tail))
        closed, found = blocked_HW.copy(), list[Box]()
        for _ in range(SEEDS * self.most):
            if closed.all() or len(found) == self.most:
                break
            row, column = np.unravel_index(int(np.where(closed, -np.inf, values_HW).argmax()), closed.shape)
            box = self._box(values_HW, int(row), int(column), low, frame, blocked_HW)
            closed[row, column] = True
            if box is not None:
                found.append(box)
                for mask in (blocked_HW, closed):
                    mask[box[0] : box[2], box[1] : box[3]] = True
        return found

    def _box(
        self, values_HW: FloatArray, row: int, column: int, low: float, frame: Box, blocked_HW: BoolArray
    ) -> Box | None:
        """The box of a peak, None where none is free."""
        low, high = min(low, float(values_HW[row, column])), float(values_HW[row, column])
        for _ in range(TRIALS):
            threshold = (low + high) / 2
            pieces, _ = label((values_HW >= threshold) & ~blocked_HW, TOUCHING)
            rows, columns = (np.flatnonzero((pieces == pieces[row, column]).any(axis=axis)) for axis in (1, 0))
            box = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
            sides = box[2] - box[0], box[3] - box[1]
            if max(sides) > self.largest or (min(sides) >= self.smallest and _holds(blocked_HW, box)):
                low = threshold
            elif min(sides) < self.smallest:
                high = threshold
            else:
                return box
        top, left = row - self.side // 2, column - self.side // 2
        square = (
            max(top, frame[0]),
            max(left, frame[1]),
            min(top + self.side, frame[2]),
            min(left + self.side, frame[3]),
        )
        return None if _holds(blocked_HW, square) else square


def _holds(blocked_HW: BoolArray, box: Box) -> bool:
    """Whether a blocked pixel lies in a box."""
    return bool(blocked_HW[box[0] : box[2], box[1] : box[3]].any())
