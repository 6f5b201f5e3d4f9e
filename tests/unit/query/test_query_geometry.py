"""TypiClust, k-means, k-center, stratified against brute-force references of the same clusters; random by counting."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.kernels.kmeans import k_means
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import KCenter, KMeans, Random, RandomPerGroup, Stratified, TypiClust
from hybrid_al.query.synthetic import make_state


def pool_of(state: QueryState, metric: str) -> tuple[IntArray, FloatArray]:
    samples = np.sort(np.concatenate([state.candidates, state.labels.labeled]))
    assert state.embeddings is not None
    vectors = np.asarray(state.embeddings.vectors[samples], dtype=np.float64)
    return samples, vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if metric == "cosine" else vectors


def brute_typicality(vectors: FloatArray, neighbours: int) -> list[float]:
    found = []
    for i, v in enumerate(vectors):
        distances = sorted(float(np.linalg.norm(v - w)) for j, w in enumerate(vectors) if j != i)[:neighbours]
        found.append(1 / (sum(distances) / len(distances) + 1e-5) if distances else 1e5)
    return found


def brute_clusters(state: QueryState, budget: int, rng: np.random.Generator, score: str, min_size: int) -> list[int]:
    """Pick by pick: the cluster with the fewest labels and picks, the largest first; its best candidate left."""
    samples, vectors = pool_of(state, "cosine")
    k = len(state.labels.labeled) + budget
    centroids, cluster = k_means(state.vectors(samples, "cosine"), k, rng)
    counts = Counter(int(c) for c, s in zip(cluster, samples, strict=True) if s in state.labels.labeled)
    size = Counter(cluster.tolist())
    value: dict[int, float] = {}
    for c in size:
        members = [i for i in np.flatnonzero(cluster == c).tolist() if samples[i] in state.candidates]
        if score == "typicality":
            value |= dict(
                zip(members, brute_typicality(vectors[members], min(20, max(len(members) // 2, 1))), strict=True)
            )
        else:
            value |= {i: -float(np.linalg.norm(vectors[i] - centroids[c])) for i in members}
    picks: list[int] = []
    for _ in range(budget):
        others = [i for i in value if i not in picks]
        clusters = sorted({int(cluster[i]) for i in others}, key=lambda c: (size[c] < min_size, counts[c], -size[c], c))
        best = max((i for i in others if cluster[i] == clusters[0]), key=lambda i: value[i])
        counts[clusters[0]] += 1
        picks.append(best)
    return [int(samples[i]) for i in picks]


@pytest.mark.parametrize(
    ("n", "labeled", "budget"), [(120, 0, 6), (120, 5, 10), (60, 4, 30), (40, 10, 30), (200, 0, 3)]
)
def test_typiclust(n: int, labeled: int, budget: int) -> None:
    state = make_state(n, labeled=labeled, dim=4)
    query = TypiClust().select(state, budget, np.random.default_rng(0))
    expected = brute_clusters(state, budget, np.random.default_rng(0), "typicality", 6)
    assert query.indices.tolist() == expected


@pytest.mark.parametrize(("n", "labeled", "budget"), [(120, 0, 6), (120, 5, 10), (40, 10, 30)])
def test_kmeans(n: int, labeled: int, budget: int) -> None:
    state = make_state(n, labeled=labeled, dim=4)
    query = KMeans().select(state, budget, np.random.default_rng(0))
    assert query.indices.tolist() == brute_clusters(state, budget, np.random.default_rng(0), "centre", 1)


def blobs(sizes: list[int], labeled: list[int], spread: float = 0.05) -> QueryState:
    """Far-off groups of the given sizes, in order; `labeled` are positions."""
    state = make_state(sum(sizes), labeled=len(labeled), held_out=0)
    which = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.random.default_rng(0).normal(size=(len(which), 8)) * spread + 3 * np.eye(8)[which]
    assert state.embeddings is not None
    annotations = [replace(a, index=i) for a, i in zip(state.labels.annotations, labeled, strict=True)]
    return replace(
        state,
        embeddings=replace(state.embeddings, vectors=vectors.astype(np.float32)),
        labels=replace(state.labels, annotations=tuple(annotations)),
        candidates=np.setdiff1d(np.arange(len(which)), labeled),
    )


def test_typiclust_asks_the_largest_clusters_without_labels() -> None:
    state = blobs([30, 10, 20, 8], labeled=[3, 65])
    query = TypiClust().select(state, 2, np.random.default_rng(0))
    assert [30 <= i < 40 for i in query.indices] == [False, True]
    assert [40 <= i < 60 for i in query.indices] == [True, False]
    assert query.reasons == (
        "most typical of a cluster of 20 with no label yet",
        "most typical of a cluster of 10 with no label yet",
    )


def test_typiclust_leaves_tiny_clusters_for_last() -> None:
    state = blobs([30, 3, 20], labeled=[])
    picks = TypiClust().select(state, 3, np.random.default_rng(0)).indices
    assert not ((picks >= 30) & (picks < 33)).any()
    everything = TypiClust().select(state, 53, np.random.default_rng(0)).indices
    assert sorted(everything.tolist()) == list(range(53))


def test_typiclust_cycles_when_clusters_are_capped() -> None:
    state = blobs([30, 20, 10], labeled=[])
    picks = TypiClust(max_clusters=3).select(state, 6, np.random.default_rng(0)).indices
    assert np.searchsorted([30, 50], picks, side="right").tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(("n", "labeled", "budget"), [(120, 0, 6), (120, 5, 10), (40, 10, 30)])
def test_stratified(n: int, labeled: int, budget: int) -> None:
    """Pick by pick from the cluster that a slow count says; which candidates of it, the next tests say."""
    state = make_state(n, labeled=labeled, dim=4)
    picks = Stratified().select(state, budget, np.random.default_rng(0)).indices
    samples, _ = pool_of(state, "cosine")
    k = len(state.labels.labeled) + budget
    cluster = k_means(state.vectors(samples, "cosine"), k, np.random.default_rng(0))[1]
    of = dict(zip(samples.tolist(), cluster.tolist(), strict=True))
    counts, size = Counter(of[s] for s in state.labels.labeled.tolist()), Counter(cluster.tolist())
    left = state.candidates.tolist()
    for i, pick in enumerate(picks.tolist()):
        asked = min({of[s] for s in left}, key=lambda c: (counts[c], -size[c], c))
        assert of[pick] == asked, f"pick {i}"
        counts[asked] += 1
        left.remove(pick)


def test_stratified_draws_each_candidate_of_a_cluster_alike() -> None:
    state = blobs([8, 6, 4], labeled=[0], spread=0)  # so that k-means never parts one
    draws = [Stratified().select(state, 2, np.random.default_rng(s)).indices.tolist() for s in range(600)]
    first, second = (Counter(picks) for picks in zip(*draws, strict=True))
    assert set(first) == set(range(8, 14)) and set(second) == set(range(14, 18))
    assert all(60 < c < 140 for c in first.values()) and all(105 < c < 195 for c in second.values())
    query = Stratified().select(state, 3, np.random.default_rng(0))
    assert query.reasons is not None and query.reasons[0] == "drawn from a cluster of 6 with no label yet"


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("labeled", [0, 6])
def test_kcenter(metric: str, labeled: int) -> None:
    state = make_state(50, labeled=labeled)
    picks = KCenter(metric=metric).select(state, 9, np.random.default_rng(1)).indices  # type: ignore[arg-type]
    samples, vectors = pool_of(state, metric)
    distance = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    covered = np.searchsorted(samples, state.labels.labeled).tolist()
    for i, pick in enumerate(np.searchsorted(samples, picks).tolist()):
        if covered:
            assert pick == distance[:, covered].min(axis=1).argmax(), f"pick {i}"
        covered.append(pick)


def test_kcenter_starts_at_random() -> None:
    state = make_state(labeled=0)
    firsts = {int(KCenter().select(state, 1, np.random.default_rng(s)).indices[0]) for s in range(20)}
    assert len(firsts) > 5


def test_random_is_uniform() -> None:
    state = make_state(10, labeled=2)
    count = Counter(int(i) for s in range(2000) for i in Random().select(state, 2, np.random.default_rng(s)).indices)
    assert set(count) == set(state.candidates.tolist())
    assert all(400 < c < 600 for c in count.values())


def test_random_per_group_goes_round() -> None:
    state = replace(make_state(60, labeled=0, held_out=0), groups=np.repeat([0, 1, 2], [40, 15, 5]))
    for seed in range(5):
        groups = state.groups[RandomPerGroup().select(state, 24, np.random.default_rng(seed)).indices]
        assert [len(set(turn)) for turn in groups[:15].reshape(5, 3).tolist()] == [3] * 5
        assert [set(turn) for turn in groups[15:23].reshape(4, 2).tolist()] == [{0, 1}] * 4


def test_random_per_group_first_asks_groups_without_labels() -> None:
    state = make_state(30, labeled=2, held_out=0)
    groups = np.ones(30, dtype=np.int64)
    groups[state.candidates[20:]] = 0
    picks = RandomPerGroup().select(replace(state, groups=groups), 4, np.random.default_rng(0)).indices
    assert groups[picks[:2]].tolist() == [0, 0]
    assert sorted(groups[picks[2:]].tolist()) == [0, 1]
