"""Facility location, MaxHerding, Wasserstein distance: picks such that every sample of the pool has a similar one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.spatial.distance import cdist

from ...core.embeddings import Metric
from ...core.registry import Count, Width, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...errors import InputError
from ...kernels.neighbours import graph_similarity_cover
from ...kernels.programs import least_distance
from ...kernels.similarity import Similarity, similarity_cover
from ..base import About, QueryState, check_budget
from ..cover import CoverProblem, Neighbours, cosine, cover_problem, is_large, pool_graph

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
    """Mahmood, Fidler and Law, Low Budget Active Learning via Wasserstein Distance (ICLR 2022), section 3.

    Least Wasserstein-1 distance of the pool to labels and picks. Where each is weighted by the share of the pool that
    it stands for, that is the mean distance of a sample to the nearest. Greedily, at the cost of facility location; of
    a small pool by the integer program.

    exact    largest pool, in samples with the labeled ones, for which the integer program is solved; 0: none. Its
             search is bounded (`kernels.programs`): the reasons say where the best batch was not proven. The greedy
             picks count where it finds none that are better. O(N^2) memory, and minutes at some hundred samples
    weights  `free` as above; `equal` as published: each label and pick stands for the same share. Of the integer
             program alone, so a pool of more than `exact` samples is refused
    rows     a larger pool is represented by a random sample of so many
    """

    exact: Annotated[int, Field(ge=0, le=2000)] = 0
    weights: Literal["free", "equal"] = "free"
    rows: Count = 20_000

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Mahmood, Fidler, Law: *Low Budget Active Learning via Wasserstein Distance: An Integer Programming "
        "Approach*, ICLR 2022, section 3",
        passes="0",
        time="M B D, and about 64 B D a pick, B = min(N, rows); with exact that of a search of 2000 nodes",
        memory="N D; with exact N^2",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked; those of a program in the order of the greedy."""
        check_budget(state, budget)
        size = len(np.union1d(state.candidates, state.labels.labeled))
        if size <= self.exact:
            return self._program(cover_problem(state, "cosine", self.rows, rng), budget)
        if self.weights == "equal":
            expected = f"a pool of at most {self.exact} samples (wasserstein: exact), or weights: free"
            raise InputError(f"round {state.round}", expected, f"{size}")
        return _serve(state, budget, rng, _closeness, "cosine", self.rows)

    def _program(self, problem: CoverProblem, budget: int) -> Query:
        """The better of the program's batch and the greedy one, by mean distances."""
        to_candidates, to_labeled = (_distances(problem.pool, rows) for rows in (problem.vectors, problem.labeled))
        places, proven = least_distance(to_candidates, to_labeled, budget, equal=self.weights == "equal")
        greedy, _ = similarity_cover(problem.vectors, problem.pool, problem.labeled, _closeness, budget)
        if self.weights == "free" or not len(places):
            means = [
                np.concatenate([to_candidates[:, p], to_labeled], axis=1).min(axis=1).mean() if len(p) else np.inf
                for p in (places, greedy)
            ]
            places = places if means[0] < means[1] else greedy
        order, gains = similarity_cover(problem.vectors[places], problem.pool, problem.labeled, _closeness, budget)
        words = "one of the best batch" if proven else "one of the best batch found, not proven to be the best"
        query = _query(problem.candidates[places[order]], gains / len(problem.pool))
        return replace(query, reasons=tuple(f"{reason}; {words}" for reason in query.reasons or ()))


def _distances(rows_PD: FloatArray, others_QD: FloatArray) -> FloatArray:
    """Euclidean distances (P, Q) in float64."""
    distances: FloatArray = cdist(rows_PD.astype(np.float64), others_QD.astype(np.float64))
    return distances


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
