"""BAIT: the batch after which the labels tell most about what the pool asks of the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..fisher import SIZE, Design, information, labeled_and_candidates, roots


@dataclass(frozen=True)
@hyperparameters
class BAIT:
    """Ash, Goel, Krishnamurthy and Kakade, Gone Fishing (NeurIPS 2021), algorithm 1.

    Least trace of (ridge I + information of labels and batch)^-1 times that of the pool, by the Fisher information of
    the last layer: greedily `factor` times the budget, of which then those go that it misses least.

    size  classes x dimensions of the features at most, projected on their principal directions
    """

    ridge: Positive = 1.0
    factor: Count = 2
    size: Count = SIZE

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Ash, Goel, Krishnamurthy, Kakade: *Gone Fishing: Neural Active Learning with Fisher Embeddings*, "
        "NeurIPS 2021, algorithm 1",
        passes="1, of the labeled too",
        time="M D^2 + factor b (M C (size + C^2) + C size^2)",
        memory="M (C^2 + D) + size^2",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, ties in random order."""
        check_budget(state, budget)
        known = len(state.labels.labeled)
        probs, features = labeled_and_candidates(state, self.size)
        total = information(probs, features)
        inverse = np.linalg.inv(self.ridge * np.eye(len(total)) + information(probs[:known], features[:known]))
        order = known + rng.permutation(len(state.candidates))
        design = Design(roots(probs[order]), features[order], inverse, total / len(probs))
        picks = list[int]()
        for _ in range(min(self.factor * budget, len(order))):
            gains = design.change(slice(None), 1)
            gains[picks] = -np.inf
            picks.append(int(gains.argmax()))
            design.move(picks[-1], 1)
        while len(picks) > budget:
            design.move(picks.pop(int(design.change(picks, -1).argmin())), -1)
        losses = design.change(picks, -1)
        reasons = tuple(f"without it the error bound of the pool rises by {loss:.3g}" for loss in losses)
        return Query(state.candidates[order[picks] - known], reasons=reasons)
