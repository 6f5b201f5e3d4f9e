"""What the tables of a bench are made from: arms in order, paired differences to random, the most complete block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..core.types import FloatArray
from ..errors import InputError
from .results import CHEATING, FULL, Arm, Curves, Results
from .statistics import Comparison, paired

RANDOM = "random"
"""Strategy name of the baseline that every arm of its objective and learner is compared with."""
Key = TypeVar("Key")
Who = TypeVar("Who")


@dataclass(frozen=True)
class Bench:
    """What all tables of a page share: the metric, what arms are called, when two are a tie, what counts as reached."""

    metric: str
    names: Mapping[Arm, str]
    margin: float
    share: float

    def those(self, arms: Iterable[Arm]) -> str:
        """Arms by name, in one line."""
        return ", ".join(self.names[arm] for arm in arms)


@dataclass(frozen=True)
class Variant:
    """One variant, its numbers worked out: AUBC by arm and seed, differences to random, and the most complete block."""

    name: str
    results: Results
    arms: tuple[Arm, ...]
    areas: Mapping[Arm, Mapping[int, float]]
    differences: Mapping[Arm, FloatArray]
    comparisons: Mapping[Arm, Comparison]
    joint: Curves | None

    @property
    def kept(self) -> tuple[Arm, ...]:
        """The arms of the most complete block."""
        return self.joint.arms if self.joint else ()

    def full(self, metric: str, arm: Arm) -> list[float]:
        """The metric with the whole pool labeled, under the objective and learner of an arm, by ascending seed."""
        return [y for _, y in sorted(self.results.full(metric, arm.objective, arm.learner).items())]


def names(variants: Mapping[str, Results]) -> dict[Arm, str]:
    """What each arm is called: its strategy; objective and learner where the bench has several; cheating is said."""
    arms = {arm for results in variants.values() for arm, _ in results.cells}
    objectives, learners = {arm.objective for arm in arms}, {arm.learner for arm in arms}
    return {arm: _name(arm, len(objectives) > 1, len(learners) > 1) for arm in ordered(arms)}


def ordered(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Each arm once, in the order of every table: random first, cheating next, full supervision last."""
    return tuple(sorted(set(arms), key=_order))


def _name(arm: Arm, objective: bool, learner: bool) -> str:
    strategy = "full supervision" if arm.strategy == FULL else arm.strategy
    cheating = " (cheating)" if _cheats(arm) else ""
    return f"{strategy}{cheating}" + f" / {arm.objective}" * objective + f" / {arm.learner}" * learner


def _cheats(arm: Arm) -> bool:
    return CHEATING in arm.strategy.split("+")


def _order(arm: Arm) -> tuple[str, str, int, str]:
    place = 0 if arm.strategy == RANDOM else 1 if _cheats(arm) else 3 if arm.strategy == FULL else 2
    return arm.learner, arm.objective, place, arm.strategy


def baseline(arm: Arm) -> Arm:
    """The arm that this one is compared with."""
    return Arm(RANDOM, arm.objective, arm.learner)


def work_out(name: str, results: Results, metric: str) -> Variant:
    """Everything about one variant that its tables share; InputError where its arms have other numbers of labels."""
    arms = ordered(results.arms)
    curves = {arm: results.curves(metric, [arm]) for arm in arms}
    for arm, own in curves.items():
        if not np.array_equal(own.labels, curves[arms[0]].labels):
            expected = f"labels {curves[arms[0]].labels.tolist()} as {arms[0]}"
            raise InputError(f"{name}: {arm}", expected, str(own.labels.tolist()))
    areas = {arm: dict(zip(own.seeds, own.areas()[0].tolist(), strict=True)) for arm, own in curves.items()}
    differences, comparisons = {}, {}
    for arm in arms:
        base = areas.get(baseline(arm), {})
        seeds = [seed for seed in areas[arm] if seed in base]
        if arm.strategy != RANDOM and seeds:
            mine, other = (np.asarray([values[seed] for seed in seeds]) for values in (areas[arm], base))
            differences[arm], comparisons[arm] = mine - other, paired(mine, other)
    kept, _ = most_complete({arm: set(own.seeds) for arm, own in curves.items()})
    joint = results.curves(metric, kept) if kept else None
    return Variant(name, results, arms, areas, differences, comparisons, joint)


def most_complete(found: Mapping[Who, Set[Key]]) -> tuple[tuple[Who, ...], frozenset[Key]]:
    """The arms, and the keys (seeds) that all of these have, with the most cells: so one failed cell costs one seed.

    Arms are given up one at a time, the one in whose absence the others share most.
    """
    arms = [arm for arm in found if found[arm]]
    best: tuple[tuple[Who, ...], frozenset[Key]] = ((), frozenset())
    while arms:
        shared = _shared(found, arms)
        if len(arms) * len(shared) > len(best[0]) * len(best[1]):
            best = tuple(arms), shared
        without = {arm: len(_shared(found, [other for other in arms if other != arm])) for arm in arms}
        arms.remove(max(reversed(arms), key=lambda arm: (without[arm], -len(found[arm]))))
    return best


def _shared(found: Mapping[Who, Set[Key]], arms: Sequence[Who]) -> frozenset[Key]:
    return frozenset.intersection(*(frozenset(found[arm]) for arm in arms)) if arms else frozenset()
