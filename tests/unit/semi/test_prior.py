"""Prior pseudo-labels: propagation against a dense solution, draws, and corner cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.semi.prior import Prior, make_prior, propagate


def clusters(n: int = 30, dim: int = 4) -> tuple[FloatArray, IntArray]:
    """Unit vectors of three clusters in turn, and their clusters."""
    rng = np.random.default_rng(0)
    truth = np.arange(n) % 3
    vectors = 3 * np.eye(3, dim)[truth] + rng.normal(size=(n, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), truth


@pytest.mark.parametrize("k", [1, 4, 50])
def test_propagation_equals_the_dense_solution(k: int) -> None:
    vectors, truth = clusters()
    n, neighbours = len(vectors), min(k, 29)
    weights = np.zeros((n, n))
    for i in range(n):
        cosines = {j: float(vectors[i] @ vectors[j]) for j in range(n) if j != i}
        for j in sorted(cosines, key=lambda j: -cosines[j])[:neighbours]:
            weights[i, j] += max(cosines[j], 0) ** 3
            weights[j, i] += max(cosines[j], 0) ** 3
    degree = weights.sum(axis=1)
    scaled = weights / np.sqrt(np.outer(degree, degree))
    y = np.zeros((n, 3))
    for i in range(5):
        y[i, truth[i]] = 1
    z = np.linalg.solve(np.eye(n) - 0.99 * scaled, y)
    reached = z.sum(axis=1) > 1e-9
    shares = propagate(vectors, truth[:5], 3, neighbours=k)
    np.testing.assert_allclose(shares[reached], z[reached] / z[reached].sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(shares[~reached], 1 / 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_one_label_a_cluster_is_enough_and_certainty_and_class_size_weigh() -> None:
    vectors, truth = clusters(60)
    prior = make_prior(vectors, truth[:3], np.arange(100, 157), 3, neighbours=5)
    spread = propagate(vectors, truth[:3], 3, neighbours=5)[3:]
    assert np.mean(prior.targets == truth[prior.rows - 97]) > 0.8
    raw = []
    for p in spread:
        entropy = -sum(q * math.log(q) for q in p if q > 0)
        raw.append((1 - entropy / math.log(3)) / sum(int(o.argmax()) == int(p.argmax()) for o in spread))
    expected = {100 + i: w / sum(raw) for i, w in enumerate(raw)}
    assert prior.weights.sum() == pytest.approx(1)
    for row, weight in zip(prior.rows.tolist(), prior.weights.tolist(), strict=True):
        assert weight == pytest.approx(expected[row], rel=1e-6)


def test_prior_samples_come_last_and_by_weight() -> None:
    prior = Prior(np.asarray([50, 60, 70]), np.asarray([2, 1, 0]), np.asarray([0.75, 0.25, 0.0]))
    labeled, targets, rng = np.arange(4), np.zeros(4, dtype=np.int64), np.random.default_rng(0)
    batches = [prior.mix_into(labeled, targets, 3, rng) for _ in range(400)]
    assert all(rows[0] == 0 and y[0] == 0 and len(rows) == 4 for rows, y in batches)
    prior_rows = np.concatenate([rows[1:] for rows, _ in batches])
    assert set(prior_rows.tolist()) == {50, 60} and np.mean(prior_rows == 50) == pytest.approx(0.75, abs=0.04)
    assert all(y[i] == {50: 2, 60: 1}[int(rows[i])] for rows, y in batches for i in (1, 2, 3))
    for count, source in ((0, prior), (3, Prior(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)))):
        assert source.mix_into(labeled, targets, count, rng)[0] is labeled


def test_corners() -> None:
    assert propagate(np.eye(1, 3), np.asarray([1]), 2).tolist() == [[0, 1]]
    one = make_prior(clusters()[0], np.asarray([0, 0]), np.arange(28), 3)  # one class alone: all rows are its
    assert (one.targets == 0).all()
    none = make_prior(clusters()[0][:3], np.asarray([0, 1, 2]), np.empty(0, np.int64), 3)
    assert not len(none.rows)
    isolated = make_prior(np.eye(4), np.asarray([0]), np.arange(3), 2)  # no neighbour at any cosine above 0
    assert not len(isolated.rows)
    with pytest.raises(InputError, match="1 to 3 labels"):
        propagate(np.eye(3), np.empty(0, np.int64), 2)
