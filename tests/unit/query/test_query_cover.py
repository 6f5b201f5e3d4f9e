"""ProbCover, facility location, MaxHerding and k-medoids against references that take their time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.kmeans import k_means
from hybrid_al.query.base import QueryState, QueryStrategy
from hybrid_al.query.strategies import FacilityLocation, KMedoids, MaxHerding, ProbCover
from hybrid_al.query.strategies.probcover import pure_radius
from hybrid_al.query.synthetic import make_state


def unit(state: QueryState, indices: IntArray) -> FloatArray:
    return state.vectors(indices, "cosine").astype(np.float64)


def distances(a: FloatArray, b: FloatArray) -> FloatArray:
    found: FloatArray = np.linalg.norm(a[:, None] - b[None], axis=2)
    return found


def slow_cover(
    state: QueryState, budget: int, rng: np.random.Generator, worth: Callable[[FloatArray], FloatArray]
) -> list[int]:
    """Greedy for the sum over the pool of the largest worth, all recomputed at every pick; ties by the first draw."""
    order = rng.permutation(state.candidates)
    labeled = state.labels.labeled
    pool = np.union1d(order, labeled)
    to_pool = worth(distances(unit(state, order), unit(state, pool)))
    served = worth(distances(unit(state, labeled), unit(state, pool))).max(axis=0, initial=0)
    picks = list[int]()
    for _ in range(budget):
        adds = np.array([-1 if i in picks else (row - served).clip(0).sum() for i, row in enumerate(to_pool)])
        picks.append(int(adds.argmax()))
        served = np.maximum(served, to_pool[picks[-1]])
    return [int(order[p]) for p in picks]


COVERS: list[tuple[QueryStrategy, Callable[[FloatArray], FloatArray]]] = [
    (ProbCover(delta=0.7), lambda d: (d < 0.7).astype(np.float64)),
    (FacilityLocation(), lambda d: 1 - d**2 / 4),
    (MaxHerding(), lambda d: np.exp(-(d**2))),
    (MaxHerding(sigma=0.5), lambda d: np.exp(-(d**2) / 0.25)),
]


@pytest.mark.parametrize(("strategy", "worth"), COVERS)
@pytest.mark.parametrize("labeled", [0, 6])
@pytest.mark.parametrize("seed", range(3))
def test_covers(strategy: QueryStrategy, worth: Callable[[FloatArray], FloatArray], labeled: int, seed: int) -> None:
    state = make_state(60, labeled=labeled, seed=seed)
    query = strategy.select(state, 12, np.random.default_rng(seed))
    assert query.reasons is not None
    count = sum(not r.startswith("a random") for r in query.reasons)
    assert query.indices[:count].tolist() == slow_cover(state, count, np.random.default_rng(seed), worth)


def test_probcover_fills_up_at_random_once_all_is_covered() -> None:
    state = make_state(60)
    queries = [ProbCover(delta=1.2).select(state, 20, np.random.default_rng(s)) for s in range(5)]
    for query in queries:
        assert query.reasons is not None
        random = [r.startswith("a random") for r in query.reasons]
        assert random == sorted(random) and any(random)
    assert len({tuple(q.indices[-5:].tolist()) for q in queries}) == 5


@pytest.mark.parametrize("purity", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_radius_is_the_largest_at_which_enough_balls_are_pure(purity: float, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(40, 3)).astype(np.float32)
    radius = pure_radius(vectors, 3, purity, np.random.default_rng(seed))
    _, cluster = k_means(vectors, 3, np.random.default_rng(seed))

    def pure(delta: float) -> float:
        near = distances(vectors.astype(np.float64), vectors.astype(np.float64)) < delta
        return float(np.mean([len(set(cluster[row].tolist())) == 1 for row in near]))

    assert pure(radius) >= purity > pure(radius * (1 + 1e-8))


def test_probcover_takes_the_classes_of_the_task_for_clusters() -> None:
    """Five clusters, and no label yet or one: with two clusters in their place the radius would be far too large."""
    pure, mixed = (radius_of(ProbCover(classes=c), make_clusters(0)) for c in (5, 2))
    assert mixed > 1.2 * pure
    for labeled in (0, 1, 12):
        state = make_clusters(labeled)
        assert radius_of(ProbCover(), state) == radius_of(ProbCover(classes=5), state)
        unknown = replace(state, classes=None)
        seen = max(len(np.unique(state.labels.class_targets())), 2)
        assert radius_of(ProbCover(), unknown) == radius_of(ProbCover(classes=seen), unknown)


def make_clusters(labeled: int) -> QueryState:
    return make_state(300, labeled=labeled, classes=5, round=min(labeled, 1))


def radius_of(strategy: ProbCover, state: QueryState) -> float:
    reasons = strategy.select(state, 3, np.random.default_rng(0)).reasons
    assert reasons is not None
    return float(reasons[0].split()[1].removesuffix(":"))


@pytest.mark.parametrize("strategy", [ProbCover(rows=25), FacilityLocation(rows=25), MaxHerding(rows=25)])
def test_of_a_large_pool_a_sample_is_covered(strategy: QueryStrategy) -> None:
    state = make_state(120)
    picks = [strategy.select(state, 9, np.random.default_rng(s)).indices.tolist() for s in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]


def test_kmedoids_leaves_the_pool_nearer_than_chance() -> None:
    state = make_state(90, labeled=5, seed=2)
    pool = np.union1d(state.candidates, state.labels.labeled)

    def cost(picks: IntArray) -> float:
        medoids = np.concatenate([picks, state.labels.labeled])
        return float(distances(unit(state, pool), unit(state, medoids)).min(axis=1).sum())

    costs = [cost(KMedoids().select(state, 8, np.random.default_rng(s)).indices) for s in range(10)]
    random_costs = [cost(np.random.default_rng(s).permutation(state.candidates)[:8]) for s in range(200)]
    assert max(costs) < np.quantile(random_costs, 0.05)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ProbCover(delta=0), "ProbCover.delta"),
        (lambda: ProbCover(purity=0), "ProbCover.purity"),
        (lambda: ProbCover(classes=1), "ProbCover.classes"),
        (lambda: ProbCover(rows=0), "ProbCover.rows"),
        (lambda: FacilityLocation(rows=0), "FacilityLocation.rows"),
        (lambda: MaxHerding(sigma=0), "MaxHerding.sigma"),
        (lambda: KMedoids(iterations=0), "KMedoids.iterations"),
    ],
)
def test_values_that_make_no_sense_are_refused(build: Callable[[], QueryStrategy], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
