"""Parts that follow the model: boxes that it proposes before each query, in the folder of the round that asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ..core.files import read_arrays, write_arrays
from ..core.labels import LabelStore
from ..core.rundir import RunDir
from ..core.types import IGNORE, BoolArray, FloatArray, IntArray, LabelMap
from ..data.loaders import blocks
from ..errors import InputError
from .base import REGIONS, Predict, Regions
from .proposals import BoxProposer

BLOCK = 4096  # boxes at a time


@dataclass(frozen=True)
class ModelBoxes:
    """Boxes that the last model proposes, as the parts of images (`regions.Parts`); in round 0, windows of a grid.

    The windows of the grid have the largest side of a box. Each later round has up to `proposer.most` boxes an image,
    which hold no pixel that was asked about before; their numbers follow those of the round before. Boxes that nobody
    asked about end with their round. Only corners are stored, 32 bytes a box.

    Training is over when boxes are proposed, so it records its consistency on the windows of the grid; a box has the
    mean of that over its pixels.

    proposer  of the boxes, from predictions
    pool      (P,) samples that may be asked about
    frames    (N, 4) top, left, bottom and right of each picture in the square of `size` pixels; outside is padding
    run       directory of the boxes of all rounds
    device    of the proposals, a batch of images at a time
    """

    proposer: BoxProposer
    pool: IntArray
    frames: IntArray
    size: int
    run: RunDir
    device: torch.device

    fixed: ClassVar[bool] = False
    name: ClassVar[str] = REGIONS

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """See `Parts.draw`; round 0, the grid, needs no file."""
        if round == 0 or self._file(round).is_file():
            return
        boxes = np.zeros((len(self.frames), self.proposer.most, 4), dtype=np.int64)
        queried, no_boxes = self._boxes(labels), np.zeros((0, 4), dtype=np.int64)
        for batch in predict(self.open(labels)):
            blocked = np.stack([_mask_of(queried.get(i, no_boxes), self.size) for i in batch.indices.tolist()])
            probs, frames, blocked_pixels = (
                torch.from_numpy(array).to(self.device) for array in (batch.probs, self.frames[batch.indices], blocked)
            )
            boxes[batch.indices] = self.proposer.boxes(probs, frames, blocked_pixels).cpu().numpy()
        write_arrays(self._file(round), {"boxes": boxes})

    def at(self, round: int) -> Regions:
        """See `Parts.at`. InputError where the round has not been drawn."""
        boxes = self._of_round(round)
        sides = boxes[..., 2:] - boxes[..., :2]
        regions = Regions(partial(_maps, boxes, self.size), sides[..., 0] * sides[..., 1], self._first(round))
        if round == 0:
            return regions

        def from_record(values: FloatArray, indices: IntArray) -> FloatArray:
            grid, cells, means = self._grid(), values.reshape(len(boxes), -1), list[FloatArray]([np.empty(0)])
            for block in blocks(indices, BLOCK):
                rows = regions.samples(block)
                means.append(_mean_over(boxes[rows, regions.places(block)], grid[rows], cells[rows]))
            return np.concatenate(means)

        return replace(regions, previous=partial(self.at, round - 1), from_record=from_record)

    @property
    def record_regions(self) -> Regions:
        """See `Parts.record_regions`: the windows of the grid."""
        return self.at(0)

    def open(self, labels: LabelStore) -> IntArray:
        """See `Parts.open`."""
        pixels = (self.frames[:, 2:] - self.frames[:, :2]).prod(axis=1)
        for sample, boxes in self._boxes(labels, skipped=False).items():
            pixels[sample] -= (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum()
        samples: IntArray = self.pool[pixels[self.pool] > 0]
        return samples

    def query_masks(self, labels: LabelStore) -> Callable[[int], list[BoolArray]]:
        """See `Parts.query_masks`."""
        queried = self._boxes(labels)

        def of(sample: int) -> list[BoolArray]:
            return [_mask_of(box[None], self.size) for box in queried.get(sample, ())]

        return of

    def _boxes(self, labels: LabelStore, *, skipped: bool = True) -> dict[int, IntArray]:
        """Sample -> the boxes (n, 4) that were asked about, with or without those that were skipped."""
        boxes_of, rounds = dict[int, list[IntArray]](), dict[int, IntArray]()
        for a in labels.annotations:
            if a.region and (skipped or a.kind != "skip"):
                if a.round not in rounds:
                    rounds[a.round] = self._of_round(a.round)
                places = np.asarray(a.region) - self._first(a.round)
                boxes_of.setdefault(a.index, []).append(rounds[a.round][a.index, places])
        return {sample: np.concatenate(boxes) for sample, boxes in boxes_of.items()}

    def _of_round(self, round: int) -> IntArray:
        """Boxes (N, P, 4) of a round; zeros where there is none."""
        if round == 0:
            return self._grid()
        file = self._file(round)
        if not file.is_file():
            raise InputError(file, f"the boxes of round {round}", "no such file")
        boxes: IntArray = read_arrays(file)["boxes"]
        later = np.zeros((len(self.frames) - len(boxes), *boxes.shape[1:]), dtype=boxes.dtype)
        return np.concatenate([boxes, later])

    def _grid(self) -> IntArray:
        """Windows (N, P, 4) of the grid, row by row as in `fixed.Windows`, cut off where the picture ends."""
        side, across = self.proposer.largest, self._across()
        corner = np.stack(np.divmod(np.arange(across**2), across), axis=1) * side
        frames = self.frames[:, None]
        low = np.maximum(corner, frames[..., :2])
        high = np.minimum(corner + side, frames[..., 2:])
        valid = (high > low).all(axis=2) & np.isin(np.arange(len(frames)), self.pool)[:, None]
        boxes: IntArray = np.concatenate([low, high], axis=2) * valid[..., None]
        return boxes

    def _across(self) -> int:
        """Windows of the grid in a row."""
        return -(-self.size // self.proposer.largest)

    def _first(self, round: int) -> int:
        """The number of the first part of a round."""
        return 0 if round == 0 else self._across() ** 2 + (round - 1) * self.proposer.most

    def _file(self, round: int) -> Path:
        return self.run.round_path(round) / "boxes.npz"


def _mean_over(boxes_K4: IntArray, windows_KG4: IntArray, values_KG: FloatArray) -> FloatArray:
    """The mean (K,) over the pixels of each box of the value of the window in which the pixel lies."""
    inner = boxes_K4[:, None]
    sides = np.minimum(inner[..., 2:], windows_KG4[..., 2:]) - np.maximum(inner[..., :2], windows_KG4[..., :2])
    pixels = sides.clip(min=0).prod(axis=2)
    means: FloatArray = (pixels * values_KG).sum(axis=1) / pixels.sum(axis=1)
    return means


def _maps(boxes_NP4: IntArray, size: int, samples: IntArray) -> LabelMap:
    """The number of the box in which each pixel (B, S, S) of these samples lies; `IGNORE` in none."""
    maps: LabelMap = np.full((len(samples), size, size), IGNORE, dtype=np.uint8)
    for out, boxes in zip(maps, boxes_NP4[samples].tolist(), strict=True):
        for part, (top, left, bottom, right) in enumerate(boxes):
            out[top:bottom, left:right] = part
    return maps


def _mask_of(boxes_K4: IntArray, size: int) -> BoolArray:
    """Mask (S, S) of the pixels in any of the boxes."""
    mask = np.zeros((size, size), dtype=np.bool_)
    for top, left, bottom, right in boxes_K4.tolist():
        mask[top:bottom, left:right] = True
    return mask
