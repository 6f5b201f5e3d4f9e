"""Superpixels that follow the model: those of like predictions are one, in the folder of the round that asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..core.files import read_arrays, write_arrays
from ..core.labels import LabelStore
from ..core.registry import Positive, hyperparameters
from ..core.rundir import RunDir
from ..core.types import IGNORE, BoolArray, FloatArray, IntArray, LabelMap
from ..errors import InputError
from .base import MOST_PARTS, REGIONS, Predict, Regions
from .fixed import Superpixels

NONE = -1  # a superpixel that no region of the round holds


@dataclass(frozen=True)
@hyperparameters
class Adaptive:
    """Superpixels (see `Superpixels`), of which the last model merges those beside each other that it predicts alike.

    Kim et al., Adaptive Superpixel for Active Learning in Semantic Segmentation (ICCV 2023), section 3.2.

    epsilon  largest distance of the mean predictions of two that are merged: the root of the Jensen-Shannon divergence
             in nats, as published
    """

    count: Annotated[int, Field(ge=1, le=MOST_PARTS)] = 64
    compactness: Positive = 10.0
    epsilon: Positive = 0.1

    @property
    def base(self) -> Superpixels:
        """The superpixels before any is merged."""
        return Superpixels(self.count, self.compactness)


@dataclass(frozen=True)
class MergedSuperpixels:
    """Merged superpixels as the parts of images (`regions.Parts`); in round 0 the superpixels themselves.

    A round merges those that nobody was asked about. With K superpixels an image at most, each round has K numbers,
    which follow those of the round before. A file of a round holds the region of each superpixel, 8 bytes each.

    Training records its consistency on the superpixels; a region has the mean of that over its pixels.

    base     the superpixels
    pool     (P,) samples that may be asked about
    epsilon  see `Adaptive`
    run      directory of the regions of all rounds
    """

    base: Regions
    pool: IntArray
    epsilon: float
    run: RunDir

    fixed: ClassVar[bool] = False
    name: ClassVar[str] = REGIONS

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """See `Parts.draw`; round 0, the superpixels, needs no file."""
        if round == 0 or self._file(round).is_file():
            return
        places = np.full(self.base.sizes.shape, NONE, dtype=np.int64)
        free = (self.base.sizes > 0) & ~self._queried(labels)
        for batch in predict(self.open(labels)):
            maps, probs = self.base.maps(batch.indices), batch.probs.mean(axis=1)
            for i, parts, prediction in zip(batch.indices.tolist(), maps, probs, strict=True):
                places[i] = merged(parts, prediction, free[i], self.epsilon)
        write_arrays(self._file(round), {"places": places})

    def at(self, round: int) -> Regions:
        """See `Parts.at`. InputError where the round has not been drawn."""
        if round == 0:
            return self.base
        places = self._of_round(round)
        sample, part = np.nonzero(places != NONE)
        sizes = np.zeros_like(self.base.sizes)
        np.add.at(sizes, (sample, places[sample, part]), self.base.sizes[sample, part])

        def maps(samples: IntArray) -> LabelMap:
            table = np.pad(places[samples], ((0, 0), (0, IGNORE + 1 - self.base.count)), constant_values=NONE)
            rows = np.arange(len(samples))[:, None, None]
            return table[rows, self.base.maps(samples)].astype(np.uint8)  # NONE is `IGNORE` in a byte

        def from_record(values: FloatArray, indices: IntArray) -> FloatArray:
            weighted = np.zeros(sizes.shape)
            weights = values.reshape(sizes.shape) * self.base.sizes
            np.add.at(weighted, (sample, places[sample, part]), weights[sample, part])
            where = indices // regions.parts, regions.places(indices)
            means: FloatArray = weighted[where] / sizes[where]
            return means

        regions = Regions(maps, sizes, round * self.base.count, partial(self.at, round - 1), from_record)
        return regions

    @property
    def record_regions(self) -> Regions:
        """See `Parts.record_regions`: the superpixels."""
        return self.base

    def open(self, labels: LabelStore) -> IntArray:
        """See `Parts.open`."""
        left: BoolArray = (self.base.sizes > 0) & ~self._queried(labels, skipped=False)
        samples: IntArray = self.pool[left[self.pool].any(axis=1)]
        return samples

    def query_masks(self, labels: LabelStore) -> Callable[[int], list[BoolArray]]:
        """See `Parts.query_masks`."""
        queried = self._superpixels(labels)

        def of(sample: int) -> list[BoolArray]:
            parts = queried.get(sample, [])
            base = self.base.maps(np.asarray([sample], dtype=np.int64))[0] if parts else np.empty(0)
            return [np.isin(base, superpixels) for superpixels in parts]

        return of

    def _queried(self, labels: LabelStore, *, skipped: bool = True) -> BoolArray:
        """Which superpixels (N, K) were asked about, with or without those that were skipped."""
        queried = np.zeros(self.base.sizes.shape, dtype=np.bool_)
        for sample, regions in self._superpixels(labels, skipped=skipped).items():
            queried[sample, np.concatenate(regions)] = True
        return queried

    def _superpixels(self, labels: LabelStore, *, skipped: bool = True) -> dict[int, list[IntArray]]:
        """Sample -> the superpixels of each region that was asked about."""
        regions, rounds = dict[int, list[IntArray]](), dict[int, IntArray]()
        for a in labels.annotations:
            if a.region and (skipped or a.kind != "skip"):
                if a.round not in rounds:
                    rounds[a.round] = self._of_round(a.round)
                places, first = rounds[a.round][a.index], a.round * self.base.count
                regions.setdefault(a.index, []).extend(np.flatnonzero(places == part - first) for part in a.region)
        return regions

    def _of_round(self, round: int) -> IntArray:
        """The region (N, K) of each superpixel, counted from 0 in each image; `NONE` where there is none."""
        if round == 0:
            return np.where(self.base.sizes > 0, np.arange(self.base.count), NONE)
        file = self._file(round)
        if not file.is_file():
            raise InputError(file, f"the regions of round {round}", "no such file")
        places: IntArray = read_arrays(file)["places"]
        return places

    def _file(self, round: int) -> Path:
        return self.run.round_path(round) / "superpixels.npz"


def merged(parts_HW: LabelMap, probs_CHW: FloatArray, free_K: BoolArray, epsilon: float) -> IntArray:
    """The region (K,) of each superpixel, in the order in which regions are made; `NONE` for those that are not free.

    The most uncertain superpixel that has no region begins one (uncertainty: the mean of the second largest over the
    largest probability). It takes in its neighbours, and theirs, whose mean prediction is nearer than `epsilon` to its
    own, which never changes.
    """
    count, valid = len(free_K), parts_HW != IGNORE
    part, pixels = parts_HW[valid].astype(np.int64), probs_CHW[:, valid].astype(np.float64)
    sizes = np.maximum(np.bincount(part, minlength=count), 1)
    means = np.stack([np.bincount(part, row, count) for row in pixels], axis=1) / sizes[:, None]
    second, first = np.sort(pixels, axis=0)[-2:]
    uncertainty = np.bincount(part, second / first, count) / sizes
    beside = neighbours(parts_HW, count) & free_K & free_K[:, None]
    places, region = np.full(count, NONE, dtype=np.int64), 0
    for root in np.argsort(-uncertainty, kind="stable").tolist():
        if not free_K[root] or places[root] != NONE:
            continue
        alike, frontier = distances(means, means[root]) < epsilon, [root]
        places[root] = region
        while frontier:
            new = np.flatnonzero(beside[frontier.pop()] & alike & (places == NONE))
            places[new] = region
            frontier += new.tolist()
        region += 1
    return places


def neighbours(parts_HW: LabelMap, count: int) -> BoolArray:
    """Which parts (K, K) have pixels side by side."""
    beside = np.zeros((IGNORE + 1, IGNORE + 1), dtype=np.bool_)
    for a, b in ((parts_HW[:, 1:], parts_HW[:, :-1]), (parts_HW[1:], parts_HW[:-1])):
        beside[a, b] = True
    within: BoolArray = (beside | beside.T)[:count, :count]
    return within


def distances(rows_KC: FloatArray, row_C: FloatArray) -> FloatArray:
    """Root of the Jensen-Shannon divergence in nats (K,) between distributions and one other, as SciPy has it."""
    from scipy.special import rel_entr

    middle = (rows_KC + row_C) / 2
    nats = (rel_entr(rows_KC, middle) + rel_entr(row_C, middle)).sum(axis=1) / 2
    values: FloatArray = np.sqrt(np.maximum(nats, 0))
    return values
