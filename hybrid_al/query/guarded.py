"""A guard around any query: its say grows as labels show that scores find errors, and as they cover the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from scipy.special import entr

from ..components import component
from ..embeddings import Metric
from ..errors import InputError
from ..types import Need, Query
from .base import About, QueryState, QueryStrategy, check_budget
from .batch_base import check_above_zero, check_whole
from .cover import coverage
from .linear_head import cross_fitted, scaled_embeddings

StrategyParams = Mapping[str, object]
"""A strategy in a recipe: `{name: typiclust, metric: l2}`."""


@dataclass(frozen=True)
class Guarded:
    """A share of the budget by `late`, trust x coverage of it; the rest by `early`, which needs no model.

    Trust: each labeled sample is predicted by a linear head on frozen embeddings that was fitted without it (`folds`
    folds), and the entropies of those predictions are compared between the samples that it gets wrong and those that
    it gets right. Trust is 1 - 2 p, at least 0, by the one-sided p-value of their ranks (Mann and Whitney): 0 where
    uncertainty says nothing of errors, and where there are no errors, or nothing else, to judge by. Coverage: see
    `cover.coverage`. Without labels all is asked by `early`.

    early, late  name and parameters of a strategy; late's scores are those of the query
    share        quantile of the distances between samples that is the radius of a label's cover
    strength     inverse weight of the L2 penalty on the head, features scaled to unit variance
    """

    early: StrategyParams = field(default_factory=lambda: {"name": "typiclust"})
    late: StrategyParams = field(default_factory=lambda: {"name": "hybrid"})
    share: float = 0.02
    folds: int = 5
    strength: float = 0.01
    metric: Metric = "cosine"

    about: ClassVar[About] = About(
        paper="ours",
        passes="those of late",
        time="folds L D C a step of a fit + N L D + that of early and of late",
        memory="N D",
    )

    def __post_init__(self) -> None:
        """Refuse unknown strategies, an early one that needs a model, and values that make no sense."""
        build_strategy("guarded.late", self.late)
        beyond = build_strategy("guarded.early", self.early).needs - {"embeddings", "stage0"}
        if beyond:
            raise InputError("guarded.early", "a strategy that needs no model", f"one that needs {sorted(beyond)[0]}")
        if not 0 < self.share < 1:
            raise InputError("guarded.share", "a share in (0, 1)", repr(self.share))
        check_whole("guarded.folds", self.folds, least=2)
        check_above_zero("guarded.strength", self.strength)

    @property
    def needs(self) -> frozenset[Need]:
        """What the two strategies read, and the embeddings."""
        early, late = build_strategy("guarded.early", self.early), build_strategy("guarded.late", self.late)
        return early.needs | late.needs | {"embeddings"}

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The picks of `late`, then those of `early`; each reason says what the guard found."""
        check_budget(state, budget)
        trust, found = self.trust(state, rng)
        covered = coverage(state, self.share, self.metric, rng)
        count = round(trust * covered * budget)
        # late is asked in any case: its scores are shown beside the picks
        asked = build_strategy("guarded.late", self.late).select(state, max(count, 1), rng)
        picks, reasons = [asked.indices[:count]], list(_reasons(asked, self.late, count))
        if count < budget:
            left = replace(state, candidates=np.setdiff1d(state.candidates, picks[0]))
            rest = build_strategy("guarded.early", self.early).select(left, budget - count, rng)
            picks.append(rest.indices)
            reasons += _reasons(rest, self.early, budget - count)
        why = f"{found}; labels cover {100 * covered:.0f} %: {count} of {budget} by {self.late['name']}"
        return Query(
            np.concatenate(picks), scores=asked.scores, reasons=tuple(f"{why}; {reason}" for reason in reasons)
        )

    def trust(self, state: QueryState, rng: np.random.Generator) -> tuple[float, str]:
        """How sure it is that uncertainty finds errors, in [0, 1], and what was found, in words."""
        from scipy.stats import mannwhitneyu

        labeled = state.labels.labeled
        if len(labeled) < 2:
            return 0.0, "too few labels to judge scores by"
        _, targets = np.unique(state.labels.class_targets(), return_inverse=True)
        probs = cross_fitted(scaled_embeddings(state, labeled), targets, self.folds, self.strength, rng)
        score, wrong = entr(probs).sum(axis=1), probs.argmax(axis=1) != targets
        if wrong.all() or not wrong.any():
            return 0.0, f"{wrong.sum()} errors at {len(wrong)} labels, so scores cannot be judged"
        test = mannwhitneyu(score[wrong], score[~wrong], alternative="greater")
        area = test.statistic / (wrong.sum() * (~wrong).sum())
        found = f"scores find the {wrong.sum()} errors at {len(wrong)} labels with AUROC {area:.2f}"
        return max(0.0, 1 - 2 * float(test.pvalue)), found


def _reasons(query: Query, params: StrategyParams, count: int) -> tuple[str, ...]:
    """Why each of the first picks; the strategy's name where it does not say."""
    return query.reasons[:count] if query.reasons else (str(params["name"]),) * count


def build_strategy(where: str, params: StrategyParams) -> QueryStrategy:
    """The strategy of a recipe: `{name: typiclust, metric: l2}`; an unknown name, parameter or type is an error."""
    from . import STRATEGIES

    settings = {key: value for key, value in params.items() if key != "name"}
    return component(STRATEGIES, where, str(params.get("name", "")), settings)
