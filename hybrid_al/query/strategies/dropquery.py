"""DropQuery: candidates whose class changes where features are left out, one of each of their clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Decay, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..clusters import nearest_to_centres
from ..last_layer import features_and_head


@dataclass(frozen=True)
@hyperparameters
class DropQuery:
    """Gupte et al., Revisiting Active Learning in the Era of Vision Foundation Models (TMLR 2024), section 4.

    Candidates for which more than half of the `passes` with dropout on the features say another class; of these the one
    nearest to each centre of a k-means into `budget` clusters. Others at random where they are too few.

    dropout  share of the features that a pass leaves out, each candidate's own
    """

    passes: Count = 3
    dropout: Decay = 0.75

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Gupte, Aklilu, Nirschl, Yeung-Levy: *Revisiting Active Learning in the Era of Vision Foundation Models*"
        ", TMLR 2024, section 4",
        passes="1",
        time="passes M C D + k-means of those that change class",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, those of the largest clusters first."""
        check_budget(state, budget)
        features, weight, bias = features_and_head(state)
        plain, changes = (features @ weight.T + bias).argmax(axis=1), np.zeros(len(features), dtype=np.int64)
        for _ in range(self.passes):
            kept = (rng.random(features.shape) >= self.dropout) / (1 - self.dropout)
            changes += ((features * kept) @ weight.T + bias).argmax(axis=1) != plain
        unsure = np.flatnonzero(changes > self.passes / 2)
        picks = np.empty(0, dtype=np.int64)
        if len(unsure):
            rows = features[unsure].astype(np.float32)
            picks = unsure[nearest_to_centres(rows, min(budget, len(unsure)), rng)]
        others = rng.permutation(np.setdiff1d(np.arange(len(features)), picks))[: budget - len(picks)]
        reasons = [f"another class in {changes[p]} of {self.passes} passes without some features" for p in picks]
        fill_reasons = ["a random one: too few change class"] * len(others)
        return Query(state.candidates[np.concatenate([picks, others])], reasons=(*reasons, *fill_reasons))
