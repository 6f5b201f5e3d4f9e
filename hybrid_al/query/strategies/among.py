"""Any strategy, limited to images that show tissue, and to few images of a patient or volume."""

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
    """Let `strategy` choose, but no images of air or glass, and not too many of one volume.

    A cold start knows no structures, but it can tell tissue from background. Any strategy can be limited so.

    strategy  name, or name and settings, of the strategy that chooses
    tissue    least share of an image that is tissue (see `data.tissue`); 0: any. Where fewer images than the budget
              have so much, the candidates are those with the most
    most      picks in one group (patient, volume, slide) at most; None: any number. The strategy is asked for more
              picks until enough keep to that, in its order; where the groups are too small, its other picks fill up
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
        self.inner  # noqa: B018 (building it checks it)

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
        eligible = replace(state, candidates=self._with_tissue(state, budget))
        if self.most is None:
            return self.inner.select(eligible, budget, rng)
        return self._few_per_group(eligible, self.most, budget, rng)

    def _with_tissue(self, state: QueryState, budget: int) -> IntArray:
        """The candidates with enough tissue, at least `budget` of them."""
        if self.tissue == 0:
            return state.candidates
        shares = state.extra("tissue", state.candidates)
        candidates: IntArray = state.candidates[shares >= min(self.tissue, np.sort(shares)[-budget])]
        return candidates

    def _few_per_group(self, state: QueryState, most: int, budget: int, rng: np.random.Generator) -> Query:
        """At most `most` picks of a group; the strategy is asked for more picks while too few keep to that."""
        groups = np.unique(state.groups[state.candidates], return_counts=True)[1]
        target, size, increment = min(budget, int(groups.clip(max=most).sum())), budget, 1
        while True:
            query = self.inner.select(state, size, rng)
            picks = np.flatnonzero(place_in_group(state.groups[query.indices]) < most)[:target]
            if len(picks) == target:
                break
            increment *= 2
            size = min(size + max(target - len(picks), increment), len(state.candidates))
        others = np.setdiff1d(np.arange(size), picks)[: budget - target]
        return query.only(np.concatenate([picks, others]))
