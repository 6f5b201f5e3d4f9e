"""A policy that learns from games, against slow references and in a game whose best move is known."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.query.strategies.policy import Play, Policy, described, fitted_q, improved


def test_q_equals_the_values_of_a_game_of_two_moves() -> None:
    """One-hot moves: the first of two leads to a last one, which is worth 1; by a small penalty Q is the true value."""
    first, second, last = np.eye(3) * 100  # so that the penalty of 1 is nothing
    start, end = np.stack([first, second]), np.zeros((0, 3))
    plays = [Play(start, 0, 0.0, last[None]), Play(start, 1, 0.5, end), Play(last[None], 0, 1.0, end)]
    assert fitted_q(plays, 0.8) * 100 == pytest.approx([0.8, 0.5, 1.0], abs=1e-3)


def test_the_actor_moves_as_the_slow_gradient_says() -> None:
    rng = np.random.default_rng(0)
    said, after = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    weights, critic = rng.normal(size=3), rng.normal(size=3)

    def log_probability(w: np.ndarray) -> float:
        values = [float(np.dot(row, w)) for row in said]
        return values[2] - float(np.log(sum(np.exp(v) for v in values)))

    advantage = 0.3 + 0.9 * float(after.mean(axis=0) @ critic) - float(said.mean(axis=0) @ critic)
    step = 1e-6
    slope = [
        (log_probability(weights + step * e) - log_probability(weights - step * e)) / (2 * step) for e in np.eye(3)
    ]
    moved, _ = improved([Play(said, 2, 0.3, after)], weights, critic, 0.9, 0.1)
    np.testing.assert_allclose(moved, weights + 0.1 * advantage * np.asarray(slope), atol=1e-6)


@pytest.mark.parametrize("by", ["q", "actor"])
def test_it_learns_to_leave_what_it_knows(by: str) -> None:
    """Samples of three tight groups of two classes: one group is known, so labels of others help; copies do not."""
    rng = np.random.default_rng(0)
    centres, classes = np.eye(6)[:4], np.asarray([0, 1, 1, 0])
    group = np.repeat(np.arange(4), 12)
    rows = centres[group] + 0.05 * rng.normal(size=(48, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    weights = Policy(by=by, games=40)._learned(rows, classes[group], np.random.default_rng(1))  # type: ignore[arg-type]
    known = np.asarray([0, 12])
    others = np.asarray([1, 13, 25, 37])
    values = described(rows[known], classes[group[known]], rows[others]) @ weights
    assert values[2:].min() > values[:2].max()
