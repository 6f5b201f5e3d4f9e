"""Several readers: what each said, what they say together, and who owes an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from ..core.labels import LABELLESS
from ..core.types import IGNORE, Annotation, FloatArray, IntArray, LabelMap, Target
from ..data.answers import read_answer
from ..data.masks import resize_mask
from .agreement import MISSING, cohen, dawid_skene, dice, majority, staple
from .base import NONE, SEPARATOR, SKIP
from .ledger import WITHDRAWN
from .readers import AND, Reading, assignments

if TYPE_CHECKING:
    from .worklist import WorklistOracle

AGREED = "agreed"
"""Folder of a round for masks that several readers made together."""
Keep = Callable[[int, LabelMap], str]


@dataclass(frozen=True)
class Readings:
    """All readings of a run by the end of a round."""

    lists: WorklistOracle
    reading: Reading
    round: int

    @cached_property
    def readers(self) -> dict[int, tuple[str, ...]]:
        """Who reads each sample of the query, in its order."""
        position = self.lists.manifest.position
        return {position[i]: names for i, names in assignments(self.lists.run, self.round, self.reading).items()}

    @cached_property
    def said(self) -> dict[int, dict[str, Annotation]]:
        """The last answer of each reader about each sample; a no counts until its sample is asked about again."""
        answers: dict[int, dict[str, Annotation]] = {}
        for r in range(self.round + 1):
            again = self.lists.run.query_ids(r) or () if self.lists.wording.refuses else ()
            for index in (self.lists.manifest.position[i] for i in again):
                answers.pop(index, None)
            for answer in self.lists.answers(r):
                if answer.target == WITHDRAWN:
                    answers.get(answer.index, {}).pop(answer.annotator, None)
                else:
                    answers.setdefault(answer.index, {})[answer.annotator] = answer
        return answers

    @cached_property
    def samples(self) -> list[int]:
        """What the round is about: its query, and what was corrected or answered unasked in it."""
        return list(dict.fromkeys([*self.readers, *(answer.index for answer in self.lists.answers(self.round))]))

    def readings(self, index: int) -> dict[str, Annotation]:
        """What the readers said of a sample, without the adjudicator."""
        said = self.said.get(index, {})
        return {name: said[name] for name in self.reading.readers if name in said}

    @cached_property
    def owed(self) -> dict[str, list[int]]:
        """The samples that each person still has to answer, by name; nobody else is in it."""
        owed: dict[str, list[int]] = {}
        for i in self.samples:
            for name in self.owing(i):
                owed.setdefault(name, []).append(i)
        return owed

    def owing(self, index: int) -> list[str]:
        """Who still has to answer a sample."""
        missing = [name for name in self.readers.get(index, ()) if name not in self.readings(index)]
        return [self.reading.adjudicator] if not missing and self.is_open(index) else missing

    def is_open(self, index: int) -> bool:
        """Whether the readers of a sample differ and no adjudicator has spoken."""
        return bool(self.reading.adjudicator) and self.verdict(index) is None and self.differ(index)

    def verdict(self, index: int) -> Annotation | None:
        """What the adjudicator says of a sample, or one who was it before."""
        said = self.said.get(index, {})
        return next((said[name] for name in self.reading.judges if name in said), None)

    def differ(self, index: int) -> bool:
        """Whether the readers of a sample say different things; of masks, whether a Dice is below `agreement`."""
        readings = list(self.readings(index).values())
        if len({(a.kind, a.target) for a in readings}) < 2:
            return False
        if any(a.kind != "mask" for a in readings):
            return True
        between = dice([self.map(a) for a in readings], len(self.lists.classes))
        return bool((between[np.isfinite(between)] < self.reading.agreement).any())

    def refusal(self, index: int, name: str, *, unasked: bool) -> str | None:
        """What a person may answer, where a sample is not that; None where it is. One's own answer may be corrected.

        unasked  readers may answer what nobody was asked about
        """
        readers, is_read = self.readers.get(index, ()), not set(self.owing(index)) - {self.reading.adjudicator}
        if (
            name in readers
            or name in self.said.get(index, {})
            or (unasked and not readers and name in self.reading.readers)
        ):
            return None
        if name != self.reading.adjudicator:
            return f"images that {name} reads"
        return None if is_read and self.differ(index) else "images that all readers of have answered, and differently"

    def difference(self, index: int) -> str:
        """What the adjudicator is told of a sample: what the readers said, which a blind one is not."""
        said = [a.target for a in self.readings(index).values()]
        if self.reading.blind or self.lists.wording.kind not in ("class", "classes"):
            return "the readers differ"
        return f"the readers differ: {' / '.join(map(self._word, said))}"

    def _word(self, target: Target) -> str:
        numbers = (target,) if isinstance(target, int) else target if isinstance(target, tuple) else None
        return SKIP if numbers is None else SEPARATOR.join(self.lists.classes[c] for c in numbers) or NONE

    def map(self, answer: Annotation) -> LabelMap:
        """The label map (H, W) of an answer."""
        return read_answer(self.lists.run.path / str(answer.target))

    def answers(self, write: Keep) -> tuple[tuple[Annotation, ...], list[int]]:
        """What the readers say together of each sample that nobody owes anything about, and the other samples.

        write  keeps a label map of a sample that no reader drew alone; its path in the run directory
        """
        waiting = {i for samples in self.owed.values() for i in samples}
        together = [self._together(i, write) for i in self.samples if i not in waiting]
        return self.lists.with_exclusions(together, self.round), [i for i in self.samples if i in waiting]

    def _together(self, index: int, write: Keep) -> Annotation:
        readings, verdict = self.readings(index), self.verdict(index)
        said = [*readings.values(), *([verdict] if verdict else [])]
        if not said:  # all withdrew what an earlier round was told
            return Annotation(index, "skip", None, AND.join(self.reading.readers), self.round)
        shared = replace(
            said[0],
            annotator=AND.join(readings),
            round=self.round,
            time=max(filter(None, (a.time for a in said)), default=None),
            cost=float(len(said)),
        )
        if verdict is not None:
            return replace(shared, kind=verdict.kind, target=verdict.target, annotator=verdict.annotator)
        return self._label(shared, [a for a in readings.values() if a.kind != "skip"], write)

    def _label(self, shared: Annotation, labels: Sequence[Annotation], write: Keep) -> Annotation:
        """The annotation of readers of whom nobody judges, with the label that is made of theirs."""
        if not labels:
            return replace(shared, kind="skip", target=None)
        shared = replace(shared, kind=labels[0].kind, target=labels[0].target)
        if len({a.target for a in labels}) == 1:
            return shared
        if shared.kind == "mask":
            maps = np.stack([self.map(a) for a in labels])
            return shared if (maps == maps[0]).all() else replace(shared, target=write(shared.index, self._mask(maps)))
        if self.reading.target == "soft":
            targets = tuple(a.target for a in labels)
            most = max(map(targets.count, targets))
            return replace(shared, target=next(t for t in targets if targets.count(t) == most), votes=targets)
        target = self._consensus[shared.index] if self.reading.target == "consensus" else _most(labels)
        return replace(shared, target=target) if target is not None else replace(shared, kind="skip", target=None)

    def _mask(self, maps: LabelMap) -> LabelMap:
        """The class of each pixel that most maps (R, H, W) give it, or STAPLE; not known where as many say another."""
        classes = len(self.lists.classes)
        numbers = np.where(maps == IGNORE, MISSING, maps).astype(np.int64).reshape(len(maps), -1).T
        most = majority(numbers, classes).reshape(maps.shape[1:])
        if self.reading.target == "consensus":
            probs = np.stack([staple(maps == c).probs for c in range(classes)])
            most = np.where((maps == IGNORE).any(axis=0), most, probs.argmax(axis=0))
        label_map: LabelMap = np.where(most == MISSING, IGNORE, most).astype(np.uint8)
        return label_map

    @cached_property
    def _consensus(self) -> dict[int, Target]:
        """The class of each sample by Dawid-Skene over all readings so far; of several labels, each by itself."""
        rows, several = self.rows(), self.lists.wording.kind == "classes"
        if not several:
            numbers = self.numbers(rows)
            return dict(
                zip(rows, dawid_skene(numbers, len(self.lists.classes)).probs.argmax(axis=1).tolist(), strict=True)
            )
        there = np.stack([self.numbers(rows, c) for c in range(len(self.lists.classes))])
        best = np.stack([dawid_skene(answers, 2).probs.argmax(axis=1) for answers in there])
        return {i: tuple(np.flatnonzero(best[:, k]).tolist()) for k, i in enumerate(rows)}

    def rows(self, least: int = 1) -> list[int]:
        """The samples that at least so many readers gave a label, ascending."""
        counts = {i: sum(a.kind not in LABELLESS for a in self.readings(i).values()) for i in self.said}
        return sorted(i for i, count in counts.items() if count >= least)

    def numbers(self, rows: Sequence[int], label: int | None = None) -> IntArray:
        """Classes that the readers gave samples (N, R), or whether they gave one of several labels, 0 or 1."""
        numbers = np.full((len(rows), len(self.reading.readers)), MISSING, dtype=np.int64)
        for k, i in enumerate(rows):
            for name, answer in self.readings(i).items():
                if answer.kind not in LABELLESS:
                    target = answer.target
                    value = int(label in cast(tuple[int, ...], target)) if label is not None else cast(int, target)
                    numbers[k, self.reading.readers.index(name)] = value
        return numbers


def _most(labels: Sequence[Annotation]) -> Target:
    """The target of most annotations; None where two are as frequent. Of several labels, each by itself."""
    if labels[0].kind == "class":
        counts = Counter(a.target for a in labels).most_common(2)
        return None if len(counts) > 1 and counts[0][1] == counts[1][1] else counts[0][0]
    votes = Counter(c for a in labels for c in cast(tuple[int, ...], a.target))
    if any(2 * count == len(labels) for count in votes.values()):
        return None
    return tuple(sorted(c for c, count in votes.items() if 2 * count > len(labels)))


def agreement(readings: Readings) -> dict[str, float]:
    """How far the readers agree by now on what several of them labeled, under the names of trackers; empty for nothing.

    Kappa of Cohen of classes, all together and each against the others; Dice of masks, the mean of the images.
    """
    rows, classes = readings.rows(least=2), readings.lists.classes
    if not rows:
        return {}
    values = {"people/double": float(len(rows)), "people/differ": float(np.mean([readings.differ(i) for i in rows]))}
    if readings.lists.wording.kind == "mask":
        maps = [[readings.map(a) for a in readings.readings(i).values() if a.kind == "mask"] for i in rows]
        between = np.stack([dice(each, len(classes)) for each in maps])
        return values | of_classes("people/dice", mean_of(between), classes)
    return values | of_classes("people/kappa", kappas(readings, rows), classes)


def kappas(readings: Readings, rows: Sequence[int], more: Sequence[Target] | None = None) -> FloatArray:
    """Kappa of each class and, where a sample has one, of all together behind them, between the readers of samples.

    more  answers of a model, whose agreement with each reader is meant then
    """
    classes, several = len(readings.lists.classes), readings.lists.wording.kind == "classes"
    labels = range(classes) if several else [None]
    columns = [readings.numbers(rows, label) for label in labels]
    if more is None:
        per_label = [cohen(numbers, 2 if several else classes) for numbers in columns]
    else:
        per_label = []
        for label, numbers in zip(labels, columns, strict=True):
            own = [int(label in cast(tuple[int, ...], t)) if label is not None else cast(int, t) for t in more]
            pairs = [np.stack([numbers[:, r], own], axis=1) for r in range(numbers.shape[1])]
            per_label.append(mean_of(np.stack([cohen(pair, 2 if several else classes) for pair in pairs])))
    return np.asarray([row[-1] for row in per_label]) if several else per_label[0]


def model_agreement(readings: Readings, rows: Sequence[int], probs: Sequence[FloatArray]) -> dict[str, float]:
    """As `agreement`, of what a model says of samples, probabilities (C, *space), with each of their readers."""
    classes, kind = readings.lists.classes, readings.lists.wording.kind
    if kind == "mask":
        size, between = probs[0].shape[-1], list[FloatArray]()
        for i, each in zip(rows, probs, strict=True):
            drawn = [resize_mask(readings.map(a), size) for a in readings.readings(i).values() if a.kind == "mask"]
            own: LabelMap = each.argmax(axis=0).astype(np.uint8)
            between += [dice([own, one], len(classes)) for one in drawn]
        return of_classes("people/model_dice", mean_of(np.stack(between)), classes)
    several = kind == "classes"
    said: list[Target] = [tuple(np.flatnonzero(p >= 0.5).tolist()) if several else int(p.argmax()) for p in probs]
    return of_classes("people/model_kappa", kappas(readings, rows, said), classes)


def mean_of(rows: FloatArray) -> FloatArray:
    """The mean of each column without its nan; nan where nothing else is."""
    known = np.isfinite(rows)
    total = np.where(known, rows, 0.0).sum(axis=0)
    means: FloatArray = np.divide(total, known.sum(axis=0), out=np.full(rows.shape[1], np.nan), where=known.any(axis=0))
    return means


def of_classes(name: str, values: FloatArray, classes: Sequence[str]) -> dict[str, float]:
    """Values of the classes, and one of all behind them or else their mean, by their names; nan are left out."""
    whole = values[len(classes)] if len(values) > len(classes) else mean_of(values[:, None])[0]
    named = {name: float(whole), **{f"{name}/{c}": float(v) for c, v in zip(classes, values, strict=False)}}
    return {key: value for key, value in named.items() if np.isfinite(value)}
