"""MMD: the candidates that make the labeled set look most like the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, Width, hyperparameters
from ...core.types import Need, Query
from ...kernels.distances import squared_to
from ...kernels.similarity import similarity_sums
from ..base import About, QueryState, check_budget
from ..cover import cover_problem, pair_distances

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class MMD:
    """Greedy least maximum mean discrepancy between the pool and labels with picks: kernel herding from the labels on.

    Chen, Welling and Smola, Super-Samples from Kernel Herding (UAI 2010), section 3; as a query Hwang et al., LAMDA
    (ECCV 2022), section 3.1. Kernel exp(-|x - y|^2 / sigma^2). With B = min(pool, rows): O(M (B + S) D) time and
    O(M D) a pick, O(P D) bytes.

    sigma  width of the kernel; None: the median distance between samples
    rows   a larger pool is represented by a random sample of so many
    """

    sigma: Width | None = None
    rows: Count = 20_000
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Chen, Welling, Smola: *Super-Samples from Kernel Herding*, UAI 2010, section 3; as a query Hwang et "
        "al.: *LAMDA*, ECCV 2022, section 3.1",
        passes="0",
        time="M (B + L) D, and M D a pick, B = min(N, rows)",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, so that each prefix is like the pool."""
        check_budget(state, budget)
        problem = cover_problem(state, self.metric, self.rows, rng)
        sigma = self.sigma or float(np.median(pair_distances(problem.pool, rng))) or 1.0

        def gaussian(squared: torch.Tensor) -> torch.Tensor:
            return squared.div_(-(sigma**2)).exp_()

        to_pool = similarity_sums(problem.vectors, problem.pool, gaussian) / len(problem.pool)
        to_labels = similarity_sums(problem.vectors, problem.labeled, gaussian)
        picks = list[int]()
        for size in range(len(problem.labeled) + 1, len(problem.labeled) + budget + 1):
            gain = to_pool - to_labels / size
            gain[picks] = -np.inf
            picks.append(int(gain.argmax()))
            to_labels += np.exp(-squared_to(problem.vectors, problem.vectors[picks[-1]]).astype(np.float64) / sigma**2)
        reasons = tuple(f"mean similarity to the pool {to_pool[p]:.3g}, unlike labels and earlier picks" for p in picks)
        return Query(problem.candidates[picks], reasons=reasons)
