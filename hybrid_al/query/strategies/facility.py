"""Facility location, MaxHerding, Wasserstein distance: picks such that every sample of the pool has a similar one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, Width, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.neighbours import graph_similarity_cover
from ...kernels.similarity import Similarity, similarity_cover
from ..base import About, QueryState, check_budget
from ..cover import Neighbours, cosine, cover_problem, is_large, pool_graph

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class FacilityLocation:
    """Greedy maximum cover of the whole pool by cosine similarity, to labels and picks.

    The second step of Yang et al., Suggestive Annotation (MICCAI 2017), section 2.3; representative annotation (Zheng
    et al., AAAI 2019) does it within clusters. With B = min(pool, rows) samples to cover: O(M B D) time at the first
    pick and about O(64 B D) at each other, O(P D) bytes.

    rows        a larger pool is represented by a random sample of so many
    neighbours  m up to 64: a larger pool is covered whole instead. A candidate then covers only samples that have it
                among their m nearest; the search finds most of these (`neighbours.neighbours`); O(P m) bytes
    """

    rows: Count = 20_000
    neighbours: Neighbours | None = None

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="the second step of Yang et al.: *Suggestive Annotation*, MICCAI 2017, section 2.3; Zheng et al.: "
        "*Biomedical Image Segmentation via Representative Annotation*, AAAI 2019",
        passes="0",
        time="M B D, and about 64 B D a pick, B = min(N, rows)",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, so that each prefix covers well."""
        if self.neighbours is None or not is_large(state, self.rows):
            return _serve(state, budget, rng, cosine, "cosine", self.rows)
        check_budget(state, budget)
        graph = pool_graph(state, "cosine", self.neighbours, rng)
        coverage = (1 - graph.to_labeled / 4).clip(0)
        picks, gains = graph_similarity_cover(graph.squared, graph.rows, graph.candidate, coverage, cosine, budget)
        return _query(graph.samples[picks], gains / len(graph.samples))


@dataclass(frozen=True)
@hyperparameters
class MaxHerding:
    """Bae, Noh and Sutherland, Generalized Coverage for More Robust Low-Budget Active Learning (ECCV 2024), section 3.

    As facility location, by the similarity exp(-|x - y|^2 / sigma^2): a ball cover with soft edges. Cost: the same.

    sigma  width of the kernel (1 on unit vectors, as published)
    rows   a larger pool is represented by a random sample of so many
    """

    sigma: Width = 1.0
    rows: Count = 20_000
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Bae, Noh, Sutherland: *Generalized Coverage for More Robust Low-Budget Active Learning*, ECCV 2024, "
        "section 3",
        passes="0",
        time="M B D, and about 64 B D a pick, B = min(N, rows)",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, so that each prefix covers well."""

        def gaussian(squared: torch.Tensor) -> torch.Tensor:
            return squared.div_(-(self.sigma**2)).exp_()

        return _serve(state, budget, rng, gaussian, self.metric, self.rows)


@dataclass(frozen=True)
@hyperparameters
class Wasserstein:
    """Mahmood, Fidler and Law, Low Budget Active Learning via Wasserstein Distance (ICLR 2022), section 3; greedily.

    Least Wasserstein-1 distance of the pool to labels and picks, each weighted by the share of the pool that it stands
    for: the mean distance of a sample to the nearest. Cost: as facility location.

    rows  a larger pool is represented by a random sample of so many
    """

    rows: Count = 20_000

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Mahmood, Fidler, Law: *Low Budget Active Learning via Wasserstein Distance: An Integer Programming "
        "Approach*, ICLR 2022, section 3",
        passes="0",
        time="M B D, and about 64 B D a pick, B = min(N, rows)",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked."""
        return _serve(state, budget, rng, _closeness, "cosine", self.rows)


def _closeness(squared: torch.Tensor) -> torch.Tensor:
    """1 - half the distance of unit vectors."""
    return squared.clip_(0).sqrt_().div_(-2).add_(1).clip_(0)


def _serve(
    state: QueryState, budget: int, rng: np.random.Generator, similarity: Similarity, metric: Metric, rows: int
) -> Query:
    check_budget(state, budget)
    problem = cover_problem(state, metric, rows, rng)
    picks, gains = similarity_cover(problem.vectors, problem.pool, problem.labeled, similarity, budget)
    return _query(problem.candidates[picks], gains / len(problem.pool))


def _query(indices: IntArray, gains: FloatArray) -> Query:
    return Query(indices, reasons=tuple(f"raises the mean similarity to the pool by {gain:.3g}" for gain in gains))
