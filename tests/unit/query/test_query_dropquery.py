"""DropQuery and the greedy Wasserstein distance against what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.types import PredictionBatch
from hybrid_al.query.strategies import DropQuery, Wasserstein
from hybrid_al.query.synthetic import make_state


def test_what_changes_class_without_some_features_is_asked() -> None:
    """Half of the candidates have one feature that decides all, the others ten that say about the same."""
    state = make_state(60, labeled=0, held_out=0)
    features = np.full((60, 10), 0.1)
    features[::2] = np.tile([1.0, -0.95], 5)
    weight = np.stack([np.ones(10), np.zeros(10)])
    batch = PredictionBatch(state.candidates, np.full((60, 1, 2), 0.5), features, (weight, np.zeros(2)))
    query = DropQuery().select(replace(state, predictor=lambda *_: iter([batch])), 8, np.random.default_rng(0))
    changed = [reason.startswith("another class") for reason in query.reasons or ()]
    assert sum(changed) >= 1 and all(i % 2 == 0 for i, c in zip(query.indices.tolist(), changed, strict=True) if c)
    sure = DropQuery(dropout=0.0).select(state, 8, np.random.default_rng(0))
    assert sure.reasons is not None and set(sure.reasons) == {"a random one: too few change class"}


@pytest.mark.parametrize("labeled", [0, 5])
def test_each_pick_lowers_the_distance_of_the_pool_most(labeled: int) -> None:
    state = make_state(40, labeled=labeled)
    pool = state.vectors(np.union1d(state.candidates, state.labels.labeled), "cosine").astype(np.float64)

    def distance(rows: list[int]) -> float:
        others = state.vectors(np.asarray(rows), "cosine").astype(np.float64)
        return float(np.linalg.norm(pool[:, None] - others[None], axis=2).min(axis=1).mean())

    batch = state.labels.labeled.tolist()
    for pick in Wasserstein().select(state, 5, np.random.default_rng(0)).indices.tolist():
        best = min(distance([*batch, i]) for i in state.candidates.tolist())
        batch.append(pick)
        assert distance(batch) == pytest.approx(best, abs=1e-5)
