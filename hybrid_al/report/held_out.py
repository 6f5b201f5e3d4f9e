"""What the model of a round gets wrong on held-out samples, by what the round wrote: classes that lag, worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import BoolArray, FloatArray, IntArray
from ..metrics.operating import (
    HALF,
    Operating,
    Share,
    at_threshold,
    best_threshold,
    confusion,
    of_confusion,
)
from .runview import RoundView, RunView

MOST_WORST = 12
MOST_CLASSES = 20  # in a confusion matrix
LAGS = 0.1  # below the mean of the classes


@dataclass(frozen=True)
class ClassRow:
    """A class on held-out samples: what is recognised, at which probability (None: the largest), labels it has.

    lags  whether its sensitivity is surely below the mean of the classes, and by `LAGS` at least
    dice  mean over the images that have the structure, of masks
    """

    name: str
    operating: Operating
    threshold: float | None
    labels: int
    lags: bool = False
    dice: float | None = None


@dataclass(frozen=True)
class Worst:
    """A held-out sample that the model is most wrong about: its position, and what is so and what was said."""

    index: int
    note: str


@dataclass(frozen=True)
class Errors:
    """What is wrong after one round, on one split.

    unit       what is counted: images, or pixels of masks
    rule       how a class is told from probabilities, in words
    classes    one row a class; of two classes only the second, for the first mirrors it
    confusion  (C, C) true by predicted; None of several labels a sample, and of many classes
    """

    round: int
    split: str
    samples: int
    unit: str
    rule: str
    classes: tuple[ClassRow, ...]
    confusion: IntArray | None
    worst: tuple[Worst, ...]

    @property
    def lagging(self) -> list[str]:
        """Names of the classes that lag."""
        return [row.name for row in self.classes if row.lags]


def errors_of(run: RunView, r: RoundView) -> Errors | None:
    """Errors on test, else on val; None where the round wrote no answers."""
    for split in ("test", "val"):
        answers = {k.removeprefix(f"{split}/"): v for k, v in r.holdout.items() if k.startswith(f"{split}/")}
        if not answers:
            continue
        if "dice" in answers:
            return _of_masks(run, r.index, split, answers)
        own = {k.removeprefix("val/"): v for k, v in r.holdout.items() if k.startswith("val/")}
        of = _of_labels if answers["truth"].ndim == 2 else _of_classes
        return of(run, r.index, split, answers, own if split == "test" else {})
    return None


def _labels_of(run: RunView, r: int) -> list[int]:
    """Labels of each class that the committed rounds up to r have."""
    counts = [0] * len(run.classes)
    labels = (a for a in run.labels.as_of(r).current.values() if a.kind != "not")
    for a in labels:
        named = a.target if isinstance(a.target, tuple) else (a.target,) if isinstance(a.target, int) else ()
        for c in named:
            if c < len(counts):
                counts[c] += 1
    return counts


def threshold_of(probs: FloatArray, is_there: BoolArray) -> tuple[float, bool]:
    """The threshold by val, or 0.5 where val does not have both kinds; whether val chose it."""
    chosen = best_threshold(probs, is_there) if len(probs) else None
    return (HALF, False) if chosen is None else (chosen, True)


def _of_classes(
    run: RunView, r: int, split: str, answers: Mapping[str, FloatArray], val: Mapping[str, FloatArray]
) -> Errors:
    probs, truth = answers["probs"], answers["truth"].astype(np.int64)
    labels, threshold = _labels_of(run, r), None
    predicted = probs.argmax(axis=1)
    rule = "The most probable class is taken."
    if len(run.classes) == 2:
        threshold, chosen = threshold_of(
            val["probs"][:, 1] if val else np.empty(0), val["truth"] == 1 if val else np.empty(0, bool)
        )
        predicted = (probs[:, 1] >= threshold).astype(np.int64)
        rule = _rule(chosen, f"An image is taken for {run.classes[1]} from a probability of {threshold:.2f} on")
    counts = confusion(truth, predicted, len(run.classes))
    rows = [
        ClassRow(name, each, threshold, n)
        for name, each, n in zip(run.classes, of_confusion(counts), labels, strict=True)
    ]
    of_truth = probs[np.arange(len(truth)), truth]
    order = [int(k) for k in np.argsort(of_truth, kind="stable") if predicted[k] != truth[k]][:MOST_WORST]
    worst = tuple(
        Worst(
            int(answers["indices"][k]),
            f"is {run.classes[truth[k]]}, taken for {run.classes[predicted[k]]} ({probs[k, predicted[k]]:.2f})",
        )
        for k in order
    )
    shown = rows[1:] if len(rows) == 2 else rows
    matrix = counts if len(run.classes) <= MOST_CLASSES else None
    return Errors(r, split, len(truth), "images", rule, _lagging(shown, rows), matrix, worst)


def _rule(chosen: bool, words: str) -> str:
    why = (
        "where sensitivity and specificity add up to most on val"
        if chosen
        else "as no other split with both kinds could choose another"
    )
    return f"{words}, {why}."


def _of_labels(
    run: RunView, r: int, split: str, answers: Mapping[str, FloatArray], val: Mapping[str, FloatArray]
) -> Errors:
    rows, chosen_any = [], False
    for c, (name, n) in enumerate(zip(run.classes, _labels_of(run, r), strict=True)):
        known = answers["truth"][:, c] >= 0
        of_val = val["truth"][:, c] >= 0 if val else np.empty(0, bool)
        threshold, chosen = threshold_of(
            val["probs"][of_val, c] if val else np.empty(0), val["truth"][of_val, c] == 1 if val else np.empty(0, bool)
        )
        chosen_any |= chosen
        there = answers["truth"][known, c] == 1
        rows.append(ClassRow(name, at_threshold(answers["probs"][known, c], there, threshold), threshold, n))
    off = np.where(answers["truth"] >= 0, np.abs(answers["probs"] - answers["truth"]), -1.0)
    order = [int(k) for k in np.argsort(-off.max(axis=1), kind="stable") if off[k].max() > HALF][:MOST_WORST]
    worst = []
    for k in order:
        c = int(off[k].argmax())
        there = "is there" if answers["truth"][k, c] == 1 else "is not there"
        note = f"{run.classes[c]} {there}, its probability {answers['probs'][k, c]:.2f}"
        worst.append(Worst(int(answers["indices"][k]), note))
    rule = _rule(chosen_any, "Each label is taken for there from its own probability on")
    return Errors(r, split, len(off), "images", rule, _lagging(rows, rows), None, tuple(worst))


def _of_masks(run: RunView, r: int, split: str, answers: Mapping[str, FloatArray]) -> Errors:
    dice_KC, counts = answers["dice"], answers["confusion"].astype(np.int64)
    operatings = of_confusion(counts, independent=False)[1:]
    rows = [
        ClassRow(name, each, None, len(run.labels.labeled), dice=_mean(column))
        for name, each, column in zip(run.classes[1:], operatings, dice_KC.T, strict=True)
    ]
    means = np.asarray([np.inf if (m := _mean(row)) is None else m for row in dice_KC])
    order = [int(k) for k in np.argsort(means, kind="stable") if np.isfinite(means[k])][:MOST_WORST]
    worst = tuple(Worst(int(answers["indices"][k]), f"mean Dice {means[k]:.2f}") for k in order)
    rule = "A pixel is of its most probable class."
    matrix = counts if len(run.classes) <= MOST_CLASSES else None
    return Errors(r, split, len(dice_KC), "pixels", rule, _lagging(rows, rows), matrix, worst)


def _at_most(share: Share) -> float:
    """The most that a share may be, of cases that are independent; else itself."""
    return share.limits[1] if share.independent or not share.n else share.value


def _mean(values: FloatArray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _lagging(shown: Sequence[ClassRow], rows: Sequence[ClassRow]) -> tuple[ClassRow, ...]:
    """The rows with those marked whose upper limit lies below the mean sensitivity by `LAGS`."""
    values = [row.operating.sensitivity.value for row in rows if row.operating.sensitivity.n]
    mean = float(np.mean(values)) if len(values) > 1 else 0.0
    return tuple(
        ClassRow(
            row.name,
            row.operating,
            row.threshold,
            row.labels,
            _at_most(row.operating.sensitivity) < mean - LAGS,
            row.dice,
        )
        for row in shown
    )
