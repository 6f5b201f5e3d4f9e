"""What the tables of a bench are made from: arms in order, paired differences to baselines, the most complete block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..core.types import FloatArray
from ..errors import InputError
from .results import CHEATING, FULL, Arm, Curves, Results
from .statistics import Comparison, compare

RANDOM = "random"
"""Strategy name of the baseline that every arm of its objective and learner is compared with."""
LINEAR = Arm(RANDOM, "supervised", "linear")
"""The baseline that random picks are compared with: the same picks, and logistic regression on their embeddings."""
LINEAR_NAME = f"{RANDOM} / {LINEAR.learner}"
Key = TypeVar("Key")
Who = TypeVar("Who")


@dataclass(frozen=True)
class Bench:
    """What all tables share: metric, names of the arms, margin of a tie, and the share that counts as reached."""

    metric: str
    names: Mapping[Arm, str]
    margin: float
    share: float

    @property
    def linear(self) -> Arm | None:
        """See `linear_baseline`."""
        return linear_baseline(self.names)

    def listing(self, arms: Iterable[Arm]) -> str:
        """Arms by name, in one line."""
        return ", ".join(self.names[arm] for arm in arms)


@dataclass(frozen=True)
class Variant:
    """One variant in numbers: AUBC by arm and seed, differences to random, and the most complete block.

    over_linear  random arms, compared with the linear baseline
    """

    name: str
    results: Results
    arms: tuple[Arm, ...]
    areas: Mapping[Arm, Mapping[int, float]]
    differences: Mapping[Arm, FloatArray]
    comparisons: Mapping[Arm, Comparison]
    over_linear: Mapping[Arm, Comparison]
    joint: Curves | None

    @property
    def joint_arms(self) -> tuple[Arm, ...]:
        """The arms of the most complete block."""
        return self.joint.arms if self.joint else ()

    def full(self, metric: str, arm: Arm) -> list[float]:
        """The metric with the whole pool labeled, under the objective and learner of an arm, by ascending seed."""
        return [y for _, y in sorted(self.results.full(metric, arm.objective, arm.learner).items())]


def names(variants: Mapping[str, Results]) -> dict[Arm, str]:
    """The name of each arm: its strategy, whether it cheats, and objective and learner where the bench has several.

    The linear baseline has a name of its own.
    """
    arms = {arm for results in variants.values() for arm, _ in results.cells}
    linear = linear_baseline(arms)
    objectives, learners = settings_of(arms)
    several = len(objectives) > 1, len(learners) > 1
    return {arm: LINEAR_NAME if arm == linear else _name(arm, *several) for arm in in_order(arms)}


def settings_of(arms: Iterable[Arm]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The objectives and the learners of some arms in their order, the linear baseline left out."""
    arms = tuple(arms)
    linear = linear_baseline(arms)
    others = [arm for arm in arms if arm != linear]
    return tuple(dict.fromkeys(a.objective for a in others)), tuple(dict.fromkeys(a.learner for a in others))


def linear_baseline(arms: Iterable[Arm]) -> Arm | None:
    """`LINEAR`, where it is among other arms and alone with its learner, so that it is not what they are about."""
    every = set(arms)
    others = every - {LINEAR}
    alone = all(arm.learner != LINEAR.learner for arm in others)
    return LINEAR if LINEAR in every and others and alone else None


def in_order(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Each arm once, in the order of every table: the linear baseline, random, cheating, others, full supervision."""
    arms = set(arms)
    linear = linear_baseline(arms)
    return tuple(sorted(arms, key=lambda arm: (arm != linear, *_order(arm))))


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
    arms = in_order(results.arms)
    curves = {arm: results.curves(metric, [arm]) for arm in arms}
    for arm, curve in curves.items():
        if not np.array_equal(curve.labels, curves[arms[0]].labels):
            expected = f"labels {curves[arms[0]].labels.tolist()} as {arms[0]}"
            raise InputError(f"{name}: {arm}", expected, str(curve.labels.tolist()))
    areas = {arm: dict(zip(curve.seeds, curve.areas()[0].tolist(), strict=True)) for arm, curve in curves.items()}
    sides = {arm: paired(areas, arm, baseline(arm)) for arm in arms if arm.strategy != RANDOM}
    trainers = [arm for arm in arms if arm.strategy == RANDOM and arm != LINEAR and linear_baseline(arms)]
    linear_sides = {arm: paired(areas, arm, LINEAR) for arm in trainers}
    differences = {arm: a - b for arm, (a, b) in sides.items() if len(a)}
    comparisons, over_linear = (
        {arm: compare(a, b) for arm, (a, b) in some.items() if len(a)} for some in (sides, linear_sides)
    )
    joint_arms, _ = most_complete({arm: set(curve.seeds) for arm, curve in curves.items()})
    joint = results.curves(metric, joint_arms) if joint_arms else None
    return Variant(name, results, arms, areas, differences, comparisons, over_linear, joint)


def paired(areas: Mapping[Arm, Mapping[int, float]], arm: Arm, base: Arm) -> tuple[FloatArray, FloatArray]:
    """The areas (S,) of an arm and of its baseline, over the seeds that both have; empty where one has no cell."""
    a, b = areas.get(arm, {}), areas.get(base, {})
    seeds = [seed for seed in a if seed in b]
    of_arm, of_base = (np.asarray([values[seed] for seed in seeds], dtype=np.float64) for values in (a, b))
    return of_arm, of_base


def most_complete(keys: Mapping[Who, Set[Key]]) -> tuple[tuple[Who, ...], frozenset[Key]]:
    """The arms, and the keys (seeds) that all of these have, with the most cells: so one failed cell costs one seed.

    Arms are dropped one at a time: always the one without which the others share most.
    """
    arms = [arm for arm in keys if keys[arm]]
    best: tuple[tuple[Who, ...], frozenset[Key]] = ((), frozenset())
    while arms:
        common = _common(keys, arms)
        if len(arms) * len(common) > len(best[0]) * len(best[1]):
            best = tuple(arms), common
        without = {arm: len(_common(keys, [other for other in arms if other != arm])) for arm in arms}
        arms.remove(max(reversed(arms), key=lambda arm: (without[arm], -len(keys[arm]))))
    return best


def _common(keys: Mapping[Who, Set[Key]], arms: Sequence[Who]) -> frozenset[Key]:
    return frozenset.intersection(*(frozenset(keys[arm]) for arm in arms)) if arms else frozenset()
