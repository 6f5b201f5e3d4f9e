"""Lloyd's iterations against those of faiss, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.kernels import kmeans as module
from hybrid_al.kernels.kmeans import _closest_by_faiss, _closest_on_gpu, lloyd


def rows(n: int, dim: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def by_faiss(vectors: FloatArray, seeds: FloatArray, iterations: int) -> tuple[FloatArray, IntArray]:
    clustering = faiss.Kmeans(
        vectors.shape[1], len(seeds), niter=iterations, min_points_per_centroid=1, max_points_per_centroid=len(vectors)
    )
    clustering.train(vectors, init_centroids=seeds)
    found: IntArray = clustering.index.search(vectors, 1)[1][:, 0]
    return np.asarray(clustering.centroids), found


def check(vectors: FloatArray, seeds: FloatArray, iterations: int) -> None:
    found, expected = lloyd(vectors, seeds, iterations), by_faiss(vectors, seeds, iterations)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("iterations", [1, 2, 9, 60])
@pytest.mark.parametrize(("n", "dim", "k"), [(19, 3, 4), (300, 2, 1), (500, 8, 9), (3000, 33, 40), (40, 6, 40)])
def test_as_faiss(n: int, dim: int, k: int, iterations: int) -> None:
    vectors = rows(n, dim)
    check(vectors, vectors[np.random.default_rng(1).permutation(n)[:k]], iterations)


def test_it_stops_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = list[int]()

    def counting(vectors: FloatArray) -> Callable[[FloatArray], IntArray]:
        closest = _closest_by_faiss(vectors)

        def counted(centroids: FloatArray) -> IntArray:
            searches.append(1)
            return closest(centroids)

        return counted

    monkeypatch.setattr(module, "_closest", counting)
    vectors = rows(500, 3)
    check(vectors, vectors[:6], 200)
    assert len(searches) < 100


def test_a_cluster_without_rows_gets_half_of_a_large_one() -> None:
    vectors = rows(400, 4)
    seeds = np.concatenate([vectors[:6], vectors[:2], vectors[:1] + 50])  # two that tie and one that nothing is near
    check(vectors, seeds, 1)
    check(vectors, seeds, 20)
    assert len(np.unique(lloyd(vectors, seeds, 20)[1])) == 9


def test_the_assignment_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 33)
    vectors, centroids = rows(100, 5), rows(7, 5, seed=1)
    full = ((vectors[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    np.testing.assert_array_equal(_closest_on_gpu(vectors, "cpu")(centroids), full.argmin(axis=1))
