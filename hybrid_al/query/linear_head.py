"""A linear head on frozen embeddings, and what it says of labeled samples that it was not fitted on."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from ..core.labels import dealt
from ..core.types import FloatArray, IntArray
from .base import QueryState


def scaled_embeddings(state: QueryState, indices: IntArray) -> FloatArray:
    """Embeddings of some samples (K, D), shifted and scaled by the pool's mean and standard deviation."""
    pool = state.vectors(np.union1d(state.candidates, state.labels.labeled))
    mean, std = pool.mean(axis=0, dtype=np.float64), pool.std(axis=0, dtype=np.float64)
    scaled: FloatArray = (state.vectors(indices) - mean) / np.maximum(std, 1e-6)
    return scaled


def cross_fitted(
    vectors_LD: FloatArray, targets_L: IntArray, folds: int, strength: float, rng: np.random.Generator
) -> FloatArray:
    """Class probabilities (L, K) of each sample by a head that was fitted without its fold.

    targets_L: 0 to K - 1, each of which occurs. For folds see `dealt`. A class that occurs in
    no other fold has a probability near 0.
    """
    fold = dealt(targets_L, folds, rng)
    probs = np.empty((len(targets_L), int(targets_L.max()) + 1))
    for out in (fold == f for f in np.unique(fold)):
        weight, bias = fit_head(vectors_LD[~out], targets_L[~out], probs.shape[1], strength)
        probs[out] = softmax(vectors_LD[out] @ weight.T + bias, axis=1)
    return probs


def fit_head(
    vectors_LD: FloatArray, targets_L: IntArray, classes: int, strength: float
) -> tuple[FloatArray, FloatArray]:
    """Weights (C, D) and bias (C,) of multinomial logistic regression, by L-BFGS.

    The sum of the cross-entropies, plus the squares of the weights divided by 2 strength and those of the bias by
    2,000, so that a class without samples has a finite answer.
    """
    rows, onehot = vectors_LD.astype(np.float64), np.eye(classes)[targets_L]
    dim = rows.shape[1]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        weight, bias = flat[:-classes].reshape(classes, dim), flat[-classes:]
        logits = rows @ weight.T + bias
        value = float((logsumexp(logits, axis=1) - (logits * onehot).sum(axis=1)).sum())
        value += float((weight**2).sum() / (2 * strength) + (bias**2).sum() / 2000)
        pull = softmax(logits, axis=1) - onehot
        slope = pull.T @ rows + weight / strength
        return value, np.concatenate([slope.ravel(), pull.sum(axis=0) + bias / 1000])

    found = minimize(loss, np.zeros(classes * (dim + 1)), jac=True, method="L-BFGS-B", options={"gtol": 1e-6})
    weight: FloatArray = found.x[:-classes].reshape(classes, dim)
    return weight, found.x[-classes:]
