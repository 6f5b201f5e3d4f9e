"""Pseudo-labels before any training: labels propagated over a neighbourhood graph of the embeddings of stage 0."""

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
    """Unlabeled rows (P,), their propagated classes (P,), and the probability with which each is drawn (P,)."""

    rows: IntArray
    targets: IntArray
    weights: FloatArray

    def mix_into(
        self, labeled: IntArray, targets: IntArray, count: int, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """The batch (B,) and its classes (B,), with the last `count` samples replaced by draws from the prior."""
        if count == 0 or not len(self.rows):
            return labeled, targets
        draws = rng.choice(len(self.rows), size=count, p=self.weights)
        size = len(labeled) - count
        return (
            np.concatenate([labeled[:size], self.rows[draws]]),
            np.concatenate([targets[:size], self.targets[draws]]),
        )


def make_prior(unit_ND: FloatArray, targets: IntArray, rows: IntArray, classes: int, *, neighbours: int = 50) -> Prior:
    """Prior pseudo-labels of the unlabeled `rows` (P,) of the pool.

    `unit_ND` are the unit vectors of the labeled samples, whose classes (K,) are `targets`, and then of `rows`. A row
    is drawn in proportion to its certainty, 1 - entropy / log C, over the number of rows of its class: Iscen et al.
    (CVPR 2019), section 3, where both weigh the loss.
    """
    shares = propagate(unit_ND, targets, classes, neighbours=neighbours)[len(targets) :]
    pseudo_labels = shares.argmax(axis=1).astype(np.int64)
    certainty = (1 - scipy.special.entr(shares).sum(axis=1) / np.log(classes)).clip(0, 1)
    weights = certainty / np.bincount(pseudo_labels, minlength=classes)[pseudo_labels]
    reached = weights > 0  # rows that no label reaches are never drawn
    return Prior(rows[reached], pseudo_labels[reached], weights[reached] / weights.sum())


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
    one_hot = np.zeros((n, classes))
    one_hot[np.arange(len(targets)), targets] = 1
    if k == 0:
        return one_hot
    graph = _graph(unit_ND, k, power)
    system = scipy.sparse.identity(n, format="csr") - alpha * graph
    shares = np.stack(
        [scipy.sparse.linalg.cg(system, one_hot[:, c], rtol=1e-8, maxiter=1000)[0] for c in range(classes)], axis=1
    ).clip(0)
    total = shares.sum(axis=1, keepdims=True)
    return np.where(total > 1e-12, shares / np.maximum(total, 1e-12), 1 / classes)


def _graph(unit_ND: FloatArray, k: int, power: float) -> scipy.sparse.csr_array:
    """S (N, N): symmetric, without loops, scaled by the degrees."""
    n = len(unit_ND)
    squared, indices = nearest(unit_ND, unit_ND, k, exclude_self=True)
    weights = np.maximum(1 - squared.ravel() / 2, 0) ** power  # the cosine of unit vectors
    directed = scipy.sparse.coo_array((weights, (np.repeat(np.arange(n), k), indices.ravel())), shape=(n, n)).tocsr()
    symmetric = directed + directed.T
    degree: FloatArray = np.asarray(symmetric.sum(axis=1)).ravel()
    scale = scipy.sparse.diags_array(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return (scale @ symmetric @ scale).tocsr()
