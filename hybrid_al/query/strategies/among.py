"""Another strategy that is kept to some of the candidates: those that show tissue, and few of a patient or volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Share, from_spec, hyperparameters
from ...core.types import IntArray, Need, Query
from ..base import About, QueryState, QueryStrategy, check_budget
from ..batches.base import place_in_group


@dataclass(frozen=True)
@hyperparameters
class Among:
    """Let `strategy` choose, but not among images of air or glass, and not too many of one volume.

    A cold start knows no structures; a cheap foreground it may know. Any strategy can be kept so, random too.

    strategy  name, or name and settings, of the strategy that chooses
    tissue    least share of an image that is tissue (see `data.tissue`); 0: any. Where fewer images than the budget
              show so much, those that show the most of it are the candidates
    most      of the picks in one group (patient, volume, slide); None: any number. The strategy is asked for more until
              enough of its picks, in its order, keep to that; where the groups hold too few, its others fill up
    """

    strategy: str | Mapping[str, object] = field(default_factory=lambda: {"name": "typiclust"})
    tissue: Share = 0.05
    most: Count | None = None

    about: ClassVar[About] = About(
        paper="ours",
        passes="those of strategy",
        time="that of strategy, with most some times",
        memory="that of strategy",
    )

    def __post_init__(self) -> None:
        """Refuse unknown strategies."""
        self.inner  # noqa: B018 (built to be checked)

    @property
    def inner(self) -> QueryStrategy:
        """The strategy that chooses."""
        from . import STRATEGIES

        return from_spec(STRATEGIES, "Among.strategy", self.strategy)

    @property
    def needs(self) -> frozenset[Need]:
        """What the strategy reads, and how much of each image is tissue."""
        return self.inner.needs | (frozenset({"tissue"}) if self.tissue > 0 else frozenset())

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order of the strategy."""
        check_budget(state, budget)
        inside = replace(state, candidates=self._shown(state, budget))
        return (
            self.inner.select(inside, budget, rng) if self.most is None else self._few(inside, self.most, budget, rng)
        )

    def _shown(self, state: QueryState, budget: int) -> IntArray:
        """The candidates that show enough tissue, `budget` of them at least."""
        if self.tissue == 0:
            return state.candidates
        shares = state.extra("tissue", state.candidates)
        shown: IntArray = state.candidates[shares >= min(self.tissue, np.sort(shares)[-budget])]
        return shown

    def _few(self, state: QueryState, most: int, budget: int, rng: np.random.Generator) -> Query:
        """At most so many picks of a group; more are asked for while too few keep to that."""
        groups = np.unique(state.groups[state.candidates], return_counts=True)[1]
        wanted, asked, more = min(budget, int(groups.clip(max=most).sum())), budget, 1
        while True:
            query = self.inner.select(state, asked, rng)
            kept = np.flatnonzero(place_in_group(state.groups[query.indices]) < most)[:wanted]
            if len(kept) == wanted:
                break
            more *= 2
            asked = min(asked + max(wanted - len(kept), more), len(state.candidates))
        others = np.setdiff1d(np.arange(asked), kept)[: budget - wanted]
        return query.only(np.concatenate([kept, others]))
