"""Lloyd's iterations of k-means: what faiss gives, bit for bit, but no sum is made anew and it stops at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import scipy.sparse

from .core.types import BoolArray, FloatArray, IntArray
from .threads import alone, side_by_side

PART = 1 << 16  # rows that the GPU looks at together
STEP = 4096  # rows that faiss looks at together: steps of it are split without another result


@alone()
def lloyd(rows_ND: FloatArray, centroids_KD: FloatArray, iterations: int) -> tuple[FloatArray, IntArray]:
    """Centroids (K, D) after so many iterations, or at rest, and the nearest one of each row (N,); K <= N.

    Clusters that kept their members keep their mean. Lloyd, Least Squares Quantization in PCM (1982). Distances are
    computed on the GPU where there is one, sums always in the order of the rows. Rows are to be centred (|a - b|^2
    is expanded). Time O(iterations N K D), memory O(N + K D) beside the rows. To search only for centroids that moved
    would save half of it but change ties: the last bits of a matrix product depend on where in it a row stands.
    """
    k = len(centroids_KD)
    closest = _closest(rows_ND)
    if k == len(rows_ND):
        return rows_ND.copy(), closest(rows_ND)
    centroids, cluster, changed = centroids_KD.copy(), closest(centroids_KD), np.ones(k, dtype=bool)
    for _ in range(iterations):
        before, sizes = cluster, np.bincount(cluster, minlength=k)
        if sizes.all():
            centroids[changed] = _means(rows_ND, cluster, changed, sizes)
            cluster = closest(centroids)
            changed = np.zeros(k, dtype=bool)
            changed[before[before != cluster]] = changed[cluster[before != cluster]] = True
            if not changed.any():
                break
        else:  # seldom
            centroids, changed = _by_faiss(rows_ND, centroids), np.ones(k, dtype=bool)
            cluster = closest(centroids)
    return centroids, cluster


def _means(rows: FloatArray, cluster: IntArray, wanted: BoolArray, sizes: IntArray) -> FloatArray:
    """Means of the wanted clusters, none of them empty: float32 sums in the order of the rows, as in faiss."""
    members = np.flatnonzero(wanted[cluster])
    order = members[np.argsort(cluster[members], kind="stable")]
    ends = np.concatenate([[0], np.cumsum(sizes[wanted])])
    ones = np.ones(len(order), dtype=np.float32)
    sums = scipy.sparse.csr_array((ones, order, ends), shape=(len(ends) - 1, len(rows))) @ rows
    means: FloatArray = sums * (np.float32(1) / sizes[wanted].astype(np.float32))[:, None]
    return means


def _by_faiss(rows: FloatArray, centroids: FloatArray) -> FloatArray:
    """One iteration of faiss, which gives a centroid without rows a half of a cluster that has many."""
    import faiss

    clustering = faiss.Kmeans(
        rows.shape[1], len(centroids), niter=1, min_points_per_centroid=1, max_points_per_centroid=len(rows)
    )
    with _faiss_alone():
        clustering.train(rows, init_centroids=centroids)
    found: FloatArray = np.asarray(clustering.centroids)
    return found


@contextmanager
def _faiss_alone() -> Iterator[None]:
    """faiss on the thread that calls it."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _closest(rows: FloatArray) -> Callable[[FloatArray], IntArray]:
    """Centroids (K, D) -> index of the nearest to each row (N,)."""
    import torch

    return _closest_on_gpu(rows) if torch.cuda.is_available() else _closest_by_faiss(rows)


def _closest_by_faiss(rows: FloatArray) -> Callable[[FloatArray], IntArray]:
    import faiss

    def closest(centroids: FloatArray) -> IntArray:
        index = faiss.IndexFlatL2(rows.shape[1])
        index.add(centroids)
        found = np.empty((len(rows), 1), dtype=np.int64)

        def search(part: slice) -> None:
            with _faiss_alone():
                found[part] = index.search(rows[part], 1)[1]

        side_by_side(search, len(rows), STEP)
        return found[:, 0]

    return closest


def _closest_on_gpu(rows: FloatArray, device: str = "cuda") -> Callable[[FloatArray], IntArray]:
    import torch

    held = torch.from_numpy(rows).to(device)

    def closest(centroids: FloatArray) -> IntArray:
        near = torch.from_numpy(centroids).to(device)
        norms = near.square().sum(1)
        found = [torch.addmm(norms, part, near.T, alpha=-2).argmin(1) for part in torch.split(held, PART)]
        return torch.cat(found).cpu().numpy()

    return closest
