"""Batch makers that weigh scores against distances in embedding space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from ...core.embeddings import Metric
from ...core.registry import Count, Positive, Width, hyperparameters
from ...core.types import FloatArray, IntArray, Need
from ...kernels.distances import closest, draw, nearest, squared_to
from ...kernels.similarity import similarity_cover
from ..base import About, QueryState
from ..cover import cosine, cover_problem
from .base import Batch, best_first, fill_by_score, weights_of

EMBEDDED: frozenset[Need] = frozenset({"embeddings"})


@dataclass(frozen=True)
@hyperparameters
class KMeansPlusPlusBatch:
    """Draw in proportion to score x squared distance to the nearest label or pick; the first is the best-scored.

    As BADGE draws, with the score in place of the gradient's length. O(M (labels + budget) D) time.
    """

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
        weights = weights_of("kmeanspp", values_M)
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

    CLUE: Prabhu et al., Active Domain Adaptation via Clustering Uncertainty-Weighted Embeddings (ICCV 2021), section
    3.2. O(iterations M budget D) time.
    """

    iterations: Count = 50
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = EMBEDDED
    about: ClassVar[About] = About(
        paper="CLUE: Prabhu et al.: *Active Domain Adaptation via Clustering Uncertainty-Weighted Embeddings*, ICCV"
        " 2021, section 3.2",
        passes="0",
        time="iterations M b D",
        memory="M D",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """The cluster of the largest sum of scores first."""
        vectors = state.vectors(state.candidates, self.metric)
        weights = weights_of("weighted_kmeans", values_M)
        centres, cluster = weighted_k_means(vectors, weights, budget, rng, self.iterations)
        sums = np.bincount(cluster, weights, minlength=len(centres))
        picks = list[int]()
        for centre in centres[np.argsort(-sums, kind="stable")]:
            squared = squared_to(vectors, centre)
            squared[picks] = np.inf
            picks.append(int(squared.argmin()))
        return Batch(fill_by_score(values_M, np.asarray(picks), budget, rng), f"one of {len(centres)} clusters")


def weighted_k_means(
    vectors_MD: FloatArray, weights_M: FloatArray, k: int, rng: np.random.Generator, iterations: int
) -> tuple[FloatArray, IntArray]:
    """Centres (K <= k, D) and the nearest centre of each row (M,): Lloyd's k-means of weighted rows, k-means++ seeds.

    There are fewer than k centres where fewer distinct rows have a weight.
    """
    seeds, reach = list[int](), np.ones(len(vectors_MD))
    while len(seeds) < k and (mass := weights_M * reach).any():
        seeds.append(draw(mass, rng))
        squared = squared_to(vectors_MD, vectors_MD[seeds[-1]])
        reach = np.minimum(reach, squared) if len(seeds) > 1 else squared.astype(np.float64)
    centres = vectors_MD[seeds]
    cluster, changed = closest(vectors_MD, centres), np.ones(len(centres), dtype=np.bool_)
    for _ in range(iterations):
        rows = np.flatnonzero(changed[cluster])  # clusters that kept their members keep their centre
        weighted = csr_array((weights_M[rows], (cluster[rows], rows)), shape=(len(centres), len(vectors_MD)))
        total = np.bincount(cluster[rows], weights_M[rows], minlength=len(centres))
        means = (weighted @ vectors_MD) / np.maximum(total, 1e-300)[:, None]
        centres = np.where(total[:, None] > 0, means, centres)
        before, cluster = cluster, closest(vectors_MD, centres)
        moved = before != cluster
        if not moved.any():
            break
        changed = np.zeros(len(centres), dtype=np.bool_)
        changed[before[moved]] = changed[cluster[moved]] = True
    return centres, cluster


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
