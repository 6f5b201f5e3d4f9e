"""k-means of many rows against slow references: seeds, turns among near centroids, and what must hold of the whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.kernels import kmeans
from hybrid_al.kernels.kmeans import coarse_k_means, greedy_seeds, k_means, lloyd_nearby
from hybrid_al.query.strategies import TypiClust
from hybrid_al.query.synthetic import make_state


def rows(n: int, dim: int = 5, seed: int = 0) -> FloatArray:
    """Rows around a few centres."""
    rng = np.random.default_rng(seed)
    vectors: FloatArray = (4 * rng.normal(size=(9, dim))[rng.integers(9, size=n)] + rng.normal(size=(n, dim))).astype(
        np.float32
    )
    return vectors


def full(a: FloatArray, b: FloatArray) -> FloatArray:
    """Squared distances by subtraction in float64."""
    distances: FloatArray = ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(axis=2)
    return distances


def inertia(vectors: FloatArray, centroids: FloatArray) -> float:
    return float(full(vectors, centroids).min(axis=1).sum())


def slow_seeds(vectors: FloatArray, k: int, rng: np.random.Generator) -> list[int]:
    seeds = [int(rng.integers(len(vectors)))]
    while len(seeds) < k:
        reach = full(vectors, vectors[seeds]).min(axis=1)
        candidates = np.searchsorted(reach.cumsum(), rng.random(2 + int(np.log(k))) * reach.sum(), side="right")
        seeds.append(int(min(candidates, key=lambda row: inertia(vectors, vectors[[*seeds, row]]) + reach[row])))
    return seeds


@pytest.mark.parametrize("k", [1, 2, 8, 40])
def test_seeds_are_the_best_of_the_drawn(k: int) -> None:
    for seed in range(5):
        vectors = rows(150, seed=seed)
        seeds = greedy_seeds(vectors, k, np.random.default_rng(seed))
        assert seeds.tolist() == slow_seeds(vectors, k, np.random.default_rng(seed))


def test_seeds_never_repeat_a_place() -> None:
    vectors = np.repeat(rows(6), 5, axis=0) + np.float32(3)
    seeds = greedy_seeds(vectors, 20, np.random.default_rng(0))
    assert len(np.unique(seeds // 5)) == len(seeds) == 6
    assert len(greedy_seeds(np.zeros((9, 3), np.float32), 4, np.random.default_rng(0))) == 1


def slow_turns(vectors: FloatArray, centroids: FloatArray, turns: int, near: int, further: float) -> FloatArray:
    """The means after so many turns, row by row, in float64."""
    cluster, at = full(vectors, centroids).argmin(axis=1), centroids.astype(np.float64)
    for turn in range(turns):
        means = np.array([vectors[cluster == c].astype(np.float64).mean(axis=0) for c in range(len(at))])
        at = means + further * (means - at) if turn else means
        around = np.argsort(full(at, at), axis=1, kind="stable")[:, :near]
        cluster = np.array(
            [around[c][full(v[None], at[around[c]])[0].argmin()] for v, c in zip(vectors, cluster, strict=True)]
        )
    return means


@pytest.mark.parametrize("near", [1, 2, 5, 12, 40])
@pytest.mark.parametrize(("turns", "further"), [(1, 0.5), (4, 0.5), (4, 0.0)])
def test_turns_are_those_of_a_row_after_the_other(
    near: int, turns: int, further: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NEAR": near, "FURTHER": np.float32(further), "REST": -np.inf, "CHUNK": 7}.items():
        monkeypatch.setattr(kmeans, name, value)
    vectors = rows(300)
    means, cluster = lloyd_nearby(vectors, vectors[:12], turns)
    np.testing.assert_allclose(means, slow_turns(vectors, vectors[:12], turns, near, further), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cluster, full(vectors, means).argmin(axis=1))


def test_turns_end_when_little_is_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = list[int]()
    search = kmeans._search_nearby

    def counted(vectors: FloatArray, at: FloatArray, cluster: IntArray) -> tuple[IntArray, FloatArray]:
        searches.append(1)
        return search(vectors, at, cluster)

    monkeypatch.setattr(kmeans, "_search_nearby", counted)
    vectors = rows(400)
    lloyd_nearby(vectors, vectors[:9], 100)
    until_rest = len(searches)
    monkeypatch.setattr(kmeans, "REST", 0.5)
    lloyd_nearby(vectors, vectors[:9], 100)
    assert 2 <= len(searches) - until_rest < until_rest < 50


def test_a_centroid_without_rows_gets_the_farthest_one() -> None:
    vectors = rows(200)
    vectors[17] = 90
    centroids = np.concatenate([vectors[:4], np.full((2, 5), -900, np.float32)])  # two that nothing is near
    means, cluster = lloyd_nearby(vectors, centroids, 1)
    assert cluster[17] == 4 and np.bincount(cluster)[4] == 1
    np.testing.assert_array_equal(means[4], vectors[17])
    assert np.bincount(cluster, minlength=6)[5] > 0


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 120),
    distinct=st.integers(1, 120),
    k=st.integers(1, 20),
    turns=st.integers(1, 9),
    seed=st.integers(0),
)
def test_inertia_is_never_worse_than_the_seeds_and_no_cluster_is_empty(
    n: int, distinct: int, k: int, turns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rows(distinct, 3, seed % 1000)[rng.integers(distinct, size=n)]
    vectors -= vectors.mean(axis=0)
    seeds = vectors[greedy_seeds(vectors, min(k, n), rng)]
    means, cluster = lloyd_nearby(vectors, seeds, turns)
    assert inertia(vectors, means) <= inertia(vectors, seeds) * (1 + 1e-5) + 1e-4
    np.testing.assert_allclose(full(vectors, means)[np.arange(n), cluster].sum(), inertia(vectors, means), atol=1e-3)
    centroids, dense = coarse_k_means(vectors, min(k, n), rng, turns)
    assert dense.shape == (n,) and len(centroids) <= min(k, n)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def set_to(count: int) -> None:
        monkeypatch.setattr(kmeans, "MANY", count)

    return set_to


def test_only_pools_of_many_rows_take_it(many: Callable[[int], None]) -> None:
    assert kmeans.MANY == 20_000  # committed results have up to 6,000 rows
    vectors = rows(300)
    before = k_means(vectors, 10, np.random.default_rng(0))
    many(301)
    np.testing.assert_array_equal(k_means(vectors, 10, np.random.default_rng(0))[0], before[0])
    many(300)
    coarse_found = k_means(vectors, 10, np.random.default_rng(0))
    assert (coarse_found[0] != before[0]).any()
    np.testing.assert_array_equal(k_means(vectors, 10, np.random.default_rng(0))[1], coarse_found[1])
    crowded = k_means(vectors, 16, np.random.default_rng(0))  # 20 a cluster are 320
    many(301)
    np.testing.assert_array_equal(k_means(vectors, 16, np.random.default_rng(0))[0], crowded[0])


def test_k_means_of_many_rows(many: Callable[[int], None]) -> None:
    many(0)
    vectors = rows(600) + 50
    copy = vectors.copy()
    centroids, cluster = k_means(vectors, 20, np.random.default_rng(1))
    np.testing.assert_array_equal(vectors, copy)
    np.testing.assert_array_equal(np.unique(cluster), np.arange(len(centroids)))
    np.testing.assert_array_equal(cluster, full(vectors, centroids).argmin(axis=1))
    again = k_means(vectors, 20, np.random.default_rng(1), overwrite=True)
    np.testing.assert_array_equal(again[1], cluster)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-5)


def test_every_row_of_a_large_pool_is_reachable(many: Callable[[int], None]) -> None:
    many(0)
    state = make_state(503, labeled=3)
    picks = TypiClust(max_clusters=20).select(state, 500, np.random.default_rng(0)).indices
    np.testing.assert_array_equal(np.sort(picks), state.candidates)
