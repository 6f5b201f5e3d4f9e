"""How good an encoder is: kNN and linear evaluation of its embeddings on the splits that have labels."""

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

    The pool's labels are needed: a probe is a measurement for simulations, never seen by the loop.
    """
    rows, targets = pool
    if len(np.unique(targets)) < 2:
        return {}
    linear = _linear(embeddings.take(rows[:LARGEST_FIT]), targets[:LARGEST_FIT], classes)
    found = {}
    for split, (where, truth) in splits.items():
        knn_probs = _knn(embeddings, rows, targets, where, classes)
        for name, probs in (("knn", knn_probs), ("linear", linear(embeddings.take(where)))):
            metrics = classification(probs, truth)
            if "auroc" in metrics:
                found[f"{split}/{name}_auroc"] = metrics["auroc"]
    return found


def groups_to_split(targets_K: IntArray, groups_K: IntArray) -> int:
    """Groups (patients, slides) of the class with the second most: into so many folds may labels be split; 0 = none."""
    counts = sorted(len(np.unique(groups_K[targets_K == c])) for c in np.unique(targets_K))
    return counts[-2] if len(counts) > 1 else 0


def cross_validated(
    vectors_KD: FloatArray, targets_K: IntArray, groups_K: IntArray, classes: int, *, seed: int, folds: int = 5
) -> float:
    """AUROC of the linear probe of vectors (K, D), each predicted by a fit to other groups; 0.5 where there is none.

    Folds are stratified by class; fewer where there are fewer groups. Nothing but the given labels is looked at.
    """
    most = groups_to_split(targets_K, groups_K)
    if most < 2:
        raise InputError("probe", "two classes of at least two groups each", f"{most} groups in the second")
    split = StratifiedGroupKFold(min(folds, most), shuffle=True, random_state=seed)
    probs = np.full((len(targets_K), classes), 1 / classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class is not in every fold
        parts = list(split.split(vectors_KD, targets_K, groups_K))
    for fit, held in parts:
        if len(np.unique(targets_K[fit])) > 1:
            probs[held] = _linear(vectors_KD[fit], targets_K[fit], classes)(vectors_KD[held])
    return classification(probs, targets_K).get("auroc", 0.5)


def _knn(embeddings: Embeddings, rows: IntArray, targets: IntArray, where: IntArray, classes: int) -> FloatArray:
    """Class probabilities (K, C) from cosine neighbours weighted by exp(similarity / 0.1) (Wu et al. 2018, 3.4)."""
    k = min(NEIGHBOURS, len(rows))
    squared, found = nearest(embeddings.take(where, "cosine"), embeddings.take(rows, "cosine"), k)
    weights = np.exp(-squared / (2 * TEMPERATURE))
    votes = np.zeros((len(where), classes))
    np.add.at(votes, (np.arange(len(where))[:, None], targets[found]), weights)
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
