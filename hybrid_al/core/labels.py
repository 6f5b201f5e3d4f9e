"""The append-only record of the oracle's answers, and the labeled set that follows from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from ..errors import InputError
from .types import Annotation, AnnotationKind, IntArray

LABELLESS: tuple[AnnotationKind, ...] = ("skip", "not")
"""Kinds of answers that give no label."""


def stratified_folds(targets_K: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """Fold in which each label is held out (K,), 0 to `folds` - 1; classes are spread evenly over the folds.

    With several labels a sample, (K, L) in {0, 1}, the class of a sample is the rarest of its labels; samples without
    any label are one class more.
    """
    if targets_K.ndim == 2:
        count = np.where(targets_K == 1, targets_K.sum(axis=0), len(targets_K) + 1)
        targets_K = np.where(targets_K.any(axis=1), count.argmin(axis=1), targets_K.shape[1])
    order = rng.permutation(len(targets_K))
    order = order[np.argsort(targets_K[order], kind="stable")]
    fold = np.empty(len(order), dtype=np.int64)
    fold[order] = np.arange(len(order)) % folds
    return fold


@dataclass(frozen=True)
class LabelStore:
    """All annotations of a run over n samples; a correction is a later annotation that supersedes an earlier one."""

    n: int
    annotations: tuple[Annotation, ...] = ()

    def __post_init__(self) -> None:
        """Check that every annotation is about a sample, and that a second one about it supersedes the first."""
        current: dict[int, int] = {}
        for position, a in enumerate(self.annotations):
            if not 0 <= a.index < self.n:
                raise InputError(f"annotation {position}", f"a sample below {self.n}", str(a.index))
            if a.supersedes != current.get(a.index):
                raise InputError(
                    f"annotation {position} of sample {a.index}",
                    f"supersedes={current.get(a.index)}",
                    f"supersedes={a.supersedes}",
                )
            current[a.index] = position

    @cached_property
    def current(self) -> dict[int, Annotation]:
        """Sample -> its annotation in force, in the order in which the samples were first annotated."""
        annotations: dict[int, Annotation] = {}
        for a in self.annotations:
            annotations[a.index] = a
        return annotations

    @cached_property
    def labeled(self) -> IntArray:
        """Samples that have a label (K,), in the order of annotation, without those that were skipped."""
        return np.asarray([i for i, a in self.current.items() if a.kind not in LABELLESS], dtype=np.int64)

    @cached_property
    def answered(self) -> IntArray:
        """Samples with an answer of the oracle, a label or a skip (K,); one that leaves classes open is none yet."""
        return np.asarray([i for i, a in self.current.items() if a.kind != "not"], dtype=np.int64)

    @property
    def excluded(self) -> dict[int, tuple[int, ...]]:
        """Sample -> the classes that it is not, of those of which no more is known."""
        return {i: cast(tuple[int, ...], a.target) for i, a in self.current.items() if a.kind == "not"}

    @property
    def unlabeled(self) -> IntArray:
        """Samples without a label, ascending (n - K,), with those that were skipped."""
        return np.setdiff1d(np.arange(self.n, dtype=np.int64), self.labeled)

    @property
    def cost(self) -> float:
        """Cost of all annotations, corrections included."""
        return float(sum(a.cost for a in self.annotations))

    def class_targets(self) -> IntArray:
        """Class number of each labeled sample (K,), aligned with `labeled`; error for an annotation of another kind."""
        targets = []
        for i in self.labeled:
            a = self.current[int(i)]
            if a.kind != "class" or not isinstance(a.target, int):
                raise InputError(f"label of sample {a.index}", "a class", f"{a.kind} {a.target!r}")
            targets.append(a.target)
        return np.asarray(targets, dtype=np.int64)

    def label_targets(self, count: int) -> IntArray:
        """Which of `count` labels each labeled sample has (K, L), 0 or 1, aligned with `labeled`."""
        targets = np.zeros((len(self.labeled), count), dtype=np.int64)
        for k, i in enumerate(self.labeled.tolist()):
            a = self.current[i]
            if a.kind != "classes" or not isinstance(a.target, tuple) or not all(0 <= c < count for c in a.target):
                raise InputError(f"label of sample {i}", f"labels below {count}", f"{a.kind} {a.target!r}")
            targets[k, list(a.target)] = 1
        return targets

    def spread(self, targets: IntArray) -> tuple[IntArray, IntArray]:
        """Places in `labeled` (M,) and a target of each (M,) or (M, L), where some samples have several `votes`.

        Each sample is there as often, and each of its votes as often; all once where nothing has votes.

        targets  of the labeled samples (K,), or labels (K, L)
        """
        votes = [self.current[i].votes for i in self.labeled.tolist()]
        times = math.lcm(*(max(len(vote), 1) for vote in votes))
        places = np.repeat(np.arange(len(votes), dtype=np.int64), times)
        spread = targets[places]
        for k, vote in enumerate(votes):
            for place, target in enumerate(np.repeat(np.arange(len(vote)), times // len(vote)) if vote else ()):
                row = k * times + place
                if targets.ndim == 1:
                    spread[row] = cast(int, vote[target])
                else:
                    spread[row] = np.isin(np.arange(targets.shape[1]), cast(tuple[int, ...], vote[target]))
        return places, spread

    def add(self, new: Iterable[Annotation]) -> LabelStore:
        """A store with the new annotations after the old ones; a second one about a sample supersedes the first."""
        position = {a.index: i for i, a in enumerate(self.annotations)}
        additions = []
        for a in new:
            additions.append(replace(a, supersedes=position.get(a.index)))
            position[a.index] = len(self.annotations) + len(additions) - 1
        return LabelStore(self.n, (*self.annotations, *additions))

    def as_of(self, round: int) -> LabelStore:
        """The store as it was when `round` was committed."""
        return LabelStore(self.n, tuple(a for a in self.annotations if a.round <= round))

    def to_jsonl(self) -> str:
        """One annotation a line."""
        return "".join(json.dumps(_plain(a)) + "\n" for a in self.annotations)

    @classmethod
    def from_jsonl(cls, n: int, text: str) -> LabelStore:
        """Read what `to_jsonl` wrote."""
        return cls(n, tuple(_annotation(json.loads(line)) for line in text.splitlines()))


def _plain(annotation: Annotation) -> dict[str, object]:
    """Without votes where there are none, as files had it before there were any."""
    return {key: value for key, value in asdict(annotation).items() if key != "votes" or value}


def _annotation(row: dict[str, object]) -> Annotation:
    for key in ("target", "region"):
        if isinstance(row[key], list):
            row[key] = tuple(row[key])  # type: ignore[arg-type]
    votes = cast(list[Any], row.get("votes", []))
    row["votes"] = tuple(tuple(vote) if isinstance(vote, list) else vote for vote in votes)
    return Annotation(**row)  # type: ignore[arg-type]
