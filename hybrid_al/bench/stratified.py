"""Class-stratified random sampling: a baseline that cheats, as it knows the classes of unlabeled images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..core.types import IntArray, Need, Query
from ..errors import InputError
from ..query.base import QueryState, check_budget
from ..query.strategies.random import RandomPerGroup


@dataclass(frozen=True, eq=False)
class ClassStratified:
    """Round robin over the classes, those with the fewest labels first, ties at random; random inside a class.

    Cheating: it reads the class of images that nobody has labeled yet, so no one can use it, and it is in no
    registry. An upper reference for the balance of classes, and for nothing else.

    truth (N,) class of each manifest row, 0 or more, or -1 where it is not known; such rows come after all others.
    """

    truth: IntArray

    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what is no class of each row."""
        if self.truth.ndim != 1 or not np.issubdtype(self.truth.dtype, np.integer) or (self.truth < -1).any():
            came = f"{self.truth.dtype} of shape {self.truth.shape}, least {self.truth.min(initial=0)}"
            raise InputError("class_stratified.truth", "whole numbers (N,) of -1 or more", came)

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` distinct candidates; with the labels, the counts of the classes are as equal as the pool allows."""
        check_budget(state, budget)
        if len(self.truth) != len(state.groups):
            raise InputError("class_stratified.truth", f"{len(state.groups)} rows", str(len(self.truth)))
        unknown = self.truth[state.candidates] < 0
        with_class, without_class = state.candidates[~unknown], rng.permutation(state.candidates[unknown])
        if not len(with_class):
            return Query(without_class[:budget])
        of_no_class = self.truth.max() + 1  # where labeled rows of unknown class are counted, which no candidate is in
        classes = np.where(self.truth < 0, of_no_class, self.truth)
        even = replace(state, candidates=with_class, groups=classes)
        picks = RandomPerGroup().select(even, min(budget, len(with_class)), rng).indices
        return Query(np.concatenate([picks, without_class[: budget - len(picks)]]))
