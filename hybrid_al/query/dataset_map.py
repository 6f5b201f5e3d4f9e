"""A dataset map of the candidates by a training on the labels: how sure a head was of each over its epochs."""

from __future__ import annotations

import numpy as np
import scipy.special

from ..core.types import FloatArray, IntArray
from .base import QueryState
from .linear_head import scaled_embeddings

EPOCHS = 30
RATE = 2.0  # of a head on rows whose mean square is 1


def map_of_labels(state: QueryState, epochs: int = EPOCHS) -> tuple[FloatArray, FloatArray]:
    """Confidence and variability of each candidate, both (M,), of a head that is trained on the labeled samples.

    The head is linear on scaled embeddings. A candidate has no label: its class is that of the head at the end. Without
    labels, or with those of one class alone, all candidates have the same.
    """
    labeled, targets = state.labels.labeled, state.labels.class_targets()
    classes, targets = np.unique(targets, return_inverse=True)
    if len(classes) < 2:
        return np.ones(len(state.candidates)), np.ones(len(state.candidates))
    rows = scaled_embeddings(state, labeled)
    size = rows.shape[1] ** -0.5
    return dataset_map(size * rows, targets, size * scaled_embeddings(state, state.candidates), epochs)


def dataset_map(
    rows_LD: FloatArray, targets_L: IntArray, candidates_MD: FloatArray, epochs: int
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation over the epochs of the probability of each candidate's last class, both (M,).

    A head without a bias, from 0 by gradient descent on the mean cross-entropy, an epoch a step. Swayamdipta et al.,
    Dataset Cartography (EMNLP 2020), section 2.1. O(epochs (L + M) C D) time, and M C memory.
    """
    head = np.zeros((int(targets_L.max()) + 1, rows_LD.shape[1]))
    heads = []
    for _ in range(epochs):
        errors = scipy.special.softmax(rows_LD @ head.T, axis=1)
        errors[np.arange(len(rows_LD)), targets_L] -= 1
        head = head - RATE * errors.T @ rows_LD / len(rows_LD)
        heads.append(head)
    last = (candidates_MD @ head.T).argmax(axis=1)
    total, squares = np.zeros(len(last)), np.zeros(len(last))
    for head in heads:
        probs = scipy.special.softmax(candidates_MD @ head.T, axis=1)[np.arange(len(last)), last]
        total, squares = total + probs, squares + probs**2
    mean = total / epochs
    return mean, np.sqrt((squares / epochs - mean**2).clip(0))
