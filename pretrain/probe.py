"""Probes of an encoder: kNN and linear evaluation of its embeddings on the splits that have labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.distances import nearest
from hybrid_al.metrics.classification import classification

NEIGHBOURS = 20
TEMPERATURE = 0.1
LARGEST_FIT = 20_000


def probe(
    embeddings: Embeddings, classes: int, pool: tuple[IntArray, IntArray], splits: dict[str, tuple[IntArray, IntArray]]
) -> dict[str, float]:
    """`<split>/knn_auroc` and `<split>/linear_auroc` of each split, from (positions, classes) pairs.

    It needs the pool's labels: a measurement for simulations, which the loop never uses.
    """
    rows, targets = pool
    if len(np.unique(targets)) < 2:
        return {}
    linear = _linear(embeddings.take(rows[:LARGEST_FIT]), targets[:LARGEST_FIT], classes)
    aurocs = {}
    for split, (indices, truth) in splits.items():
        knn_probs = _knn(embeddings, rows, targets, indices, classes)
        for name, probs in (("knn", knn_probs), ("linear", linear(embeddings.take(indices)))):
            metrics = classification(probs, truth)
            if "auroc" in metrics:
                aurocs[f"{split}/{name}_auroc"] = metrics["auroc"]
    return aurocs


def groups_to_split(targets_K: IntArray, groups_K: IntArray) -> int:
    """The most folds that labels can be split into: groups (patients, slides) of the class with the second most."""
    counts = sorted(len(np.unique(groups_K[targets_K == c])) for c in np.unique(targets_K))
    return counts[-2] if len(counts) > 1 else 0


def cross_validated(
    vectors_KD: FloatArray, targets_K: IntArray, groups_K: IntArray, classes: int, *, seed: int, folds: int = 5
) -> float:
    """AUROC of the linear probe of vectors (K, D), each predicted by a fit to other groups; 0.5 without an AUROC.

    Folds are stratified by class, and fewer where there are fewer groups. No other labels are used.
    """
    largest = groups_to_split(targets_K, groups_K)
    if largest < 2:
        raise InputError("probe", "two classes of at least two groups each", f"{largest} groups in the second")
    split = StratifiedGroupKFold(min(folds, largest), shuffle=True, random_state=seed)
    probs = np.full((len(targets_K), classes), 1 / classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class is not in every fold
        splits = list(split.split(vectors_KD, targets_K, groups_K))
    for train, test in splits:
        if len(np.unique(targets_K[train])) > 1:
            probs[test] = _linear(vectors_KD[train], targets_K[train], classes)(vectors_KD[test])
    return classification(probs, targets_K).get("auroc", 0.5)


def _knn(embeddings: Embeddings, rows: IntArray, targets: IntArray, indices: IntArray, classes: int) -> FloatArray:
    """Class probabilities (K, C) from cosine neighbours weighted by exp(similarity / 0.1) (Wu et al. 2018, 3.4)."""
    k = min(NEIGHBOURS, len(rows))
    squared, neighbours = nearest(embeddings.take(indices, "cosine"), embeddings.take(rows, "cosine"), k)
    weights = np.exp(-squared / (2 * TEMPERATURE))
    votes = np.zeros((len(indices), classes))
    np.add.at(votes, (np.arange(len(indices))[:, None], targets[neighbours]), weights)
    votes += 1e-9
    probs: FloatArray = votes / votes.sum(axis=1, keepdims=True)
    return probs


def _linear(vectors: FloatArray, targets: IntArray, classes: int) -> Callable[[FloatArray], FloatArray]:
    """Logistic regression on standardised embeddings: rows (K, D) -> probabilities (K, C)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors, targets)

    def predict(rows: FloatArray) -> FloatArray:
        probs = np.zeros((len(rows), classes))
        probs[:, model.classes_] = model.predict_proba(rows)
        return probs

    return predict
