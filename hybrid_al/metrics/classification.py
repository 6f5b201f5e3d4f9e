"""Metrics of a model's classes, and of a whole run: the area under the budget curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.types import FloatArray, IntArray
from ..errors import InputError
from .calibration import brier, calibration_error, classwise_error


def classification(probs_NC: FloatArray, targets_N: IntArray) -> dict[str, float]:
    """Metrics of class probabilities (N, C) against classes (N,), each a share in [0, 1] except nll (nats) and brier.

    auroc              two classes: of class 1; more: unweighted mean of one-versus-rest over the classes that some,
                       but not all, samples have; missing where there is none
    accuracy           share of correct argmax
    balanced_accuracy  mean recall over the classes present, which is macro recall
    macro_f1           mean F1 over the classes present
    nll                mean negative log probability of the true class, probabilities cut at 1e-12
    ece                expected calibration error of the largest probability, 15 equal bins (Guo et al., ICML 2017,
                       section 2)
    classwise_ece      the same of each class's probability, mean over classes (`calibration.classwise_error`)
    brier              squared distance from the true class, summed over classes, in [0, 2]
    """
    from sklearn.metrics import f1_score, recall_score

    _check(probs_NC, targets_N)
    predicted = probs_NC.argmax(axis=1)
    present = np.unique(targets_N)
    true_probs = np.take_along_axis(probs_NC, targets_N[:, None], axis=1)
    metrics = {
        "accuracy": np.mean(predicted == targets_N),
        "balanced_accuracy": recall_score(targets_N, predicted, labels=present, average="macro"),
        "macro_f1": f1_score(targets_N, predicted, labels=present, average="macro", zero_division=0),
        "nll": -np.log(np.maximum(true_probs, 1e-12)).mean(),
        "ece": calibration_error(probs_NC, targets_N),
        "classwise_ece": classwise_error(probs_NC, targets_N),
        "brier": brier(probs_NC, targets_N),
    }
    return {**_auroc(probs_NC, targets_N), **{name: float(value) for name, value in metrics.items()}}


BY_LABEL = ("auroc", "average_precision")


def multilabel(
    probs_NL: FloatArray, targets_NL: IntArray, names: Sequence[str], *, by_label: Sequence[str] = BY_LABEL
) -> dict[str, float]:
    """Metrics of label probabilities (N, L) against labels (N, L) in {0, 1}, or -1 for unknown, which does not count.

    Each label is a question of two classes, measured by `classification`: auroc, accuracy, balanced_accuracy, macro_f1
    (of yes and no), nll, ece, classwise_ece and brier are means (macro) over the labels that any sample has known. So
    one label alone has the metrics of two classes. auroc and average_precision (of yes; Everingham et al., VOC, IJCV
    2010, over all recalls) are means over the labels that some samples have and some do not; missing where there is
    none. Metrics in `by_label` come label by label too, as `auroc/<name>`.
    """
    from sklearn.metrics import average_precision_score

    _check_labels(probs_NL, targets_NL)
    by_name: dict[str, dict[str, float]] = {}
    for name, probs, targets in zip(names, probs_NL.T, targets_NL.T, strict=True):
        labeled = targets >= 0
        if not labeled.any():
            continue
        p, y = probs[labeled], targets[labeled]
        by_name[name] = classification(np.stack([1 - p, p], axis=1), y)
        if 0 < y.sum() < len(y):
            by_name[name]["average_precision"] = float(average_precision_score(y, p))
    metrics = list(dict.fromkeys(metric for values in by_name.values() for metric in values))
    means = {metric: float(np.mean([f[metric] for f in by_name.values() if metric in f])) for metric in metrics}
    return means | {f"{metric}/{name}": f[metric] for metric in by_label for name, f in by_name.items() if metric in f}


def as_questions(probs_NL: FloatArray, targets_NL: IntArray) -> tuple[FloatArray, IntArray]:
    """The K known ones of N * L labels as questions of two classes: probabilities (K, 2) and classes (K,)."""
    labeled = targets_NL >= 0
    yes = probs_NL[labeled]
    return np.stack([1 - yes, yes], axis=1), targets_NL[labeled]


def _check_labels(probs_NL: FloatArray, targets_NL: IntArray) -> None:
    if probs_NL.ndim != 2 or targets_NL.shape != probs_NL.shape or not probs_NL.size:
        raise InputError("metrics", "probabilities (N, L) and labels (N, L)", f"{probs_NL.shape}, {targets_NL.shape}")
    if not ((probs_NL >= 0) & (probs_NL <= 1)).all():
        raise InputError("metrics", "probabilities in [0, 1]", "others")
    if not np.isin(targets_NL, (-1, 0, 1)).all():
        raise InputError("metrics", "labels 0, 1 or -1", str(np.setdiff1d(targets_NL, (-1, 0, 1)).tolist()[:5]))
    if not (targets_NL >= 0).any():
        raise InputError("metrics", "a known label", "none")


def _auroc(probs_NC: FloatArray, targets_N: IntArray) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    classes = [1] if probs_NC.shape[1] == 2 else list(range(probs_NC.shape[1]))
    one_versus_rest = [(targets_N == c, probs_NC[:, c]) for c in classes]
    areas = [roc_auc_score(is_c, p) for is_c, p in one_versus_rest if is_c.any() and not is_c.all()]
    return {"auroc": float(np.mean(areas))} if areas else {}


def _check(probs_NC: FloatArray, targets_N: IntArray) -> None:
    if probs_NC.ndim != 2 or probs_NC.shape[1] < 2 or targets_N.shape != (len(probs_NC),) or not len(probs_NC):
        raise InputError("metrics", "probabilities (N, C) and classes (N,)", f"{probs_NC.shape}, {targets_N.shape}")
    if not np.isfinite(probs_NC).all():
        raise InputError("metrics", "finite probabilities", "nan or inf")
    if targets_N.min() < 0 or targets_N.max() >= probs_NC.shape[1]:
        raise InputError("metrics", f"classes 0 to {probs_NC.shape[1] - 1}", f"{targets_N.min()} to {targets_N.max()}")


def aubc(labels: Sequence[float], values: Sequence[float], *, log2: bool = False) -> float:
    """Area under the budget curve: trapezoid of a metric over the number of labels, divided by the range.

    The cold start is a point of the curve; a single point gives its value. With `log2` the area is over log2(labels),
    so each doubling counts the same. Lies between the smallest and the largest value. Zhan et al. (IJCAI 2021),
    section 4; Lueth et al., realistic-al (NeurIPS 2023).
    """
    x, y = np.asarray(labels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x) or not np.isfinite(y).all():
        raise InputError("aubc", "one finite value per number of labels", f"{len(x)} numbers, values {y.tolist()}")
    if x[0] <= 0 or (np.diff(x) <= 0).any():
        raise InputError("aubc", "growing numbers of labels above 0", str(x.tolist()))
    if len(x) == 1:
        return float(y[0])
    x = np.log2(x) if log2 else x
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))
