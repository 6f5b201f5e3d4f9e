"""Linear heads on frozen embeddings: of the classes, for samples not fitted on, and of what is labeled and what not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.labels import stratified_folds
from ..core.types import FloatArray, IntArray
from .base import QueryState

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

POOL = 20_000  # a larger pool is represented by a random sample of so many
STRENGTH = 1.0  # inverse weight of the penalty on the head that tells labels from the pool


def scaled_embeddings(state: QueryState, indices: IntArray) -> FloatArray:
    """Embeddings of some samples (K, D), shifted and scaled by the pool's mean and standard deviation."""
    pool = state.vectors(np.union1d(state.candidates, state.labels.labeled))
    mean, std = pool.mean(axis=0, dtype=np.float64), pool.std(axis=0, dtype=np.float64)
    scaled: FloatArray = (state.vectors(indices) - mean) / np.maximum(std, 1e-6)
    return scaled


def fitted_head(rows_LD: FloatArray, targets_L: IntArray, **settings: Any) -> LogisticRegression:
    """A logistic regression with these settings of scikit-learn, which warns where few labels are of many classes."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        head: LogisticRegression = LogisticRegression(**settings).fit(rows_LD, targets_L)
    return head


def held_out_probs(
    vectors_LD: FloatArray, targets_L: IntArray, folds: int, strength: float, rng: np.random.Generator
) -> FloatArray:
    """Class probabilities (L, K) of each sample by a logistic regression that was fitted without its fold.

    The head has a vector of weights and a bias for each class. It minimises the sum of the cross-entropies plus the
    squares of the weights, divided by 2 strength. targets_L: 0 to K - 1, each of which occurs. For folds see
    `stratified_folds`. A class that occurs in no other fold has probability 0.
    """
    fold = stratified_folds(targets_L, folds, rng)
    probs = np.zeros((len(targets_L), int(targets_L.max()) + 1))
    for held_out in (fold == f for f in np.unique(fold)):
        targets, classes = targets_L[~held_out], np.unique(targets_L[~held_out])
        if len(classes) == 1:
            probs[held_out, classes[0]] = 1
            continue
        # for two classes scikit-learn fits one vector, their difference, whose square is twice the sum of their squares
        weight = strength * (2 if len(classes) == 2 else 1)
        rows = vectors_LD[~held_out].astype(np.float64)
        head = fitted_head(rows, targets, C=weight, tol=1e-6, max_iter=15_000)
        probs[np.ix_(held_out, classes)] = head.predict_proba(vectors_LD[held_out].astype(np.float64))
    return probs


def pool_log_odds(
    labeled_TD: FloatArray, pool_RD: FloatArray, candidates_MD: FloatArray, strength: float
) -> FloatArray:
    """Log odds (M,) that a candidate is of the pool, not labeled; both sides weigh the same in the regression."""
    rows = np.concatenate([labeled_TD, pool_RD]).astype(np.float64)
    side = np.repeat([0, 1], [len(labeled_TD), len(pool_RD)])
    model = fitted_head(rows, side, C=strength, class_weight="balanced", tol=1e-6, max_iter=15_000)
    odds: FloatArray = model.decision_function(candidates_MD.astype(np.float64))
    return odds


def log_odds_of_pool(state: QueryState, rng: np.random.Generator, *, strength: float = STRENGTH) -> FloatArray:
    """`pool_log_odds` (M,) of the candidates against all labels, features of unit vectors scaled; 0 without labels."""
    vectors, labeled = state.vectors(state.candidates, "cosine"), state.labels.labeled
    if not len(labeled):
        return np.zeros(len(vectors))
    scale = np.maximum(vectors.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
    vectors = vectors / scale
    pool = vectors if len(vectors) <= POOL else vectors[np.sort(rng.choice(len(vectors), POOL, replace=False))]
    return pool_log_odds(state.vectors(labeled, "cosine") / scale, pool, vectors, strength)
