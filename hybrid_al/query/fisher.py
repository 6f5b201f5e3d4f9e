"""Fisher information of the last layer: of one sample (diag(p) - p p') x (z z'), with features z in few dimensions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.types import FloatArray
from .base import QueryState
from .last_layer import probs_and_features

SIZE = 512  # classes x dimensions of the features at most: matrices have its square


def labeled_and_candidates(state: QueryState, size: int) -> tuple[FloatArray, FloatArray]:
    """Probabilities (L + M, C) and features (L + M, K), of the labeled samples and then the candidates, by one pass.

    Features are projected on their K = max(size / C, 1) principal directions, without a shift, where they have more.
    """
    samples = np.concatenate([state.labels.labeled, state.candidates])
    probs, features = probs_and_features(replace(state, candidates=samples))
    rows, k = features.astype(np.float64), max(size // probs.shape[1], 1)
    if k < rows.shape[1]:
        rows = rows @ np.linalg.eigh(rows.T @ rows)[1][:, -k:]
    return probs, rows


def information(probs_MC: FloatArray, features_MK: FloatArray) -> FloatArray:
    """Sum of the Fisher informations of samples (C K, C K)."""
    classes, k = probs_MC.shape[1], features_MK.shape[1]
    total = np.zeros((classes, k, classes, k))
    for c in range(classes):
        for d in range(classes):
            weight = probs_MC[:, c] * ((c == d) - probs_MC[:, d])
            total[c, :, d] = features_MK.T @ (weight[:, None] * features_MK)
    return total.reshape(classes * k, classes * k)


def roots(probs_MC: FloatArray) -> FloatArray:
    """Matrices (M, C, C) with B B' = diag(p) - p p'; column c is sqrt(p_c) (onehot(c) - p)."""
    root = np.sqrt(probs_MC)
    matrices: FloatArray = root[:, :, None] * np.eye(probs_MC.shape[1]) - probs_MC[:, :, None] * root[:, None, :]
    return matrices


@dataclass
class Design:
    """tr(M^-1 F) of information M that samples are added to and taken from, and what each sample would change.

    A sample has V V' with V = B x z (C K, C). By Woodbury M^-1 changes by a matrix of rank C, and so do, for every
    sample, V' M^-1 V and V' M^-1 F M^-1 V (M, C, C), which are kept. O(M C^2 (K + C) + C (C K)^2) time a move.

    roots (M, C, C), features (M, K); inverse M^-1 and total F (C K, C K)
    """

    roots: FloatArray
    features: FloatArray
    inverse: FloatArray
    total: FloatArray

    def __post_init__(self) -> None:
        """The quadratic forms of all samples."""
        self.sandwich = self.inverse @ self.total @ self.inverse
        self.own, self.spread = self._quadratic(self.inverse), self._quadratic(self.sandwich)

    def change(self, places: slice | list[int], sign: int) -> FloatArray:
        """How much the trace falls by adding each of the samples (sign 1), or rises by taking it out (sign -1)."""
        step = np.eye(self.own.shape[1]) + sign * self.own[places]
        change: FloatArray = np.trace(np.linalg.solve(step, self.spread[places]), axis1=1, axis2=2)
        return change

    def move(self, place: int, sign: int) -> None:
        """Add a sample (sign 1) or take it out (sign -1)."""
        v = np.einsum("cd,k->ckd", self.roots[place], self.features[place]).reshape(len(self.inverse), -1)
        u, w = self.inverse @ v, self.sandwich @ v
        middle = np.linalg.inv(np.eye(v.shape[1]) + sign * v.T @ u)
        square = middle @ (u.T @ self.total @ u) @ middle
        own_u, own_w = self._times(u), self._times(w)
        cross, cross_all = w @ middle @ u.T, own_w @ middle @ own_u.transpose(0, 2, 1)
        self.inverse = self.inverse - sign * u @ middle @ u.T
        self.sandwich = self.sandwich - sign * (cross + cross.T) + u @ square @ u.T
        self.own = self.own - sign * own_u @ middle @ own_u.transpose(0, 2, 1)
        both = cross_all + cross_all.transpose(0, 2, 1)
        self.spread = self.spread - sign * both + own_u @ square @ own_u.transpose(0, 2, 1)

    def _times(self, matrix: FloatArray) -> FloatArray:
        """V' times a matrix (C K, C) for each sample (M, C, C)."""
        classes, k = self.roots.shape[1], self.features.shape[1]
        columns = matrix.reshape(classes, k, -1).transpose(1, 0, 2).reshape(k, -1)
        product: FloatArray = self.roots.transpose(0, 2, 1) @ (self.features @ columns).reshape(
            len(self.features), classes, -1
        )
        return product

    def _quadratic(self, matrix: FloatArray) -> FloatArray:
        """V' times a matrix (C K, C K) times V for each sample (M, C, C)."""
        classes, k = self.roots.shape[1], self.features.shape[1]
        blocks, forms = matrix.reshape(classes, k, classes, k), np.empty_like(self.roots)
        for c in range(classes):
            for d in range(classes):
                forms[:, c, d] = ((self.features @ blocks[c, :, d]) * self.features).sum(axis=1)
        product: FloatArray = self.roots.transpose(0, 2, 1) @ forms @ self.roots
        return product
