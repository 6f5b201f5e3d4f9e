"""ProbCover: the candidates whose balls hold the most samples that no other ball holds."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import Count, Part, Positive, Several, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.kmeans import k_means
from ...kernels.neighbours import graph_ball_cover
from ...kernels.radius import ball_cover
from ...kernels.similarity import nearest_where
from ..base import About, QueryState, check_budget
from ..cover import Neighbours, cover_problem, is_large, pool_graph


@dataclass(frozen=True)
@hyperparameters
class ProbCover:
    """Yehuda, Dekel, Hacohen and Weinshall, Active Learning Through a Covering Lens (NeurIPS 2022), algorithm 1.

    Open balls of one radius around labels and picks cover the pool; each pick covers the most samples that are not
    covered yet. Deviations are listed in docs/papers.md. With P samples in the pool, B = min(P, rows) of them to
    cover, S labeled and M candidates: O((M + B) B D) time, O(P D) bytes and at most 128 MiB of edges.

    delta       the radius; None: the largest at which a share `purity` of the balls hold samples of a single cluster
    classes     number of those clusters; None: number of classes of the task, at least 2. Where the state does not say
                it, that of the classes that have labels
    rows        a larger pool is represented by a random sample of so many, which also sets the radius
    neighbours  m up to 64: a larger pool is covered whole instead. A candidate then covers only samples that have it
                among their m nearest; the search finds most of these (`neighbours.neighbours`); O(P m) bytes
    """

    delta: Positive | None = None
    purity: Part = 0.95
    classes: Several | None = None
    rows: Count = 20_000
    metric: Metric = "cosine"
    neighbours: Neighbours | None = None

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Yehuda, Dekel, Hacohen, Weinshall: *Active Learning Through a Covering Lens*, NeurIPS 2022, algorithm 1",
        passes="0",
        time="(M + B) B D, B = min(N, rows)",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked; random ones once all is covered."""
        check_budget(state, budget)
        classes = self.classes or max(state.classes or len(np.unique(state.labels.class_targets())), 2)
        if self.neighbours is not None and is_large(state, self.rows):
            return self._on_graph(state, self.neighbours, classes, budget, rng)
        problem = cover_problem(state, self.metric, self.rows, rng)
        delta = self.delta or pure_radius(problem.pool, classes, self.purity, rng)
        picks, gains = ball_cover(problem.vectors, problem.pool, problem.labeled, delta, budget)
        others = np.setdiff1d(np.arange(len(problem.candidates)), picks)[
            : budget - len(picks)
        ]  # random: they are shuffled
        return _query(problem.candidates[np.concatenate([picks, others])], gains, delta, len(problem.pool))

    def _on_graph(self, state: QueryState, m: int, classes: int, budget: int, rng: np.random.Generator) -> Query:
        delta = self.delta
        if not delta:
            sample = cover_problem(state, self.metric, self.rows, rng).pool
            delta = pure_radius(sample, classes, self.purity, rng)
        graph = pool_graph(state, self.metric, m, rng)
        uncovered = graph.to_labeled >= delta**2
        picks, gains = graph_ball_cover(graph.squared, graph.rows, graph.candidate, uncovered, delta, budget)
        others = np.setdiff1d(np.flatnonzero(graph.candidate), picks)[: budget - len(picks)]
        return _query(graph.samples[np.concatenate([picks, others])], gains, delta, len(graph.samples))


def _query(indices: IntArray, gains: IntArray, delta: float, count: int) -> Query:
    reasons = [f"within {delta:.3g}: {gain} of {count} that no other covers" for gain in gains]
    fill_reasons = ["a random one: everything is covered"] * (len(indices) - len(gains))
    return Query(indices, reasons=(*reasons, *fill_reasons))


def pure_radius(vectors_ND: FloatArray, clusters: int, purity: float, rng: np.random.Generator) -> float:
    """The largest radius at which a share `purity` of the open balls around rows hold rows of one k-means cluster.

    A ball is pure up to the distance to the nearest row of another cluster, so this is a quantile of those distances,
    without a search; inf where there is only one cluster. It is made smaller by a share of 1e-9, so that rounding does
    not let in the row that sets it. Section 4.2 of the paper.
    """
    _, cluster = k_means(vectors_ND, clusters, rng)
    pure_up_to = np.sort(nearest_where(vectors_ND, cluster, operator.ne))
    return float(pure_up_to[min(int((1 - purity) * len(pure_up_to) + 1e-9), len(pure_up_to) - 1)]) * (1 - 1e-9)
