"""Pseudo-labels before any training: the labels spread over a neighbourhood graph of the embeddings of stage 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import scipy.special

from ..core.types import FloatArray, IntArray
from ..errors import InputError
from ..kernels.distances import nearest


@dataclass(frozen=True)
class Prior:
    """Rows (P,) without a label, the class (P,) that was propagated to each, and how often each is drawn (P,)."""

    rows: IntArray
    targets: IntArray
    weights: FloatArray

    def mixed_in(
        self, labeled: IntArray, targets: IntArray, count: int, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """A batch (B,) with its classes (B,) whose last `count` samples are drawn from here instead."""
        if count == 0 or not len(self.rows):
            return labeled, targets
        drawn = rng.choice(len(self.rows), size=count, p=self.weights)
        kept = len(labeled) - count
        return (
            np.concatenate([labeled[:kept], self.rows[drawn]]),
            np.concatenate([targets[:kept], self.targets[drawn]]),
        )


def make_prior(unit_ND: FloatArray, targets: IntArray, rows: IntArray, classes: int, *, neighbours: int = 50) -> Prior:
    """Prior pseudo-labels of the rows (P,) of the pool without a label.

    `unit_ND` are the unit vectors of the labeled samples, whose classes (K,) are `targets`, and then of `rows`. A row
    is drawn in proportion to its certainty, 1 - entropy / log C, over the number of rows of its class: Iscen et al.
    (CVPR 2019), section 3, where both weigh the loss.
    """
    spread = propagate(unit_ND, targets, classes, neighbours=neighbours)[len(targets) :]
    chosen = spread.argmax(axis=1).astype(np.int64)
    certainty = (1 - scipy.special.entr(spread).sum(axis=1) / np.log(classes)).clip(0, 1)
    weights = certainty / np.bincount(chosen, minlength=classes)[chosen]
    known = weights > 0  # rows that no label reaches are never drawn
    return Prior(rows[known], chosen[known], weights[known] / weights.sum())


def propagate(
    unit_ND: FloatArray, targets: IntArray, classes: int, *, neighbours: int = 50, alpha: float = 0.99, power: float = 3
) -> FloatArray:
    """Class shares (N, C) of unit vectors, the first K of which have the classes `targets` (K,): (I - alpha S) Z = Y.

    Zhou et al. (NeurIPS 2003), the closed form, on the graph of Iscen et al. (CVPR 2019), section 3: cosine to the
    power of 3 between neighbours, those of both sides added, S = D^-1/2 W D^-1/2. Solved by conjugate gradients to
    1e-8. A row that no label reaches has even shares.
    """
    n = len(unit_ND)
    if not 1 <= len(targets) <= n:
        raise InputError("propagation", f"1 to {n} labels", str(len(targets)))
    k = min(neighbours, n - 1)
    start = np.zeros((n, classes))
    start[np.arange(len(targets)), targets] = 1
    if k == 0:
        return start
    graph = _graph(unit_ND, k, power)
    system = scipy.sparse.identity(n, format="csr") - alpha * graph
    spread = np.stack(
        [scipy.sparse.linalg.cg(system, start[:, c], rtol=1e-8, maxiter=1000)[0] for c in range(classes)], axis=1
    ).clip(0)
    total = spread.sum(axis=1, keepdims=True)
    return np.where(total > 1e-12, spread / np.maximum(total, 1e-12), 1 / classes)


def _graph(unit_ND: FloatArray, k: int, power: float) -> scipy.sparse.csr_array:
    """S (N, N): symmetric, without loops, scaled by the degrees."""
    n = len(unit_ND)
    squared, found = nearest(unit_ND, unit_ND, k, exclude_self=True)
    weights = np.maximum(1 - squared.ravel() / 2, 0) ** power  # the cosine of unit vectors
    one_way = scipy.sparse.coo_array((weights, (np.repeat(np.arange(n), k), found.ravel())), shape=(n, n)).tocsr()
    both = one_way + one_way.T
    degree: FloatArray = np.asarray(both.sum(axis=1)).ravel()
    scale = scipy.sparse.diags_array(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return (scale @ both @ scale).tocsr()
