"""Regions: the parts of images that a query asks about, with one number for each through the whole manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from ..core.labels import LabelStore
from ..core.types import BoolArray, FloatArray, IntArray, LabelMap, PredictionBatch

REGIONS, SAMPLES = "regions", "samples"  # what is asked about, in words
MOST_PARTS = 254  # the number of a part is a byte of a label map, like a class

Predict = Callable[[IntArray], Iterator[PredictionBatch]]
"""Samples -> predictions of the last round's model, in batches; the model is loaded at the call."""


@dataclass(frozen=True)
class Regions:
    """The regions that a round may ask about. The index of a region is sample * parts + part.

    maps         samples of the pool (B,) -> the part of each of their pixels (B, S, S), counted from `first`; `IGNORE`
                 in padding and where there is no part
    sizes        (N, P) pixels of each part from `first` on; 0 where there is no such part
    first        number of the first part that may be asked about; parts of earlier rounds have the numbers below
    previous     the regions of the round before, where parts of earlier rounds have numbers of their own
    from_record  where training cannot record these regions: (a value of each region of the record, indices of these
                 regions) -> their values
    given        (N,) samples whose masks are given whole (`domains.source`), so that nobody is asked about their parts
    """

    maps: Callable[[IntArray], LabelMap]
    sizes: IntArray
    first: int = 0
    previous: Callable[[], Regions] | None = None
    from_record: Callable[[FloatArray, IntArray], FloatArray] | None = None
    given: BoolArray | None = None

    fixed: ClassVar[bool] = True
    name: ClassVar[str] = REGIONS

    @property
    def parts(self) -> int:
        """Parts that a sample has at most, with those of earlier rounds."""
        return self.first + self.count

    @property
    def count(self) -> int:
        """Parts of a sample that may be asked about, at most."""
        return int(self.sizes.shape[1])

    @property
    def indices(self) -> IntArray:
        """All regions that may be asked about, ascending."""
        sizes = self.sizes if self.given is None else np.where(self.given[:, None], 0, self.sizes)
        return np.flatnonzero(np.pad(sizes, ((0, 0), (self.first, 0))))

    @property
    def pixels(self) -> IntArray:
        """Pixels of each region (N * parts,)."""
        return np.pad(self.sizes, ((0, 0), (self.first, 0))).ravel()

    def samples(self, indices: IntArray) -> IntArray:
        """The sample of each region."""
        return indices // self.parts

    def places(self, indices: IntArray) -> IntArray:
        """The number of each region in the map of its sample; below 0 for a region of an earlier round."""
        return indices % self.parts - self.first

    def in_previous_round(self, indices: IntArray) -> tuple[Regions, IntArray]:
        """The regions of the round before, and the indices there of regions of earlier rounds."""
        assert self.previous is not None
        previous = self.previous()
        return previous, self.samples(indices) * previous.parts + indices % self.parts

    def by_sample(self, indices: IntArray) -> dict[int, tuple[int, ...]]:
        """Sample -> its parts among these regions, in their order."""
        parts: dict[int, tuple[int, ...]] = {}
        for index in indices.tolist():
            sample, part = divmod(index, self.parts)
            parts[sample] = (*parts.get(sample, ()), part)
        return parts

    def mask(self, sample: int, parts: Iterable[int]) -> BoolArray:
        """Mask (S, S) of the pixels of a sample that lie in these parts, which may be asked about."""
        return np.isin(self.maps(np.asarray([sample]))[0], np.asarray(list(parts)) - self.first)

    def mask_of(self, index: int) -> BoolArray:
        """Mask (S, S) of the pixels of a region, of an earlier round too."""
        one = np.asarray([index], dtype=np.int64)
        if self.places(one)[0] < 0:
            previous, earlier = self.in_previous_round(one)
            return previous.mask_of(int(earlier[0]))
        return self.mask(index // self.parts, (index % self.parts,))

    def labels(self, labels: LabelStore) -> LabelStore:
        """Annotations of regions, from those of samples, each of which names its parts; one that names none is of all.

        Parts are named by a tuple, which may be empty.
        """
        annotations = [
            replace(a, index=a.index * self.parts + part, region=None, supersedes=None, cost=1.0)
            for a in labels.annotations
            for part in (self._all(a.index) if a.region is None else a.region)
        ]
        return LabelStore(labels.n * self.parts, tuple(annotations))

    def _all(self, sample: int) -> tuple[int, ...]:
        return tuple((np.flatnonzero(self.sizes[sample]) + self.first).tolist())

    # -- the protocol `Parts`, for the same parts in every round -----------------------------------------------------

    @property
    def record_regions(self) -> Regions:
        """See `Parts.record_regions`."""
        return self

    def at(self, round: int) -> Regions:
        """See `Parts.at`."""
        return self

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """See `Parts.draw`: there is nothing to draw."""

    def open(self, labels: LabelStore) -> IntArray:
        """See `Parts.open`."""
        return np.unique(self.samples(np.setdiff1d(self.indices, self.labels(labels).labeled)))

    def query_masks(self, labels: LabelStore) -> Callable[[int], list[BoolArray]]:
        """See `Parts.query_masks`."""
        parts = self.by_sample(self.labels(labels).answered)

        def of(sample: int) -> list[BoolArray]:
            part_map = self.maps(np.asarray([sample]))[0]
            return [part_map == part for part in parts.get(sample, ())]

        return of


@dataclass(frozen=True)
class Whole:
    """Whole samples in the place of regions: the index of a sample is its position.

    indices  (P,) samples of the pool
    pixels   (N,) that an answer about a sample labels, where all answers label the same
    name     of what is asked about
    fixed    whether an answer about a sample is the last; else some are asked about more than once
    """

    indices: IntArray
    pixels: IntArray | None = None
    name: str = SAMPLES
    fixed: bool = True

    parts: ClassVar[int] = 1
    from_record: ClassVar[None] = None

    def at(self, round: int) -> Whole:
        """See `Parts.at`."""
        return self

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """See `Parts.draw`: there is nothing to draw."""

    def samples(self, indices: IntArray) -> IntArray:
        """See `Regions.samples`."""
        return indices

    def labels(self, labels: LabelStore) -> LabelStore:
        """See `Regions.labels`."""
        return labels


class Parts(Protocol):
    """The parts of images, round by round: the same in every round (`Regions`), or boxes of the model (`ModelBoxes`).

    A part keeps its number, which annotations name (`Annotation.region`); the index of a region differs by round.
    """

    @property
    def fixed(self) -> bool:
        """Whether all rounds have the same parts."""
        ...

    @property
    def name(self) -> str:
        """Name of what is asked about."""
        ...

    @property
    def record_regions(self) -> Regions:
        """Regions that exist before a training, so that it can record its consistency on them."""
        ...

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """Write the parts of a round to disk, where they are not there yet; `labels` are those before the round."""
        ...

    def at(self, round: int) -> Regions:
        """The regions that a round may ask about."""
        ...

    def open(self, labels: LabelStore) -> IntArray:
        """Samples of the pool with pixels that have no label, ascending."""
        ...

    def query_masks(self, labels: LabelStore) -> Callable[[int], list[BoolArray]]:
        """Sample -> masks (S, S) of its parts that were asked about."""
        ...
