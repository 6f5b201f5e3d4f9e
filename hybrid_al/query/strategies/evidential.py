"""Queries by evidence: the uncertainty of logits, read as a Dirichlet distribution over class probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.registry import Count, hyperparameters
from ...core.types import Need, Query, Scores
from ...scores.ranks import mid_ranks
from ...scores.samples import dirichlet_data, dirichlet_information
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..last_layer import dirichlet
from ..ranking import best_by_term
from ..terms import standing

Measure = Literal["vacuity", "dissonance", "information", "data"]
TERM_OF: Mapping[Measure, str] = {
    "vacuity": "vacuity",
    "dissonance": "dissonance",
    "information": "dirichlet_information",
    "data": "dirichlet_data",
}


@dataclass(frozen=True)
@hyperparameters
class Evidential:
    """Largest uncertainty of the Dirichlet distribution with parameters exp(logits).

    The logits are those of one pass; the objective `evidential` trains them to be evidence.

    score  vacuity (little evidence), dissonance (evidence for several classes), information (on the class
           probabilities, from the label), or data (uncertainty that the label would leave); see `scores`
    """

    score: Measure = "vacuity"

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Sensoy et al.: *Evidential Deep Learning*, NeurIPS 2018, section 3; Shi et al.: *Multifaceted "
        "Uncertainty Estimation for Label-Efficient Deep Learning*, NeurIPS 2020; as a query CSEAL (MICCAI 2022)",
        passes="1",
        time="M C (C + D)",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` best-scored candidates, ties in random order."""
        return best_by_term(TERM_OF[self.score], state, budget, rng)


@dataclass(frozen=True)
@hyperparameters
class DUC:
    """Largest data uncertainty among the largest distribution uncertainties. Xie et al., DUC (ICLR 2023), section 3.3.

    keep  size of the first selection, in budgets (the paper: 10 in its scripts, 2 by their default)
    """

    keep: Count = 10

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Xie et al.: *Dirichlet-Based Uncertainty Calibration for Active Domain Adaptation*, ICLR 2023, section "
        "3.3",
        passes="1",
        time="M C D",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest data uncertainty in the first selection, ties in random order."""
        check_budget(state, budget)
        alpha = dirichlet(state)
        first, second = dirichlet_information(alpha), dirichlet_data(alpha)
        shortlist = best_first(first, rng)[: self.keep * budget]
        picks = shortlist[best_first(second[shortlist], rng)[:budget]]
        ranks = {"distribution uncertainty": mid_ranks(first), "data uncertainty": mid_ranks(second)}
        return Query(
            state.candidates[picks],
            scores=Scores(state.candidates, second, ranks),
            reasons=tuple(standing(ranks, p) for p in picks),
        )
