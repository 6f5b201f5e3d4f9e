"""What a query did with its score, and how far from what is labeled it went: two numbers of each round."""

from __future__ import annotations

import numpy as np

from ..core.embeddings import Embeddings
from ..core.types import FloatArray, IntArray
from ..scores.ranks import mid_ranks
from .cover import distance_to_labeled

MEAN_RANK = "query/mean_rank"
DISTANCE = "query/distance_to_labeled"
CANDIDATES = 1000  # of which the mean distance is taken; its error is about 1 %


def mean_rank(indices_K: IntArray, values_K: FloatArray, picks_b: IntArray) -> dict[str, float]:
    """The mean mid-rank of the picks among the scores that a strategy gave, in (0, 1); empty where a pick has none.

    0.5 is what random picks have, and b of K best-scored picks have 1 - b / 2K.
    """
    order = np.argsort(indices_K, kind="stable")
    place = np.searchsorted(indices_K, picks_b, sorter=order).clip(max=len(order) - 1)
    if not len(order) or not np.array_equal(indices_K[order[place]], picks_b):
        return {}
    return {MEAN_RANK: float(mid_ranks(values_K)[order[place]].mean())}


def relative_distance(
    embeddings: Embeddings, labeled_L: IntArray, candidates_M: IntArray, picks_b: IntArray, rng: np.random.Generator
) -> dict[str, float]:
    """Mean distance of the picks to the nearest labeled sample, divided by that of the candidates, unit vectors.

    1 is what random picks have. The candidates are a random sample of `CANDIDATES`; picks are compared with what was
    labeled before them, not with one another. Empty without labels, and where all candidates are copies of labeled
    samples. O((b + CANDIDATES) L D) time.
    """
    if not len(labeled_L):
        return {}
    sample = candidates_M
    if len(sample) > CANDIDATES:
        sample = np.sort(rng.choice(candidates_M, CANDIDATES, replace=False))
    labeled = embeddings.take(labeled_L, "cosine")
    picked, usual = (
        float(distance_to_labeled(embeddings.take(rows, "cosine"), labeled).mean(dtype=np.float64))
        for rows in (picks_b, sample)
    )
    return {DISTANCE: picked / usual} if usual > 1e-6 else {}
