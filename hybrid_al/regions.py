"""Parts of images as what a query asks about: units, which number the parts of all samples through the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .labels import LabelStore
from .types import IntArray, LabelMap

MOST_PARTS = 254  # a part's number is a byte of a label map, as a class is


@dataclass(frozen=True)
class Regions:
    """The parts of a pool's images: unit = sample * parts + part.

    maps   samples of the pool (B,) -> the part of each of their pixels (B, S, S), `IGNORE` in padding
    sizes  (N, parts) pixels of each; 0 where there is no such part
    """

    maps: Callable[[IntArray], LabelMap]
    sizes: IntArray

    @property
    def parts(self) -> int:
        """The most that a sample has."""
        return int(self.sizes.shape[1])

    @property
    def units(self) -> IntArray:
        """All units that have a pixel, ascending."""
        return np.flatnonzero(self.sizes.ravel())

    def samples(self, units: IntArray) -> IntArray:
        """The sample of each unit."""
        return units // self.parts

    def by_sample(self, units: IntArray) -> dict[int, tuple[int, ...]]:
        """Sample -> its parts among some units, in the order of the units."""
        found: dict[int, tuple[int, ...]] = {}
        for unit in units.tolist():
            sample, part = divmod(unit, self.parts)
            found[sample] = (*found.get(sample, ()), part)
        return found

    def labels(self, labels: LabelStore) -> LabelStore:
        """Annotations of units, from those of samples, which name the parts that they are about."""
        given = [
            replace(a, index=a.index * self.parts + part, region=None, supersedes=None, cost=1.0)
            for a in labels.annotations
            for part in a.region or ()
        ]
        return LabelStore(labels.n * self.parts, tuple(given))

    def open(self, labels: LabelStore) -> IntArray:
        """Samples of the pool that have a part without a label, ascending."""
        return np.unique(self.samples(np.setdiff1d(self.units, self.labels(labels).labeled)))
