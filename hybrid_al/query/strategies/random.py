"""Random sampling, the baseline that every other strategy has to beat: plain, or even over groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.types import Need, Query
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
class Random:
    """Uniform over the candidates, without replacement."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = About(
        paper="the baseline that every other has to beat",
        passes="0",
        time="M",
        memory="M",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` distinct candidates in random order."""
        check_budget(state, budget)
        return Query(rng.permutation(state.candidates)[:budget])


@dataclass(frozen=True)
class RandomPerGroup:
    """Round robin over groups in random order, the groups with the fewest labels first; random inside a group.

    Patients, volumes or slides with many images do not get more labels than those with few.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = About(
        paper="ours",
        passes="0",
        time="M log M",
        memory="M",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` distinct candidates; a group's next turn comes when no group with fewer labels is left."""
        check_budget(state, budget)
        groups = int(state.groups.max()) + 1
        shuffled = rng.permutation(state.candidates)
        shuffled = shuffled[np.argsort(state.groups[shuffled], kind="stable")]  # group by group, random inside
        group = state.groups[shuffled]
        earlier = np.bincount(state.groups[state.labels.labeled], minlength=groups)
        turn = earlier[group] + np.arange(len(group)) - np.searchsorted(group, group)
        return Query(shuffled[np.lexsort((rng.permutation(groups)[group], turn))][:budget])
