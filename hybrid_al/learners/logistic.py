"""Logistic regression, solved: the learner `linear` is nothing else, and the head of `frozen` starts at it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ..core.labels import stratified_folds
from ..core.types import BoolArray, FloatArray, IntArray

STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""What `fitted` chooses from; features are standardised."""

MIDDLE, DECADES = 3e-3, 0.5  # mean and deviation, in decades, of the strength before any label is seen: ten labels say
# little of it, and the evidence alone then chose too much (0.1 to 0.35 points of AUROC below 1e-3, six sets)

EVIDENCE_SIDE = 2_000  # labels x (classes - 1) up to which the evidence is computed, whose matrix has this side
HELD_OUT = 5  # above that a fifth of the labels is held out, where each class has as many


@dataclass(frozen=True)
class Head:
    """A linear head: weight (C, D) and bias (C,) of the logits of C classes, or of L labels.

    strength  factor of the summed loss beside half the squares of the weights (C of scikit-learn)
    ridge     the same from the other side: the weights minimise the mean loss plus ridge / 2 times their squares
    """

    weight: FloatArray
    bias: FloatArray
    strength: float
    ridge: float


def fitted(
    features_KD: FloatArray, targets: IntArray, classes: int, *, balanced: bool, weights: FloatArray | None = None
) -> Head:
    """`solve` with the strength of the highest evidence under a prior.

    Of many labels, whose evidence would take long, with the strength of the least loss on a fifth of them; where a
    class has too few for that, with the middle strength.
    """

    coordinates, basis = _span(features_KD)

    def head(strength: float, rows: BoolArray | slice = slice(None)) -> Head:
        own = None if weights is None else weights[rows]
        return solve(coordinates[rows], targets[rows], classes, strength, balanced=balanced, weights=own)

    counts = np.bincount(targets) if targets.ndim == 1 else targets.sum(axis=0)
    alternatives = max(int((counts > 0).sum()), 2) - 1 if targets.ndim == 1 else 1
    if len(targets) * alternatives <= EVIDENCE_SIDE:
        heads = [head(strength) for strength in STRENGTHS]
        scores = [
            evidence(h, coordinates, targets, balanced=balanced, weights=weights) + _prior(h.strength) for h in heads
        ]
        best = heads[int(np.argmax(scores))]
    elif counts[counts > 0].min() < HELD_OUT:
        best = head(MIDDLE)
    else:
        held_out = stratified_folds(targets, HELD_OUT, np.random.default_rng(0)) == 0
        losses = [_loss(head(strength, ~held_out), coordinates[held_out], targets[held_out]) for strength in STRENGTHS]
        best = head(STRENGTHS[int(np.argmin(losses))])
    return best if basis is None else replace(best, weight=best.weight @ basis)


def _span(features_KD: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Coordinates (K, K) in a basis (K, D) of what the features span, where they are fewer than their dimensions.

    A penalised solution lies in that span, so it is found there.
    """
    if features_KD.shape[0] >= features_KD.shape[1]:
        return features_KD, None
    left, lengths, basis = np.linalg.svd(features_KD, full_matrices=False)
    return left * lengths, basis


def _prior(strength: float) -> float:
    """Log density of a strength, up to a constant: normal in its logarithm."""
    return -0.5 * float(np.log10(strength / MIDDLE) / DECADES) ** 2


def _loss(head: Head, features_KD: FloatArray, targets: IntArray) -> float:
    """Mean cross-entropy, each class of the same weight; of several labels their mean."""
    logits = features_KD @ head.weight.T + head.bias
    if targets.ndim == 2:
        return float(np.logaddexp(0, np.where(targets == 1, -logits, logits)).mean())
    losses = -log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
    return float(np.mean([losses[targets == k].mean() for k in np.unique(targets)]))


def solve(
    features_KD: FloatArray,
    targets: IntArray,
    classes: int,
    strength: float,
    *,
    balanced: bool,
    weights: FloatArray | None = None,
) -> Head:
    """L2-penalised logistic regression from zero, its bias free of penalty.

    targets   classes (K,), or labels (K, L) in {0, 1}, each a regression of its own
    balanced  all classes among the targets weigh the same
    weights   of the samples (K,), mean 1; None: all weigh the same

    A class without a label has zero weights, and a bias as if it had half a label. Where all labels are of one class
    all weights are zero.
    """
    if targets.ndim == 2:
        heads = [solve(features_KD, y, 2, strength, balanced=balanced, weights=weights) for y in targets.T]
        weight = np.stack([head.weight[1] - head.weight[0] for head in heads])
        bias = np.stack([head.bias[1] - head.bias[0] for head in heads])
        return Head(weight, bias, strength, 1 / (strength * targets.size))
    present, counts = np.unique(targets, return_counts=True)
    weight, bias = np.zeros((classes, features_KD.shape[1])), np.full(classes, -np.log(2 * counts.mean()))
    bias[present] = 0
    if len(present) > 1:
        own = None if weights is None else _weights(targets, weights, balanced=balanced)
        weight[present], bias[present] = _logistic(features_KD, targets, strength, own, balanced=balanced)
    # of two classes the penalty is on the difference of their vectors, whose square is twice the sum of their squares
    return Head(weight, bias, strength, (2 if len(present) == 2 else 1) / (strength * len(targets)))


def _weights(targets: IntArray, weights: FloatArray, *, balanced: bool) -> FloatArray:
    """Weights of the samples (K,), where `balanced` scaled so that all classes weigh the same; their mean stays."""
    if not balanced:
        return weights
    present, inverse = np.unique(targets, return_inverse=True)
    scaled: FloatArray = weights * (weights.sum() / (len(present) * np.bincount(inverse, weights)))[inverse]
    return scaled


def _logistic(
    features_KD: FloatArray, targets: IntArray, strength: float, weights: FloatArray | None, *, balanced: bool
) -> tuple[FloatArray, FloatArray]:
    """Weights (P, D) and biases (P,) of the P classes that occur, two at least; both sum to 0 over the classes.

    `weights` of the samples (K,), where they are given, stand in the place of `balanced`.
    """
    coordinates, basis = _span(features_KD)
    # Newton's steps are few and exact, but their matrix has the side of all weights
    newton = coordinates.shape[1] * len(np.unique(targets)) <= EVIDENCE_SIDE
    model = LogisticRegression(
        C=strength,
        class_weight="balanced" if balanced and weights is None else None,
        solver="newton-cholesky" if newton else "lbfgs",
        tol=1e-6,
        max_iter=1_000,
    )
    with warnings.catch_warnings():
        # the penalty bounds the weights of a fit that stops early; many classes of few labels are no regression
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(coordinates, targets, sample_weight=weights)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        weight, bias = (0.5 * np.concatenate([-array, array]) for array in (weight, bias))
    return (weight if basis is None else weight @ basis), bias - bias.mean()


def evidence(
    head: Head, features_KD: FloatArray, targets: IntArray, *, balanced: bool, weights: FloatArray | None = None
) -> float:
    """Laplace's approximation of the log evidence of a head's strength, up to a constant.

    The log-likelihood, minus the penalty, minus half the log determinant of I + strength H, H the Hessian of the summed
    loss in the weights, computed in K (C - 1) dimensions; the biases count as known (MacKay, The Evidence Framework
    Applied to Classification Networks, Neural Computation 1992). Of several labels the sum over them.

    Labels of unequal weight say less than as many equal ones: likelihood and penalty count as much as the effective
    number of labels, (sum of weights)^2 / sum of squares (Kish), is of their number. Without that the strength for 160
    labels of ISIC 2017, a fifth of them melanoma, was ten times too large.
    """
    if targets.ndim == 2:
        columns = [
            replace(head, weight=np.stack([-w, w]) / 2, bias=np.array([-b, b]) / 2)
            for w, b in zip(head.weight, head.bias, strict=True)
        ]
        return sum(
            evidence(h, features_KD, y, balanced=balanced, weights=weights)
            for h, y in zip(columns, targets.T, strict=True)
        )
    present, inverse = np.unique(targets, return_inverse=True)
    if len(present) == 1:
        return 0.0
    weights = _weights(targets, np.ones(len(targets)) if weights is None else weights, balanced=balanced)
    strength = head.strength / 2 if len(present) == 2 else head.strength
    logs = log_softmax(features_KD @ head.weight[present].T + head.bias[present], axis=1)
    probs = np.exp(logs)
    blocks_KCR = np.sqrt(weights)[:, None, None] * _roots(probs)
    products = np.einsum("icr,jcs->irjs", blocks_KCR, blocks_KCR) * (features_KD @ features_KD.T)[:, None, :, None]
    side = len(targets) * blocks_KCR.shape[2]
    log_determinant = np.linalg.slogdet(np.eye(side) + strength * products.reshape(side, side))[1]
    likelihood = weights @ logs[np.arange(len(targets)), inverse]
    effective = weights.sum() ** 2 / (weights**2).sum() / len(targets)
    return float(effective * (likelihood - (head.weight**2).sum() / (2 * strength)) - log_determinant / 2)


def _roots(probs_KC: FloatArray) -> FloatArray:
    """B (K, C, C - 1) with B B' = diag(p) - p p' for each row p of positive probabilities.

    diag(sqrt p) - p sqrt(p)' is a root too, of one column more; a reflection that turns sqrt(p) into the last axis
    makes that column zero.
    """
    length = probs_KC.shape[1]
    roots = np.sqrt(probs_KC / probs_KC.sum(axis=1, keepdims=True))
    squares = roots[:, :, None] * np.eye(length) - (roots**2)[:, :, None] * roots[:, None, :]
    normal = roots - np.eye(length)[-1]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    reflected = squares - 2 * (squares @ normal[:, :, None]) * normal[:, None, :]
    columns: FloatArray = reflected[:, :, :-1]
    return columns
