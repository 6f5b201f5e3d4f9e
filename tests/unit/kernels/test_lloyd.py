"""Lloyd's iterations against a slow reference, and the assignment of the GPU."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.kernels import kmeans as module
from hybrid_al.kernels.kmeans import _closest_on_gpu, lloyd


def rows(n: int, dim: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def nearest(vectors: FloatArray, centroids: FloatArray) -> IntArray:
    squared = ((vectors[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    indices: IntArray = squared.argmin(axis=1)
    return indices


def slow(vectors: FloatArray, centroids: FloatArray, iterations: int) -> FloatArray:
    """Every centroid the mean of the rows that it is nearest to, again and again; none is without."""
    for _ in range(iterations):
        cluster = nearest(vectors, centroids)
        centroids = np.stack([vectors[cluster == c].mean(axis=0) for c in range(len(centroids))])
    return centroids


@pytest.mark.parametrize("iterations", [1, 2, 9, 60])
@pytest.mark.parametrize(("n", "dim", "k"), [(19, 3, 4), (300, 2, 1), (500, 8, 9), (3000, 33, 20)])
def test_each_centroid_is_the_mean_of_its_rows(n: int, dim: int, k: int, iterations: int) -> None:
    vectors = rows(n, dim)
    seeds = vectors[np.random.default_rng(1).permutation(n)[:k]]
    centroids, cluster = lloyd(vectors, seeds, iterations)
    np.testing.assert_allclose(centroids, slow(vectors, seeds, iterations), atol=1e-4)
    np.testing.assert_array_equal(cluster, nearest(vectors, centroids))


def test_as_many_clusters_as_rows() -> None:
    vectors = rows(40, 6)
    centroids, cluster = lloyd(vectors, vectors[::-1].copy(), 5)
    np.testing.assert_array_equal(centroids[cluster], vectors)


def test_a_cluster_without_rows_gets_half_of_a_large_one() -> None:
    vectors = rows(400, 4)
    seeds = np.concatenate([vectors[:6], vectors[:2], vectors[:1] + 50])  # two that tie and one that nothing is near
    assert len(np.unique(lloyd(vectors, seeds, 20)[1])) == 9


def test_the_assignment_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 33)
    vectors, centroids = rows(100, 5), rows(7, 5, seed=1)
    np.testing.assert_array_equal(_closest_on_gpu(vectors, "cpu")(centroids), nearest(vectors, centroids))
