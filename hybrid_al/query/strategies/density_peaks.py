"""Density peaks: the candidates that are dense and far from anything denser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...core.embeddings import Metric
from ...core.registry import hyperparameters
from ...core.types import Need, Query, Scores
from ...scores.ranks import mid_ranks
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..cover import PEAK_SHARE, density_and_distance


@dataclass(frozen=True)
@hyperparameters
class DensityPeaks:
    """Rodriguez and Laio, Clustering by Fast Search and Find of Density Peaks (Science 2014), for one-shot annotation.

    Largest density x distance first, as in Jin et al., Density-Based One-Shot Active Learning (2023). The density is
    the sum of exp(-(distance / cutoff)^2) over the other P - 1 samples of the pool. The distance is that to the nearest
    denser or labeled sample, whichever is nearer. Exact: O(P^2 D) time, O(P D) bytes.

    share  quantile of the distances between samples that is the cutoff (1 to 2 % in the paper)
    """

    share: Annotated[float, Field(gt=0, lt=1)] = PEAK_SHARE
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
        density, distances = density_and_distance(state, self.share, self.metric, rng)
        values = density * distances
        picks = best_first(values, rng)[:budget]
        return Query(
            state.candidates[picks],
            scores=Scores(state.candidates, values, {"density_peaks": mid_ranks(values)}),
            reasons=tuple(
                f"density {density[p]:.3g}, {distances[p]:.3g} from anything denser or labeled" for p in picks
            ),
        )
