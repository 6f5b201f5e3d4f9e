"""Representative annotation: in each cluster those that cover it, and of these those that cover the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...core.registry import Count, Part, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.similarity import similarity_cover
from ..base import About, QueryState, check_budget
from ..clusters import agglomerative
from ..cover import cover_problem

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class RepresentativeAnnotation:
    """Zheng et al., Biomedical Image Segmentation via Representative Annotation (AAAI 2019), section 3.2.

    Agglomerative clusters of the pool; in each, greedily the candidates that cover it, until the sum over its samples
    of the largest cosine similarity (negative ones count 0) reaches `share` of its size; of these, greedily those that
    with the labels cover the whole pool. Where they are fewer than the budget, any others that cover best follow.

    rows  of a larger pool so many are clustered, the others going with the nearest mean, and so many are covered, as in
          a larger cluster
    """

    clusters: Count = 10
    share: Part = 0.9
    rows: Count = 5000

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Zheng et al.: *Biomedical Image Segmentation via Representative Annotation*, AAAI 2019, section 3.2",
        passes="0",
        time="B^2 (D + log B) + M B D, B = min(N, rows)",
        memory="B^2 / 2 + N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked."""
        check_budget(state, budget)
        problem = cover_problem(state, "cosine", self.rows, rng)
        pool, covered = problem.pool, problem.labeled
        cluster = agglomerative(problem.vectors, self.clusters, self.rows, rng)
        members = [np.flatnonzero(cluster == c) for c in range(cluster.max() + 1)]
        first = np.concatenate([rows[_until(problem.vectors[rows], self.share, self.rows)] for rows in members])
        picks, words = np.empty(0, dtype=np.int64), list[str]()
        others = np.setdiff1d(np.arange(len(cluster)), first)
        for rows, reason in ((first, f"covers one of {len(members)} clusters"), (others, "covers what they leave")):
            if count := min(budget - len(picks), len(rows)):
                covered = np.concatenate([problem.labeled, problem.vectors[picks]])
                places, gains = similarity_cover(problem.vectors[rows], pool, covered, positive_cosine, count)
                picks = np.concatenate([picks, rows[places]])
                words += [f"{reason}; adds {gain / len(pool):.3g} to the mean similarity to the pool" for gain in gains]
        return Query(problem.candidates[picks], reasons=tuple(words))


def positive_cosine(squared: torch.Tensor) -> torch.Tensor:
    """The cosine of unit vectors, negative ones 0."""
    return squared.div_(-2).add_(1).clip_(0)


def _until(unit_KD: FloatArray, share: float, most: int) -> IntArray:
    """The rows that greedily cover all of them, or the first `most`, until the coverage reaches `share` of it."""
    base, count = unit_KD[:most], 1
    while True:
        picks, gains = similarity_cover(unit_KD, base, unit_KD[:0], positive_cosine, count)
        reached = np.flatnonzero(gains.cumsum() >= share * len(base) - 1e-6)
        if len(reached) or count == len(unit_KD):
            return picks[: reached[0] + 1 if len(reached) else count]
        count = min(4 * count, len(unit_KD))
