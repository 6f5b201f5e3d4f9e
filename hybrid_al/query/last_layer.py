"""The model's last layer: features, head and probabilities of one pass, and what scores samples by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.special

from ..core.embeddings import unit_rows
from ..core.types import FloatArray
from ..errors import InputError
from ..kernels.distances import squared_to
from .base import QueryState
from .cache import with_cache

RADIUS = 0.1  # of a perturbation, relative to the mean length of the features; ours
LARGEST = 50.0  # largest logit of a Dirichlet: its exponential is more evidence than any training gives
CELLS = 2**22  # numbers computed at a time


def probs_and_features(state: QueryState) -> tuple[FloatArray, FloatArray]:
    """Class probabilities (M, C) in float64 and finite features (M, D) of the candidates, by one pass."""
    once = with_cache(state)
    probs = once.probs().mean(axis=1, dtype=np.float64)
    blocks = [batch.features for batch in once.predictions() if batch.features is not None]
    features = np.concatenate(blocks) if blocks else np.empty((0, 0))
    if len(features) != len(probs) or not np.isfinite(features).all():
        raise InputError(f"predictions of round {state.round}", "finite features of every candidate", "others")
    return probs, features


def features_and_head(state: QueryState) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Features (M, D) of the candidates, weight (C, D) and bias (C,) of the last layer in float64, by one pass."""
    once = with_cache(state)
    _, features = probs_and_features(once)
    head = next(iter(once.predictions())).head
    if head is None or not all(np.isfinite(part).all() for part in head):
        raise InputError(f"predictions of round {state.round}", "a finite last layer", "none or another")
    return features.astype(np.float64), head[0].astype(np.float64), head[1].astype(np.float64)


def dirichlet(state: QueryState) -> FloatArray:
    """Parameters exp(logits) of each candidate's Dirichlet distribution (M, C), by one pass."""
    features, weight, bias = features_and_head(state)
    alpha: FloatArray = np.exp((features @ weight.T + bias).clip(-LARGEST, LARGEST))
    return alpha


def evidence_score(state: QueryState, score: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """A score (M, C) -> (M,) of `dirichlet`; where samples have several labels, of each label's, reduced over them."""
    if state.scorer is not None:
        return state.scorer(score.__name__, state.candidates, 1, 1)
    return score(dirichlet(state))


def gradient_length(state: QueryState) -> FloatArray:
    """Expected length (M,) of the gradient in the last layer's weights, see `expected_gradient_length`."""
    return expected_gradient_length(*probs_and_features(state))


def expected_gradient_length(probs_MC: FloatArray, features_MD: FloatArray) -> FloatArray:
    """Sum over classes of p_c |p - onehot(c)| |features| (M,)."""
    squared = np.square(probs_MC).sum(axis=1, keepdims=True) - 2 * probs_MC + 1
    errors = (probs_MC * np.sqrt(squared.clip(0))).sum(axis=1)
    length: FloatArray = errors * np.linalg.norm(features_MD.astype(np.float64), axis=1)
    return length


def perturbation_divergence(state: QueryState, radius: float = RADIUS) -> FloatArray:
    """`adversarial_divergence` (M,) of perturbations of `radius` times the mean length of the candidates' features."""
    features, weight, bias = features_and_head(state)
    length = radius * np.linalg.norm(features, axis=1).mean()
    return adversarial_divergence(features, weight, bias, float(length))


def adversarial_divergence(
    features_MD: FloatArray, weight_CD: FloatArray, bias_C: FloatArray, length: float
) -> FloatArray:
    """KL(p(z) || p(z + r)) in nats (M,), r of `length` in the direction of fastest growth, the larger of both signs.

    To second order the divergence is r' W' F W r / 2 with F = diag(p) - p p' = B B', B = diag(sqrt p) - p sqrt(p)', so
    the largest eigenvector of W' F W is W' B v, with v that of the C x C matrix B' W W' B.
    """
    divergence, size = np.empty(len(features_MD)), max(CELLS // len(bias_C) ** 2, 1)
    for start in range(0, len(divergence), size):
        logits = features_MD[start : start + size] @ weight_CD.T + bias_C
        log_p = scipy.special.log_softmax(logits, axis=1)
        p, root = np.exp(log_p), np.exp(log_p / 2)
        b = root[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * root[:, None, :]
        _, vectors = np.linalg.eigh(b.transpose(0, 2, 1) @ (weight_CD @ weight_CD.T) @ b)
        direction = (b @ vectors[:, :, -1:])[:, :, 0] @ weight_CD
        shift = length * unit_rows(direction) @ weight_CD.T
        plus, minus = (
            (p * (log_p - scipy.special.log_softmax(logits + s * shift, axis=1))).sum(axis=1) for s in (1, -1)
        )
        divergence[start : start + size] = np.maximum(plus, minus).clip(0)
    return divergence


def boundary_closeness(state: QueryState) -> FloatArray:
    """1 / (1 + `boundary_distance`) of the candidates (M,), in [0, 1], by one pass."""
    closeness: FloatArray = 1 / (1 + boundary_distance(*features_and_head(state)))
    return closeness


def boundary_distance(features_MD: FloatArray, weight_CD: FloatArray, bias_C: FloatArray) -> FloatArray:
    """Length of the least change of the features that gives another class (M,); inf where none does.

    The least over the classes of (logit of the predicted one - logit) / |difference of their weights|.
    """
    logits = features_MD @ weight_CD.T + bias_C
    predicted = logits.argmax(axis=1)
    gaps = logits[np.arange(len(logits)), predicted][:, None] - logits
    across = np.linalg.norm(weight_CD[:, None] - weight_CD[None], axis=2)[predicted]
    distance = np.full(logits.shape, np.inf)
    np.divide(gaps, across, out=distance, where=across > 0)
    nearest: FloatArray = distance.min(axis=1)
    return nearest


def sign_steps(
    features_MD: FloatArray, weight_CD: FloatArray, bias_C: FloatArray, size: float, most: int
) -> FloatArray:
    """Steps (M,) that take the features to another class, the last by its share; `most` where none does until then.

    Each step adds `size` times the sign of the gradient of the loss of the class predicted at first. Logits change
    linearly within a step, so the share is exact.
    """
    steps, block = np.full(len(features_MD), float(most)), max(CELLS // features_MD.shape[1], 1)
    for start in range(0, len(steps), block):
        logits = features_MD[start : start + block] @ weight_CD.T + bias_C
        rows, predicted = np.arange(len(logits)), logits.argmax(axis=1)
        for k in range(most):
            errors = scipy.special.softmax(logits, axis=1)
            errors[np.arange(len(rows)), predicted] -= 1
            change = size * np.sign(errors @ weight_CD) @ weight_CD.T
            own = np.arange(len(rows)), predicted
            gaps, gains = logits[own][:, None] - logits, change - change[own][:, None]
            share = np.full(gaps.shape, np.inf)
            np.divide(gaps, gains, out=share, where=gains > 0)
            least = share.min(axis=1)
            there = least <= 1
            steps[start + rows[there]] = k + least[there]
            logits, rows, predicted = (logits + change)[~there], rows[~there], predicted[~there]
            if not len(rows):
                break
    return steps


def features_and_share(state: QueryState) -> tuple[FloatArray, FloatArray]:
    """Features (M, D) of the candidates, and their `flipping_share` (M,) of class anchors; inf without labels."""
    features, weight, bias = features_and_head(state)
    if not len(state.labels.labeled):
        return features, np.full(len(features), np.inf)
    return features, flipping_share(features, weight, bias, class_anchors(state, len(bias)))


def class_anchors(state: QueryState, classes: int) -> FloatArray:
    """Anchors (A, D): mean features of each class that has labels, and of all labels where a class has none."""
    labeled, targets = state.labels.labeled, state.labels.class_targets()
    features, _, _ = features_and_head(replace(state, candidates=labeled))
    anchors = [features[targets == c].mean(axis=0) for c in np.unique(targets)]
    return np.stack([*anchors, features.mean(axis=0)] if len(anchors) < classes else anchors)


def flipping_share(
    features_MD: FloatArray, weight_CD: FloatArray, bias_C: FloatArray, anchors_AD: FloatArray
) -> FloatArray:
    """The share of an anchor beyond which a candidate's predicted class changes (M,); inf where it never does.

    Equation 5 of the paper: alpha = share |anchor - z| / |g| g / (anchor - z), elementwise, with g the gradient in z of
    the loss of the predicted class. To first order this alpha raises the loss most, of all for which
    |alpha (anchor - z)| = share |anchor - z|. In the mixed features z + alpha (anchor - z) the division cancels:
    z + share |anchor - z| g / |g|. So only the distance of an anchor counts, and the farthest flips first. Along
    g / |g| the scores change linearly, which gives the share in closed form.
    """
    logits = features_MD @ weight_CD.T + bias_C
    rows, predicted = np.arange(len(logits)), logits.argmax(axis=1)
    errors = scipy.special.softmax(logits, axis=1)
    errors[rows, predicted] -= 1
    along = unit_rows(errors @ weight_CD) @ weight_CD.T
    gains = along - along[rows, predicted][:, None]  # how fast each class gains on the predicted one
    gaps = logits[rows, predicted][:, None] - logits
    length = np.full(logits.shape, np.inf)
    np.divide(gaps, gains, out=length, where=gains > 0)
    farthest = np.max([np.sqrt(squared_to(features_MD, anchor)) for anchor in anchors_AD], axis=0)
    share = np.full(len(logits), np.inf)
    np.divide(length.min(axis=1), farthest, out=share, where=farthest > 0)
    return share
