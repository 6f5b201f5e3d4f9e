"""A linear head on frozen embeddings: its probabilities of labeled samples that it was not fitted on."""

from __future__ import annotations

import numpy as np

from ..core.labels import stratified_folds
from ..core.types import FloatArray, IntArray
from .base import QueryState


def scaled_embeddings(state: QueryState, indices: IntArray) -> FloatArray:
    """Embeddings of some samples (K, D), shifted and scaled by the pool's mean and standard deviation."""
    pool = state.vectors(np.union1d(state.candidates, state.labels.labeled))
    mean, std = pool.mean(axis=0, dtype=np.float64), pool.std(axis=0, dtype=np.float64)
    scaled: FloatArray = (state.vectors(indices) - mean) / np.maximum(std, 1e-6)
    return scaled


def held_out_probs(
    vectors_LD: FloatArray, targets_L: IntArray, folds: int, strength: float, rng: np.random.Generator
) -> FloatArray:
    """Class probabilities (L, K) of each sample by a logistic regression that was fitted without its fold.

    The head has a vector of weights and a bias for each class. It minimises the sum of the cross-entropies plus the
    squares of the weights, divided by 2 strength. targets_L: 0 to K - 1, each of which occurs. For folds see
    `stratified_folds`. A class that occurs in no other fold has probability 0.
    """
    from sklearn.linear_model import LogisticRegression

    fold = stratified_folds(targets_L, folds, rng)
    probs = np.zeros((len(targets_L), int(targets_L.max()) + 1))
    for held_out in (fold == f for f in np.unique(fold)):
        targets, classes = targets_L[~held_out], np.unique(targets_L[~held_out])
        if len(classes) == 1:
            probs[held_out, classes[0]] = 1
            continue
        # for two classes scikit-learn fits one vector, their difference, whose square is twice the sum of their squares
        weight = strength * (2 if len(classes) == 2 else 1)
        head = LogisticRegression(C=weight, tol=1e-6, max_iter=15_000)
        head.fit(vectors_LD[~held_out].astype(np.float64), targets)
        probs[np.ix_(held_out, classes)] = head.predict_proba(vectors_LD[held_out].astype(np.float64))
    return probs
