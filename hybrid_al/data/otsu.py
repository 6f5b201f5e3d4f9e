"""Otsu's threshold of a histogram."""

from __future__ import annotations

import numpy as np

from ..core.types import IntArray
from ..errors import InputError


def otsu(counts: IntArray) -> int:
    """The level t of a histogram (L,) that splits it into t and below, and above: Otsu (IEEE Trans. SMC 1979).

    It has the largest variance between the two sides; of equal levels the middle one. Where all counts are of one
    level, it is that level, and nothing lies above it.
    """
    if counts.ndim != 1 or counts.min(initial=0) < 0 or not counts.any():
        raise InputError("otsu", "a histogram (L,) of one value at least", str(counts.shape))
    levels = np.arange(len(counts), dtype=np.float64)
    below, total = counts.cumsum().astype(np.float64), float(counts.sum())
    sums = (counts * levels).cumsum()
    above = total - below
    split = np.flatnonzero((below > 0) & (above > 0))
    if not len(split):
        return int(counts.argmax())
    means = sums[split] / below[split] - (sums[-1] - sums[split]) / above[split]
    between = below[split] * above[split] * means**2
    best = split[between >= between.max() * (1 - 1e-12)]
    return int(best[(len(best) - 1) // 2])
