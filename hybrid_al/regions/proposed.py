"""Parts that follow the model: boxes that it draws before each query, kept in the folder of the round that asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ..core.labels import LabelStore
from ..core.rundir import RunDir, write_arrays
from ..core.types import IGNORE, BoolArray, FloatArray, IntArray, LabelMap
from ..data.loaders import blocks
from ..errors import InputError
from .base import REGIONS, Predict, Regions
from .proposals import BoxUnit

BLOCK = 4096  # boxes at a time


@dataclass(frozen=True)
class Following:
    """Parts of a pool's images (`regions.Parts`) that a model finds; before there is one, windows of a grid.

    The grid's windows have the largest side of a box. Each later round has the `unit.most` boxes of an image that its
    model finds best, around all that was asked about before; their numbers follow those of the round before. A box
    that nobody asked about is gone with its round. Corners are all that is kept, 32 bytes a box.

    Training, over when they are found, records how consistent it was on the windows of the grid; a box has the mean of
    that over its pixels.

    unit    how boxes are found
    pool    (P,) samples that may be asked about
    frames  (N, 4) top, left, bottom and right of each picture in the square of `size` pixels; beyond lies padding
    run     where rounds keep their boxes
    device  where they are looked for, a batch of images at a time
    """

    unit: BoxUnit
    pool: IntArray
    frames: IntArray
    size: int
    run: RunDir
    device: torch.device

    fixed: ClassVar[bool] = False
    name: ClassVar[str] = REGIONS

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """See `Parts.draw`; the grid needs no file."""
        if round == 0 or self._file(round).is_file():
            return
        found = np.zeros((len(self.frames), self.unit.most, 4), dtype=np.int64)
        given, none = self._boxes(labels), np.zeros((0, 4), dtype=np.int64)
        for batch in predict(self.open(labels)):
            known = np.stack([_covered(given.get(i, none), self.size) for i in batch.indices.tolist()])
            probs, frames, taken = (
                torch.from_numpy(array).to(self.device) for array in (batch.probs, self.frames[batch.indices], known)
            )
            found[batch.indices] = self.unit.boxes(probs, frames, taken).cpu().numpy()
        write_arrays(self._file(round), {"boxes": found})

    def at(self, round: int) -> Regions:
        """See `Parts.at`. InputError where the round has not been drawn."""
        boxes = self._of_round(round)
        sides = boxes[..., 2:] - boxes[..., :2]
        found = Regions(partial(_maps, boxes, self.size), sides[..., 0] * sides[..., 1], self._first(round))
        if round == 0:
            return found

        def recorded(values: FloatArray, units: IntArray) -> FloatArray:
            grid, cells, means = self._grid(), values.reshape(len(boxes), -1), list[FloatArray]([np.empty(0)])
            for block in blocks(units, BLOCK):
                rows = found.samples(block)
                means.append(_mean_over(boxes[rows, found.places(block)], grid[rows], cells[rows]))
            return np.concatenate(means)

        return replace(found, before=partial(self.at, round - 1), recorded=recorded)

    @property
    def recordable(self) -> Regions:
        """See `Parts.recordable`: the windows of the grid."""
        return self.at(0)

    def open(self, labels: LabelStore) -> IntArray:
        """See `Parts.open`."""
        left = (self.frames[:, 2:] - self.frames[:, :2]).prod(axis=1)
        for sample, boxes in self._boxes(labels, skipped=False).items():
            left[sample] -= (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum()
        found: IntArray = self.pool[left[self.pool] > 0]
        return found

    def asked(self, labels: LabelStore) -> Callable[[int], list[BoolArray]]:
        """See `Parts.asked`."""
        given = self._boxes(labels)

        def of(sample: int) -> list[BoolArray]:
            return [_covered(box[None], self.size) for box in given.get(sample, ())]

        return of

    def _boxes(self, labels: LabelStore, *, skipped: bool = True) -> dict[int, IntArray]:
        """Sample -> the boxes (n, 4) that were asked about; those that were skipped only where they are wanted."""
        found, rounds = dict[int, list[IntArray]](), dict[int, IntArray]()
        for a in labels.annotations:
            if a.region and (skipped or a.kind != "skip"):
                if a.round not in rounds:
                    rounds[a.round] = self._of_round(a.round)
                places = np.asarray(a.region) - self._first(a.round)
                found.setdefault(a.index, []).append(rounds[a.round][a.index, places])
        return {sample: np.concatenate(boxes) for sample, boxes in found.items()}

    def _of_round(self, round: int) -> IntArray:
        """Boxes (N, P, 4) that a round may ask about; 0 where there is none."""
        if round == 0:
            return self._grid()
        file = self._file(round)
        if not file.is_file():
            raise InputError(file, f"the boxes of round {round}", "no such file")
        with np.load(file, allow_pickle=False) as archive:
            boxes: IntArray = archive["boxes"]
        return boxes

    def _grid(self) -> IntArray:
        """Windows of the grid, row by row as `units.Windows` has them, as far as the pictures go."""
        side, across = self.unit.largest, self._across()
        corner = np.stack(np.divmod(np.arange(across**2), across), axis=1) * side
        frames = self.frames[:, None]
        low = np.maximum(corner, frames[..., :2])
        high = np.minimum(corner + side, frames[..., 2:])
        there = (high > low).all(axis=2) & np.isin(np.arange(len(frames)), self.pool)[:, None]
        boxes: IntArray = np.concatenate([low, high], axis=2) * there[..., None]
        return boxes

    def _across(self) -> int:
        """Windows of the grid in a row."""
        return -(-self.size // self.unit.largest)

    def _first(self, round: int) -> int:
        """The number of the first part of a round."""
        return 0 if round == 0 else self._across() ** 2 + (round - 1) * self.unit.most

    def _file(self, round: int) -> Path:
        return self.run.round_path(round) / "boxes.npz"


def _mean_over(boxes_K4: IntArray, windows_KG4: IntArray, values_KG: FloatArray) -> FloatArray:
    """The mean over the pixels of each box (K,) of the values of the windows that they lie in."""
    inner = boxes_K4[:, None]
    sides = np.minimum(inner[..., 2:], windows_KG4[..., 2:]) - np.maximum(inner[..., :2], windows_KG4[..., :2])
    pixels = sides.clip(min=0).prod(axis=2)
    means: FloatArray = (pixels * values_KG).sum(axis=1) / pixels.sum(axis=1)
    return means


def _maps(boxes_NP4: IntArray, size: int, samples: IntArray) -> LabelMap:
    """The number of the box that each pixel (B, S, S) of some samples lies in; `IGNORE` in none."""
    drawn: LabelMap = np.full((len(samples), size, size), IGNORE, dtype=np.uint8)
    for out, boxes in zip(drawn, boxes_NP4[samples].tolist(), strict=True):
        for part, (top, left, bottom, right) in enumerate(boxes):
            out[top:bottom, left:right] = part
    return drawn


def _covered(boxes_K4: IntArray, size: int) -> BoolArray:
    """Which pixels (S, S) lie in one of any number of boxes."""
    found = np.zeros((size, size), dtype=np.bool_)
    for top, left, bottom, right in boxes_K4.tolist():
        found[top:bottom, left:right] = True
    return found
