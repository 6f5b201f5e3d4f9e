"""Foreground-aware random: its share of samples that show a structure, and chance beyond it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import ForegroundRandom
from hybrid_al.query.synthetic import make_state


def state(shown: int) -> QueryState:
    """40 candidates, the first `shown` of which show some structure."""
    base = make_state(46)
    areas = np.zeros(len(base.labels.labeled) + len(base.candidates) + 50)
    areas[base.candidates[:shown]] = 0.01

    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        assert (name, samples, views) == ("foreground", 1, 1)
        values: FloatArray = areas[indices]
        return values

    return replace(base, scorer=scorer)


@pytest.mark.parametrize(("shown", "budget", "share"), [(20, 9, 2 / 3), (2, 9, 2 / 3), (20, 10, 0.0), (20, 10, 1.0)])
def test_at_least_its_share_shows_a_structure(shown: int, budget: int, share: float) -> None:
    base = state(shown)
    for seed in range(20):
        picks = ForegroundRandom(share).select(base, budget, np.random.default_rng(seed)).indices
        assert len(set(picks.tolist())) == budget
        count = int(np.isin(picks, base.candidates[:shown]).sum())
        assert count >= min(shown, math.ceil(share * budget))


def test_without_a_share_it_is_random() -> None:
    base = state(20)
    counts = np.zeros(len(base.candidates))
    for seed in range(1000):
        picks = ForegroundRandom(0).select(base, 10, np.random.default_rng(seed)).indices
        counts[np.searchsorted(base.candidates, picks)] += 1
    assert (abs(counts - 250) < 75).all()


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"ForegroundRandom\.share: expected a number of 0 to 1, got 1\.5"):
        ForegroundRandom(1.5)
