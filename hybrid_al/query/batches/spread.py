"""Batch makers that weigh scores against distances in embedding space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, Positive, Width, hyperparameters
from ...core.types import FloatArray, Need
from ...kernels.distances import draw, nearest, squared_to
from ...kernels.similarity import similarity_cover
from ...kernels.weighted_kmeans import representatives, weighted_k_means
from ...scores.ranks import mid_ranks
from ..base import About, QueryState
from ..cover import cosine, cover_problem
from .base import Batch, best_first, fill_by_score, weights_of

EMBEDDED: frozenset[Need] = frozenset({"embeddings"})


@dataclass(frozen=True)
@hyperparameters
class KMeansPlusPlusBatch:
    """Draw in proportion to score x squared distance to the nearest label or pick; the first is the best-scored.

    As BADGE draws, with the score in place of the gradient's length. O(M (labels + budget) D) time.

    power  of the score's mid-rank, which then is the weight: 1 has a mean rank of 2/3, 4 one of 5/6 where distance
           plays no part; null: the weight is the score itself
    """

    power: Positive | None = None
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = EMBEDDED
    about: ClassVar[About] = About(
        paper="the draw of BADGE (Ash et al., ICLR 2020) with the score in the place of the gradient's length",
        passes="0",
        time="M (L + b) D",
        memory="M D",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the draws; the best of the others fill up where no draw is possible any more."""
        vectors, labeled = state.vectors(state.candidates, self.metric), state.labels.labeled
        weights = weights_of("kmeanspp", values_M) if self.power is None else mid_ranks(values_M) ** self.power
        reach = np.full(len(weights), np.inf)
        if len(labeled):
            reach = nearest(vectors, state.vectors(labeled, self.metric), 1)[0][:, 0].astype(np.float64)
        picks = [int(best_first(values_M, rng)[0])]
        while len(picks) < budget:
            reach = np.minimum(reach, squared_to(vectors, vectors[picks[-1]]))
            reach[picks[-1]] = 0
            if not (mass := weights * reach).any():
                break
            picks.append(draw(mass, rng))
        return Batch(fill_by_score(values_M, np.asarray(picks), budget, rng), "drawn by score and distance")


@dataclass(frozen=True)
@hyperparameters
class WeightedKMeansBatch:
    """The candidate nearest to each centre of a k-means of the candidates, weighted by their scores.

    After CLUE, of which the strategy `clue` is the published form. Here the weight is whatever score is wrapped, in
    the space of the strategies. O(iterations M budget D) time, and M L D once.

    labeled  whether labeled samples are centres too, which do not move: no pick is made for what they stand for
    """

    iterations: Count = 50
    metric: Metric = "cosine"
    labeled: bool = True

    needs: ClassVar[frozenset[Need]] = EMBEDDED
    about: ClassVar[About] = About(
        paper="ours; after CLUE (Prabhu et al., ICCV 2021, section 3.2)",
        passes="0",
        time="M L D + iterations M b D",
        memory="M D",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """The cluster of the largest sum of scores first; the best of the others fill up."""
        vectors = state.vectors(state.candidates, self.metric)
        weights = weights_of("weighted_kmeans", values_M)
        fixed = state.vectors(state.labels.labeled, self.metric) if self.labeled else None
        centres, cluster = weighted_k_means(vectors, weights, budget, rng, self.iterations, fixed)
        picks = representatives(vectors, weights, centres, cluster)
        return Batch(fill_by_score(values_M, picks, budget, rng), f"one of {len(centres)} clusters")


@dataclass(frozen=True)
@hyperparameters
class CoverBatch:
    """From the shortlist (the best shortlist * budget candidates), those that, with the labels, best cover the pool.

    Yang et al., Suggestive Annotation (MICCAI 2017), section 2.3: greedy maximum cover by cosine similarity; their
    shortlist has twice the budget. O(shortlist budget B D) time with B = min(pool, rows).
    """

    shortlist: Count = 2
    rows: Count = 20_000

    needs: ClassVar[frozenset[Need]] = EMBEDDED
    about: ClassVar[About] = About(
        paper="Yang et al.: *Suggestive Annotation*, MICCAI 2017, section 2.3",
        passes="0",
        time="M log M + shortlist b B D, B = min(N, rows)",
        memory="B D",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order in which they were picked."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        problem = cover_problem(state, "cosine", self.rows, rng)
        vectors = state.vectors(state.candidates[shortlist], "cosine")
        picks, _ = similarity_cover(vectors, problem.pool, problem.labeled, cosine, budget)
        return Batch(shortlist[picks], "represents the pool")


@dataclass(frozen=True)
@hyperparameters
class DPPBatch:
    """A likely draw of a determinantal point process on the shortlist (the best shortlist * budget candidates).

    Biyik et al., Batch Active Learning Using Determinantal Point Processes (2019), section 4: kernel
    q_i exp(-|x_i - x_j|^2 / sigma^2) q_j with q = score^gamma. The largest determinant, greedily: Chen, Zhang and
    Zhou, Fast Greedy MAP Inference for Determinantal Point Process (NeurIPS 2018), algorithm 1. O(shortlist budget^2
    (budget + D)) time, O(shortlist budget^2) bytes.
    """

    shortlist: Count = 10
    gamma: Positive = 1.0
    sigma: Width = 1.0
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = EMBEDDED
    about: ClassVar[About] = About(
        paper="Biyik et al.: *Batch Active Learning Using Determinantal Point Processes*, 2019; greedy by Chen, "
        "Zhang, Zhou, NeurIPS 2018, algorithm 1",
        passes="0",
        time="M log M + shortlist b^2 (b + D)",
        memory="shortlist b^2",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order in which they were picked; the best of the others fill up where the shortlist repeats itself."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        quality = weights_of("dpp", values_M)[shortlist] ** self.gamma
        vectors = state.vectors(state.candidates[shortlist], self.metric)
        # of the kernel without qualities
        residual, factors = np.ones(len(shortlist)), np.empty((budget, len(shortlist)))
        picks = list[int]()
        while len(picks) < budget:
            pick = int((quality**2 * residual).argmax())
            if residual[pick] <= 1e-10 or not quality[pick]:
                break
            similarity = np.exp(-squared_to(vectors, vectors[pick]).astype(np.float64) / self.sigma**2)
            rows = factors[: len(picks)]
            factors[len(picks)] = (similarity - rows[:, pick] @ rows) / np.sqrt(residual[pick])
            residual = (residual - factors[len(picks)] ** 2).clip(0)
            residual[pick] = 0
            picks.append(pick)
        chosen = shortlist[np.asarray(picks, dtype=np.int64)]
        return Batch(fill_by_score(values_M, chosen, budget, rng), "unlike the others of the batch")
