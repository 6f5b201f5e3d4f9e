"""Easy, hard and noisy samples of each class, by how dense it is around them."""

from __future__ import annotations

import numpy as np

from ..core.types import FloatArray, IntArray
from .distances import squared_to

EASY, HARD, NOISY = 0, 1, 2
SHARE = 0.6  # quantile of the distances within a class below which two samples are neighbours
LEAST = 8  # samples of a class; fewer are all easy
MOST = 1000  # samples of a class that densities are counted over


def triage(rows_KD: FloatArray, classes_K: IntArray) -> IntArray:
    """`EASY`, `HARD` or `NOISY` for each row (K,): the three levels of density within its class.

    The density is the number of samples of the class nearer than the quantile `SHARE` of the distances within it, and
    the levels are its k-means, k = 3; the least dense level is noisy. Guo et al., CurriculumNet (ECCV 2018), section
    3.2, part a class in the same way. Where two densities alone are there, none is noisy. Of a class of more than
    `MOST` samples, evenly spaced ones are counted.
    """
    levels = np.full(len(rows_KD), EASY, dtype=np.int64)
    for c in np.unique(classes_K).tolist():
        places = np.flatnonzero(classes_K == c)
        if len(places) >= LEAST:
            rows = rows_KD[places]
            levels[places] = _levels(_density(rows, rows[:: -(-len(rows) // MOST)]))
    return levels


def _density(rows_KD: FloatArray, others_RD: FloatArray) -> FloatArray:
    """Share of the others (R, D) that lie near each row (K,)."""
    to_others = np.stack([squared_to(others_RD, row) for row in others_RD])
    radius = np.quantile(to_others[~np.eye(len(others_RD), dtype=np.bool_)], SHARE)
    return np.asarray([(squared_to(others_RD, row) < radius).mean() for row in rows_KD])


def _levels(values_K: FloatArray) -> IntArray:
    """k-means of numbers (K,) into three levels, the largest `EASY`, from the least, the middle and the largest."""
    centres = np.asarray([values_K.max(), (values_K.max() + values_K.min()) / 2, values_K.min()])
    if len(np.unique(values_K)) < 3:
        return np.full(len(values_K), EASY, dtype=np.int64)
    for _ in range(100):
        levels: IntArray = np.abs(values_K[:, None] - centres).argmin(axis=1)
        moved = np.asarray([values_K[levels == k].mean() if (levels == k).any() else centres[k] for k in range(3)])
        if (moved == centres).all():
            break
        centres = moved
    return levels
