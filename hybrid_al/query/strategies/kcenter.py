"""k-center (core-set): each time the candidate farthest from all labels and picks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import Metric
from ...core.registry import hyperparameters
from ...core.types import Need, Query
from ...kernels.distances import k_center
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
@hyperparameters
class KCenter:
    """Sener and Savarese, Active Learning for CNNs: A Core-Set Approach (ICLR 2018), algorithm 1 (greedy).

    Without labels the first pick is random. The published distance is l2 on features of the model; here it is
    taken between the embeddings.
    """

    metric: Metric = "l2"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Sener, Savarese: *Active Learning for Convolutional Neural Networks: A Core-Set Approach*, ICLR "
        "2018, algorithm 1",
        passes="0",
        time="N (L + b) D",
        memory="N D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, so that each prefix covers well."""
        check_budget(state, budget)
        labeled = np.setdiff1d(state.labels.labeled, state.candidates)
        samples = np.concatenate([state.candidates, labeled])
        covered = np.arange(len(state.candidates), len(samples))
        first = None if len(labeled) else int(rng.integers(len(state.candidates)))
        picks, squared = k_center(state.vectors(samples, self.metric), covered, budget, first)
        reasons = [f"{distance:.3g} from all labeled and picked" for distance in np.sqrt(squared)]
        if first is not None:
            reasons[0] = "a random start"
        return Query(samples[picks], reasons=tuple(reasons))
