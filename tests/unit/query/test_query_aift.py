"""AIFT's score against loops over views and pairs, and ACFT's draws."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from hybrid_al.query.strategies.aift import AIFT, majority_views
from hybrid_al.query.synthetic import make_state


@pytest.mark.parametrize(("share", "kept"), [(0.25, 2), (1.0, 8), (0.01, 1)])
def test_the_score_is_that_of_the_views_of_the_majority(share: float, kept: int) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(3), size=(6, 8))
    entropies, divergences = majority_views(probs, share)
    for views, entropy, divergence in zip(probs, entropies, divergences, strict=True):
        majority = views.mean(axis=0).argmax()
        best = sorted(views.tolist(), key=lambda p: -p[majority])[:kept]
        assert entropy == pytest.approx(-sum(x * math.log(x) for p in best for x in p) / kept)
        pairs = combinations(best, 2)
        total = sum((x - y) * math.log(x / y) for p, q in pairs for x, y in zip(p, q, strict=True))
        assert divergence == pytest.approx(total, abs=1e-12)
    assert majority_views(np.tile(np.eye(3)[0], (2, 8, 1)), 1.0)[1].tolist() == [0, 0]


def test_draws_are_among_the_best() -> None:
    state = make_state(60)
    query = AIFT().select(state, 20, np.random.default_rng(0))
    best = set(query.indices.tolist())
    drawn = [AIFT(among=4).select(state, 5, np.random.default_rng(s)).indices.tolist() for s in range(5)]
    assert all(set(picks) <= best for picks in drawn) and len({tuple(picks) for picks in drawn}) == 5
    assert query.scores is not None
