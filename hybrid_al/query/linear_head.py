"""What a linear head on frozen embeddings says of labeled samples that it was not fitted on."""

from __future__ import annotations

import numpy as np

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
    """Class probabilities (L, K) of each sample by a logistic regression that was fitted without its fold.

    It has a vector of weights and a bias for each class; the sum of the cross-entropies is minimised, plus the squares
    of the weights divided by 2 strength. targets_L: 0 to K - 1, each of which occurs. For folds see `dealt`. A class
    that occurs in no other fold has probability 0.
    """
    from sklearn.linear_model import LogisticRegression

    fold = dealt(targets_L, folds, rng)
    probs = np.zeros((len(targets_L), int(targets_L.max()) + 1))
    for out in (fold == f for f in np.unique(fold)):
        rest, classes = targets_L[~out], np.unique(targets_L[~out])
        if len(classes) == 1:
            probs[out, classes[0]] = 1
            continue
        # of two classes scikit-learn fits one vector, the difference of theirs: its square is twice theirs together
        weight = strength * (2 if len(classes) == 2 else 1)
        head = LogisticRegression(C=weight, tol=1e-6, max_iter=15_000).fit(vectors_LD[~out].astype(np.float64), rest)
        probs[np.ix_(out, classes)] = head.predict_proba(vectors_LD[out].astype(np.float64))
    return probs
