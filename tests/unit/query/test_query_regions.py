"""Queries of regions by what their outlines cost, against slow references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import CEREALS, DicePerOutline, EdgeAL
from hybrid_al.query.strategies.cereals import ridge
from hybrid_al.query.synthetic import make_state


def scored(values: dict[str, FloatArray], labeled: int = 6) -> QueryState:
    """A state whose regions have these scores (N,)."""

    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        return values[name][indices]

    return replace(make_state(labeled=labeled), scorer=scorer)


def test_the_ridge_equals_its_normal_equations() -> None:
    rng = np.random.default_rng(0)
    rows, others, values = rng.normal(size=(20, 3)), rng.normal(size=(5, 3)), rng.normal(size=20)
    rows[:, 2], others[:, 2] = 4.0, 9.0  # says nothing
    scaled, scaled_others = ((r[:, :2] - rows[:, :2].mean(0)) / rows[:, :2].std(0) for r in (rows, others))
    rhs = np.concatenate([values - values.mean(), np.zeros(2)])
    weights = np.linalg.lstsq(np.concatenate([scaled, np.sqrt(0.5) * np.eye(2)]), rhs, rcond=None)[0]
    expected = scaled_others @ weights + values.mean()
    np.testing.assert_allclose(ridge(rows, values, others, 0.5), expected, atol=1e-9)


def test_cereals_learns_that_outlines_cost() -> None:
    """Clicks are three times the expected outline: of equally uncertain regions those of the least are asked about."""
    rng = np.random.default_rng(0)
    outline = rng.uniform(2, 20, 45)
    state = scored({"expected_outline": outline, "entropy": np.full(45, 0.5), "foreground": rng.random(45)}, labeled=20)
    clicks = np.full(45, -1.0)
    clicks[state.labels.labeled] = 3 * outline[state.labels.labeled]
    state = replace(state, extras={"clicks": clicks})
    picks = CEREALS().select(state, 3, np.random.default_rng(0)).indices
    assert picks.tolist() == state.candidates[np.argsort(outline[state.candidates])[:3]].tolist()
    free = CEREALS(price=0.0).select(state, 3, np.random.default_rng(0)).scores
    assert free is not None and len(set(free.values.tolist())) == 1


def test_dice_is_weighed_with_the_outline_that_it_takes() -> None:
    gain, outline = np.full(45, 0.1), np.full(45, 20.0)
    state = scored({"dice_gain": gain, "expected_outline": outline})
    first, second, third = state.candidates[:3].tolist()
    gain[first], gain[second], outline[second], outline[third] = 0.2, 0.3, 100, 1
    query = DicePerOutline(least=4).select(state, 2, np.random.default_rng(0))
    assert query.indices.tolist() == [third, first] and query.scores is not None
    assert query.scores.values[:3] == pytest.approx([0.2 / 20, 0.3 / 100, 0.1 / 4])


def test_divergence_decides_among_those_of_much_edge_entropy() -> None:
    rng = np.random.default_rng(0)
    entropy, divergence = rng.random(45), rng.random(45)
    state = scored({"edge_entropy": entropy, "edge_divergence": divergence})
    listed = state.candidates[np.argsort(-entropy[state.candidates])[:8]]
    expected = listed[np.argsort(-divergence[listed])[:4]]
    assert EdgeAL(shortlist=2).select(state, 4, rng).indices.tolist() == expected.tolist()
