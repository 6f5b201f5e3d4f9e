"""The graph of nearest neighbours against full matrices, and the covers on it against gains counted anew."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.neighbours import graph_ball_cover, graph_similarity_cover, neighbours
from hybrid_al.query.base import QueryStrategy, check_query
from hybrid_al.query.cover import cosine
from hybrid_al.query.strategies import FacilityLocation, ProbCover
from hybrid_al.query.synthetic import make_state


def rows(n: int, dim: int = 4, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def full(vectors: FloatArray) -> FloatArray:
    distances: FloatArray = ((vectors[:, None].astype(np.float64) - vectors) ** 2).sum(axis=2)
    return distances


@pytest.mark.parametrize("far", [0, 300])
@pytest.mark.parametrize(("n", "m", "size"), [(1, 1, 512), (7, 7, 2), (90, 5, 10), (90, 64, 10), (90, 1, 512)])
def test_where_all_buckets_are_looked_into_the_graph_is_exact(n: int, m: int, size: int, far: float) -> None:
    vectors = rows(n) + np.float32(far)
    squared, indices = neighbours(vectors, m, np.random.default_rng(1), size=size, probes=99)
    order = np.argsort(full(vectors), axis=1, kind="stable")[:, :m]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(squared, np.take_along_axis(full(vectors), order, axis=1), rtol=2e-3, atol=1e-5)
    assert indices.dtype == np.int32


def test_few_buckets_find_most_and_never_fewer_than_asked_for() -> None:
    vectors = rows(3000, 6)
    squared, indices = neighbours(vectors, 20, np.random.default_rng(0), size=100)
    order = np.argsort(full(vectors), axis=1)[:, :20]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(indices, order, strict=True)]
    assert 0.75 < np.mean(shared) / 20 < 1
    assert all(len(np.unique(row)) == 20 for row in indices)
    np.testing.assert_array_equal(indices[:, 0], np.arange(3000))
    assert (np.diff(squared, axis=1) >= 0).all()
    lone, _ = neighbours(vectors, 64, np.random.default_rng(0), size=4, probes=1)  # a bucket holds too few
    assert np.isfinite(lone).all()


def test_rows_that_coincide_are_each_others_neighbours() -> None:
    squared, indices = neighbours(np.repeat(rows(4), 30, axis=0), 25, np.random.default_rng(0), size=5)
    np.testing.assert_array_equal(indices // 30, np.repeat(np.arange(4), 30)[:, None].repeat(25, axis=1))
    np.testing.assert_allclose(squared, 0, atol=1e-5)


@pytest.mark.parametrize("m", [0, 6, 65])
def test_impossible_counts_are_refused(m: int) -> None:
    with pytest.raises(InputError, match="1 to"):
        neighbours(rows(5 if m == 6 else 90), m, np.random.default_rng(0))


@pytest.mark.parametrize("m", [1, 6, 60])
@pytest.mark.parametrize("radius", [0.5, 1.5, np.inf])
def test_balls_on_the_graph(m: int, radius: float) -> None:
    squared, near = neighbours(rows(60), m, np.random.default_rng(0))
    candidate, uncovered = np.random.default_rng(3).random((2, 60)) < 0.7
    picks, gains = graph_ball_cover(squared, near, candidate, uncovered, radius, 60)
    edges = np.zeros((60, 60), dtype=bool)  # row, candidate
    edges[np.arange(60)[:, None], near] = squared < radius**2
    expected = list[tuple[int, int]]()
    while (adds := (edges & uncovered[:, None] & candidate).sum(axis=0)).any():
        expected.append((int(adds.argmax()), int(adds.max())))
        uncovered = uncovered & ~edges[:, adds.argmax()]
    assert list(zip(picks.tolist(), gains.tolist(), strict=True)) == expected


@pytest.mark.parametrize("m", [1, 6, 60])
def test_similarity_on_the_graph(m: int) -> None:
    vectors = rows(60) / np.linalg.norm(rows(60), axis=1, keepdims=True)
    squared, near = neighbours(vectors, m, np.random.default_rng(0))
    candidate = np.random.default_rng(3).random(60) < 0.7
    coverage = np.random.default_rng(4).random(60)
    budget = int(candidate.sum())
    picks, gains = graph_similarity_cover(squared, near, candidate, coverage, cosine, budget)
    similarities = np.zeros((60, 60))
    similarities[np.arange(60)[:, None], near] = 1 - squared / 4
    assert sorted(picks.tolist()) == np.flatnonzero(candidate).tolist()
    for i, (pick, gain) in enumerate(zip(picks.tolist(), gains.tolist(), strict=True)):
        adds = (similarities - coverage[:, None]).clip(0).sum(axis=0)
        adds[~candidate | np.isin(np.arange(60), picks[:i])] = -1
        assert gain == pytest.approx(adds.max(), abs=1e-4) and adds[pick] == pytest.approx(adds.max(), abs=1e-4)
        coverage = np.maximum(coverage, similarities[:, pick])


@pytest.mark.parametrize("labeled", [0, 9])
@pytest.mark.parametrize("m", [1, 8, 64])
def test_a_large_pool_is_covered_whole_on_request(labeled: int, m: int) -> None:
    state = make_state(64, labeled=labeled)
    pairs: list[tuple[QueryStrategy, QueryStrategy]] = [
        (ProbCover(delta=0.9, rows=20, neighbours=m), ProbCover(delta=0.9)),
        (FacilityLocation(rows=20, neighbours=m), FacilityLocation()),
    ]
    for strategy, exact in pairs:
        query, whole = (s.select(state, 20, np.random.default_rng(1)) for s in (strategy, exact))
        check_query(query, state, 20)
        assert query.reasons is not None and whole.reasons is not None
        if m == 64:  # all are neighbours: only ties may fall otherwise
            assert query.reasons[0] == whole.reasons[0]
        if m < 64:
            assert query.reasons != whole.reasons
        assert strategy.select(state, 20, np.random.default_rng(1)).indices.tolist() == query.indices.tolist()


def test_a_small_pool_needs_no_graph() -> None:
    pairs: list[tuple[QueryStrategy, QueryStrategy]] = [
        (ProbCover(delta=0.5, neighbours=3), ProbCover(delta=0.5)),
        (FacilityLocation(neighbours=3), FacilityLocation()),
    ]
    for pair in pairs:
        picks = [s.select(make_state(90), 9, np.random.default_rng(0)).indices.tolist() for s in pair]
        assert picks[0] == picks[1]


def test_graphs_of_too_many_neighbours_are_refused() -> None:
    for m in (0, 65):
        with pytest.raises(InputError, match="neighbours"):
            ProbCover(neighbours=m)
        with pytest.raises(InputError, match="neighbours"):
            FacilityLocation(neighbours=m)
