"""Weighted k-means beside fixed centres, against Lloyd's turns in full."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.kernels.weighted_kmeans import representatives, weighted_k_means


def full(a: FloatArray, b: FloatArray) -> FloatArray:
    distances: FloatArray = np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)
    return distances


def slow(
    rows: FloatArray, weights: FloatArray, k: int, rng: np.random.Generator, fixed: FloatArray
) -> tuple[FloatArray, IntArray]:
    """All distances anew at every seed and every turn."""
    seeds = list[int]()
    while len(seeds) < k:
        centres = np.concatenate([fixed, rows[seeds]])
        mass = weights * (full(rows, centres).min(axis=1) ** 2 if len(centres) else 1)
        if mass.max() < 1e-12:
            break
        seeds.append(int(rng.choice(len(rows), p=mass / mass.sum())))
    free = rows[seeds].astype(np.float64)
    for _ in range(100):
        nearest = full(rows, np.concatenate([fixed, free])).argmin(axis=1) - len(fixed)
        for c in range(len(free)):
            if weights[nearest == c].sum() > 0:
                free[c] = np.average(rows[nearest == c], axis=0, weights=weights[nearest == c])
    return free, np.maximum(full(rows, np.concatenate([fixed, free])).argmin(axis=1) - len(fixed), -1)


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize("seed", range(4))
def test_the_turns_are_those_of_lloyd(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, fixed = (rng.normal(size=(n, 4)).astype(np.float32) for n in (120, count))
    weights = rng.random(120) * (rng.random(120) < 0.8)
    centres, cluster = weighted_k_means(rows, weights, 6, np.random.default_rng(seed), 100, fixed)
    expected, members = slow(rows, weights, 6, np.random.default_rng(seed), fixed)
    np.testing.assert_allclose(centres, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(cluster, members)
    assert (cluster < 0).any() == (count > 0)


def test_weights_count_as_copies() -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(90, 4)).astype(np.float32), rng.random(90) * (rng.random(90) < 0.8)
    twice = np.repeat(rows, 2, axis=0)
    alike = weighted_k_means(twice, np.repeat(weights, 2) / 2, 1, np.random.default_rng(1), 100)[0]
    np.testing.assert_allclose(alike, np.average(rows, axis=0, weights=weights)[None])


def test_copies_of_fixed_centres_are_no_seeds() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    centres, cluster = weighted_k_means(rows, np.ones(30), 4, np.random.default_rng(0), 10, rows[:28])
    assert len(centres) == 2 and set(cluster[:28].tolist()) == {-1} and set(cluster[28:].tolist()) == {0, 1}
    centres, cluster = weighted_k_means(rows, np.ones(30), 4, np.random.default_rng(0), 10, rows)
    assert centres.shape == (0, 5) and (cluster == -1).all()
    assert representatives(rows, np.ones(30), centres, cluster).shape == (0,)


def test_each_row_stands_for_one_centre() -> None:
    rows = np.array([[0.0], [1.0], [5.0]], dtype=np.float32)
    centres = np.array([[0.1], [0.2], [4.0]])
    assert representatives(rows, np.array([1.0, 2, 9]), centres, np.array([0, 1, 2])).tolist() == [2, 0, 1]
