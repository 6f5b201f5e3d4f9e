"""Greedy maximisation of set functions whose gains can only shrink, without computing every gain at every pick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.types import FloatArray, IntArray
from ..errors import InputError

Gains = Callable[[IntArray], FloatArray]
"""Places among M (K,) -> what each would add to what is taken (K,), 0 or more."""


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

    `take` is told each pick before the next gains are asked for. Minoux, Accelerated Greedy Algorithms for Maximizing
    Submodular Set Functions (1978): a gain of before is a bound, so only the `chunk` highest, then twice as many, and
    so on, are computed anew until the best is fresh; the picks are those of the full greedy. Where no bound is above 0
    nothing is computed any more. `at_most`, bounds that cost less than gains, is asked once a pick, after the first
    `chunk`, for all that could still win.
    """
    if not 1 <= budget <= count:
        raise InputError("lazy_greedy", f"1 to {count} picks", str(budget))
    bound = gains(np.arange(count)).astype(np.float64)
    fresh = np.zeros(count, dtype=np.int64)  # the pick for which a bound was computed
    picks, gained = np.empty(budget, dtype=np.int64), np.empty(budget)
    for i in range(budget):
        size, rough = chunk, at_most
        while fresh[best := int(bound.argmax())] != i and bound[best] > 0:
            high = np.partition(bound, -size)[-size] if size < count else -np.inf
            stale = np.flatnonzero((fresh < i) & (bound >= high))
            bound[stale] = np.minimum(bound[stale], gains(stale))
            fresh[stale], size = i, 2 * size
            if rough:
                rest = np.flatnonzero((fresh < i) & (bound >= bound[fresh == i].max()))
                bound[rest], rough = np.minimum(bound[rest], rough(rest)), None
        picks[i], gained[i] = best, bound[best]
        take(best)
        bound[best], fresh[best] = -np.inf, budget
    return picks, gained
