"""k-center (core-set): each time the candidate farthest from all labels and picks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.spatial.distance import cdist

from ...core.embeddings import Metric
from ...core.registry import Share, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...kernels.distances import k_center
from ...kernels.programs import least_radius
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
@hyperparameters
class KCenter:
    """Sener and Savarese, Active Learning for CNNs: A Core-Set Approach (ICLR 2018), algorithm 1 (greedy).

    Without labels the first pick is random. The published distance is l2 on features of the model; here it is
    taken between the embeddings. Of a small pool by the robust mixed integer program too (algorithm 2).

    exact     largest pool, in samples with the labeled ones, for which the program is solved: of the batches that leave
              `outliers` uncovered, one of the least radius. 0: none. Its search is bounded (`kernels.programs`); the
              greedy picks stay where it finds none that are better. O(N^2) memory, minutes at some hundred samples
    outliers  share of the pool that no pick need cover; 1e-4 as published
    """

    metric: Metric = "l2"
    exact: Annotated[int, Field(ge=0, le=2000)] = 0
    outliers: Share = 1e-4

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Sener, Savarese: *Active Learning for Convolutional Neural Networks: A Core-Set Approach*, ICLR "
        "2018, algorithms 1 and 2",
        passes="0",
        time="N (L + b) D; with exact that of some 15 searches of 2000 nodes",
        memory="N D; with exact N^2",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, so that each prefix covers well."""
        check_budget(state, budget)
        labeled = np.setdiff1d(state.labels.labeled, state.candidates)
        samples = np.concatenate([state.candidates, labeled])
        covered = np.arange(len(state.candidates), len(samples))
        first = None if len(labeled) else int(rng.integers(len(state.candidates)))
        vectors = state.vectors(samples, self.metric)
        picks, squared = k_center(vectors, covered, budget, first)
        note = ""
        if len(samples) <= self.exact:
            picks, squared, note = self._program(vectors, len(state.candidates), picks, squared)
        reasons = [f"{distance:.3g} from all labeled and picked{note}" for distance in np.sqrt(squared)]
        if first is not None:
            reasons[0] = f"one of the batch{note}" if note else "a random start"
        return Query(samples[picks], reasons=tuple(reasons))

    def _program(
        self, vectors_PD: FloatArray, candidates: int, picks: IntArray, squared: FloatArray
    ) -> tuple[IntArray, FloatArray, str]:
        """The program's batch in the order of the greedy, or the greedy one; distances, and what is proven of it."""
        rows, covered = vectors_PD.astype(np.float64), np.arange(candidates, len(vectors_PD))
        distances, outliers = cdist(rows, rows), int(self.outliers * len(rows))
        to_labeled = distances[:, covered].min(axis=1, initial=np.inf)
        reach = np.sort(np.minimum(to_labeled, distances[:, picks].min(axis=1)))
        best, proven = least_radius(
            distances[:, :candidates], to_labeled, len(picks), outliers, float(reach[len(reach) - outliers - 1])
        )
        words = "; no batch has a smaller radius" if proven else "; the smallest radius found, not proven"
        if not len(best):
            return picks, squared, words
        subset = np.concatenate([best, covered])
        order, squared = k_center(
            vectors_PD[subset], np.arange(len(best), len(subset)), len(best), None if len(covered) else 0
        )
        return best[order], squared, words
