"""Representative annotation, and clusters of the pool, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.core.embeddings import unit_rows
from hybrid_al.core.types import FloatArray
from hybrid_al.query.clusters import agglomerative
from hybrid_al.query.strategies.representative import RepresentativeAnnotation, _until
from hybrid_al.query.synthetic import make_state


def check_greedy(picks: list[int], rows: FloatArray, pool: FloatArray, covered: FloatArray) -> None:
    """Each pick raises the sum over the pool of the largest cosine (0 at least) as much as any row could."""
    reach = np.maximum(np.concatenate([covered, np.zeros((1, rows.shape[1]))]) @ pool.T, 0).max(axis=0)
    for pick in picks:
        gains = [(np.maximum(row @ pool.T, reach) - reach).sum() for row in rows]
        assert gains[pick] == pytest.approx(max(gains))
        reach = np.maximum(reach, rows[pick] @ pool.T)


def test_a_cluster_is_covered_up_to_the_share() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(40, 4)))
    for share in (0.5, 0.9, 0.99):
        picks = _until(rows, share, 100).tolist()
        check_greedy(picks, rows, rows, rows[:0])
        coverage = [np.maximum(rows @ rows[picks[:n]].T, 0).max(axis=1).mean() for n in range(1, len(picks) + 1)]
        assert coverage[-1] >= share and (len(picks) == 1 or coverage[-2] < share)
    assert sorted(_until(rows, 1.0, 100).tolist()) == list(range(40))


def test_the_picks_cover_the_pool_and_are_of_those_that_cover_clusters() -> None:
    state = make_state(60, labeled=4)
    picks = RepresentativeAnnotation(clusters=3, share=0.98).select(state, 8, np.random.default_rng(0)).indices
    vectors = state.vectors(state.candidates, "cosine").astype(np.float64)
    cluster = agglomerative(vectors, 3, 5000, np.random.default_rng(0))
    members = [np.flatnonzero(cluster == c) for c in range(cluster.max() + 1)]
    first = np.concatenate([rows[_until(vectors[rows], 0.98, 100)] for rows in members])
    assert 8 < len(first) < len(vectors)
    labeled = state.vectors(state.labels.labeled, "cosine").astype(np.float64)
    places = [int(np.flatnonzero(state.candidates[first] == pick)[0]) for pick in picks]
    check_greedy(places, vectors[first], np.concatenate([vectors, labeled]), labeled)


@pytest.mark.parametrize("rows", [200, 30])
def test_clusters_of_a_large_pool_are_those_of_a_sample(rows: int) -> None:
    blob = np.arange(120) % 4
    vectors = (20 * np.eye(4)[blob] + np.random.default_rng(0).normal(size=(120, 4))).astype(np.float32)
    cluster = agglomerative(vectors, 4, rows, np.random.default_rng(0))
    assert len(set(zip(blob.tolist(), cluster.tolist(), strict=True))) == 4
