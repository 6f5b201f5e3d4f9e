"""Parts of images as what a query asks about: units, which number the parts of all samples through the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from ..core.labels import LabelStore
from ..core.types import BoolArray, FloatArray, IntArray, LabelMap, PredictionBatch

REGIONS, SAMPLES = "regions", "samples"  # what is asked about, in words
MOST_PARTS = 254  # a part's number is a byte of a label map, as a class is

Predict = Callable[[IntArray], Iterator[PredictionBatch]]
"""What the model of the last round says of samples, in batches; it is loaded when it is called."""


@dataclass(frozen=True)
class Regions:
    """What a round may ask about: unit = sample * parts + part.

    maps   samples of the pool (B,) -> the part of each of their pixels (B, S, S), counted from the first that may be
           asked about; `IGNORE` in padding and where there is none
    sizes  (N, P) pixels of each of these parts; 0 where there is no such part
    first  number of the first; before it come those of earlier rounds
    before where there are such: what the round before may ask about
    recorded  where training cannot record these parts: a value of each part that it does record, and units -> the
              values of the units
    """

    maps: Callable[[IntArray], LabelMap]
    sizes: IntArray
    first: int = 0
    before: Callable[[], Regions] | None = None
    recorded: Callable[[FloatArray, IntArray], FloatArray] | None = None

    fixed: ClassVar[bool] = True
    name: ClassVar[str] = REGIONS

    @property
    def parts(self) -> int:
        """The most that a sample has by now."""
        return self.first + self.count

    @property
    def count(self) -> int:
        """The most that may be asked about, of a sample."""
        return int(self.sizes.shape[1])

    @property
    def units(self) -> IntArray:
        """All units that may be asked about, ascending."""
        return np.flatnonzero(self.pixels)

    @property
    def pixels(self) -> IntArray:
        """Pixels of each unit (N * parts,)."""
        return np.pad(self.sizes, ((0, 0), (self.first, 0))).ravel()

    def samples(self, units: IntArray) -> IntArray:
        """The sample of each unit."""
        return units // self.parts

    def places(self, units: IntArray) -> IntArray:
        """The number that each unit's part has in the map of its sample; below 0 for a part of an earlier round."""
        return units % self.parts - self.first

    def older(self, units: IntArray) -> tuple[Regions, IntArray]:
        """What the round before may ask about, and the numbers that units of earlier rounds have there."""
        assert self.before is not None
        before = self.before()
        return before, self.samples(units) * before.parts + units % self.parts

    def by_sample(self, units: IntArray) -> dict[int, tuple[int, ...]]:
        """Sample -> its parts among some units, in the order of the units."""
        found: dict[int, tuple[int, ...]] = {}
        for unit in units.tolist():
            sample, part = divmod(unit, self.parts)
            found[sample] = (*found.get(sample, ()), part)
        return found

    def covered(self, sample: int, parts: Iterable[int]) -> BoolArray:
        """Which pixels (S, S) of a sample lie in some parts that may be asked about."""
        return np.isin(self.maps(np.asarray([sample]))[0], np.asarray(list(parts)) - self.first)

    def labels(self, labels: LabelStore) -> LabelStore:
        """Annotations of units, from those of samples, which name the parts that they are about."""
        given = [
            replace(a, index=a.index * self.parts + part, region=None, supersedes=None, cost=1.0)
            for a in labels.annotations
            for part in a.region or ()
        ]
        return LabelStore(labels.n * self.parts, tuple(given))

    # -- the same parts in every round: what `Parts` asks ------------------------------------------------------------

    @property
    def recordable(self) -> Regions:
        """See `Parts.recordable`."""
        return self

    def at(self, round: int) -> Regions:
        """See `Parts.at`."""
        return self

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """See `Parts.draw`: there is nothing to draw."""

    def open(self, labels: LabelStore) -> IntArray:
        """See `Parts.open`."""
        return np.unique(self.samples(np.setdiff1d(self.units, self.labels(labels).labeled)))

    def asked(self, labels: LabelStore) -> Callable[[int], list[BoolArray]]:
        """See `Parts.asked`."""
        parts = self.by_sample(self.labels(labels).answered)

        def of(sample: int) -> list[BoolArray]:
            where = self.maps(np.asarray([sample]))[0]
            return [where == part for part in parts.get(sample, ())]

        return of


@dataclass(frozen=True)
class Whole:
    """Whole samples as what a query asks about: the unit of a sample is its position.

    units   (P,) samples of the pool
    pixels  (N,) of what an answer about a sample says, where that is the same for all answers
    """

    units: IntArray
    pixels: IntArray | None = None

    fixed: ClassVar[bool] = True
    name: ClassVar[str] = SAMPLES
    parts: ClassVar[int] = 1
    recorded: ClassVar[None] = None

    def at(self, round: int) -> Whole:
        """See `Parts.at`."""
        return self

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """See `Parts.draw`: there is nothing to draw."""

    def samples(self, units: IntArray) -> IntArray:
        """See `Regions.samples`."""
        return units

    def labels(self, labels: LabelStore) -> LabelStore:
        """See `Regions.labels`."""
        return labels


class Parts(Protocol):
    """How images are asked about in parts: the same in every round (`Regions`), or such as follow the model.

    A part keeps its number, which annotations name (`Annotation.region`); the number of a unit is that of its round.
    """

    @property
    def fixed(self) -> bool:
        """Whether all rounds ask about the same parts."""
        ...

    @property
    def name(self) -> str:
        """What is asked about, in words."""
        ...

    @property
    def recordable(self) -> Regions:
        """Parts that are known before a training, which so can record how consistent it is on them."""
        ...

    def draw(self, round: int, labels: LabelStore, predict: Predict) -> None:
        """Commit to disk what a round may ask about, where that is not there yet; `labels` are those before it."""
        ...

    def at(self, round: int) -> Regions:
        """What a round may ask about."""
        ...

    def open(self, labels: LabelStore) -> IntArray:
        """Samples of the pool that have a pixel without a label, ascending."""
        ...

    def asked(self, labels: LabelStore) -> Callable[[int], list[BoolArray]]:
        """Sample -> the pixels (S, S) of each of its parts that was asked about."""
        ...
