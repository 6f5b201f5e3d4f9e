"""Density peaks: the candidates that are dense and far from anything denser."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...core.embeddings import Metric
from ...core.registry import hyperparameters
from ...core.types import Need, Query
from ...kernels.distances import nearest, squared_to
from ...kernels.similarity import nearest_where, similarity_sums
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..cover import pair_distances

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class DensityPeaks:
    """Rodriguez and Laio, Clustering by Fast Search and Find of Density Peaks (Science 2014), for one-shot annotation.

    Largest density x distance first, as in Jin et al., Density-Based One-Shot Active Learning (2023). The density is
    the sum of exp(-(distance / cutoff)^2) over the other P - 1 samples of the pool. The distance is that to the nearest
    denser or labeled sample, whichever is nearer. Exact: O(P^2 D) time, O(P D) bytes.

    share  quantile of the distances between samples that is the cutoff (1 to 2 % in the paper)
    """

    share: Annotated[float, Field(gt=0, lt=1)] = 0.02
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Rodriguez, Laio: *Clustering by Fast Search and Find of Density Peaks*, Science 2014; for annotation"
        " Jin et al.: *Density-Based One-Shot Active Learning*, Engineering Applications of Artificial "
        "Intelligence 2023",
        passes="0",
        time="N^2 D",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` highest peaks, ties in random order."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        pool = np.union1d(state.candidates, labeled)
        vectors = state.vectors(pool, self.metric)
        cutoff = float(np.quantile(pair_distances(vectors, rng), self.share)) or 1.0

        def gaussian(squared: torch.Tensor) -> torch.Tensor:
            return squared.div_(-(cutoff**2)).exp_()

        density = similarity_sums(vectors, vectors, gaussian) - 1
        rank = np.empty(len(pool), dtype=np.int64)
        rank[best_first(-density, rng)] = np.arange(len(pool))  # of equals one counts as the denser
        distances = nearest_where(vectors, rank, operator.lt)
        distances[rank.argmax()] = np.sqrt(squared_to(vectors, vectors[rank.argmax()]).max())  # nothing is denser
        if len(labeled):
            squared, _ = nearest(vectors, state.vectors(labeled, self.metric), 1)
            distances = np.minimum(distances, np.sqrt(squared[:, 0]))
        place = np.searchsorted(pool, state.candidates)
        picks = best_first(density[place] * distances[place], rng)[:budget]
        return Query(
            state.candidates[picks],
            reasons=tuple(
                f"density {density[p]:.3g}, {distances[p]:.3g} from anything denser or labeled" for p in place[picks]
            ),
        )
