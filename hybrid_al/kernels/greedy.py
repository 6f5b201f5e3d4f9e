"""Greedy maximisation of set functions whose gains can only shrink, without computing every gain at every pick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.types import FloatArray, IntArray
from ..errors import InputError

Gains = Callable[[IntArray], FloatArray]
"""Places of candidates (K,) -> the gain of each over the picks so far (K,), 0 or more."""


def lazy_greedy(
    gains: Gains,
    take: Callable[[int], None],
    count: int,
    budget: int,
    *,
    chunk: int = 64,
    at_most: Gains | None = None,
) -> tuple[IntArray, FloatArray]:
    """Always the place of largest gain, the first of equals: picks (budget,) and the gain of each.

    gains    computes gains; those of an earlier pick are upper bounds of them
    take     called with each pick, before the next call of `gains`
    chunk    bounds that are renewed first, the highest; then twice as many, and so on, until the best is a fresh gain
    at_most  upper bounds that cost less than gains: called once a pick, after the first chunk, for all places that
             could still win

    The picks are those of the full greedy. Once no bound is above 0, nothing more is computed. Minoux, Accelerated
    Greedy Algorithms for Maximizing Submodular Set Functions (1978).
    """
    if not 1 <= budget <= count:
        raise InputError("lazy_greedy", f"1 to {count} picks", str(budget))
    bound = gains(np.arange(count)).astype(np.float64)
    fresh = np.zeros(count, dtype=np.int64)  # the pick for which a bound was computed
    picks, values = np.empty(budget, dtype=np.int64), np.empty(budget)
    for i in range(budget):
        size, rough = chunk, at_most
        while fresh[best := int(bound.argmax())] != i and bound[best] > 0:
            high = np.partition(bound, -size)[-size] if size < count else -np.inf
            stale = np.flatnonzero((fresh < i) & (bound >= high))
            bound[stale] = np.minimum(bound[stale], gains(stale))
            fresh[stale], size = i, 2 * size
            if rough:
                contenders = np.flatnonzero((fresh < i) & (bound >= bound[fresh == i].max()))
                bound[contenders], rough = np.minimum(bound[contenders], rough(contenders)), None
        picks[i], values[i] = best, bound[best]
        take(best)
        bound[best], fresh[best] = -np.inf, budget
    return picks, values
