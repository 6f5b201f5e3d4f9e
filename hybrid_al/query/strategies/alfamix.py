"""ALFA-Mix: candidates whose predicted class changes when a few labeled features are mixed into theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.embeddings import unit_rows
from ...core.registry import Part, hyperparameters
from ...core.types import Need, Query
from ..base import About, QueryState, check_budget
from ..clusters import nearest_to_centres
from ..last_layer import features_and_share


@dataclass(frozen=True)
@hyperparameters
class AlfaMix:
    """Parvaneh et al., Active Learning by Feature Mixing (CVPR 2022), section 3, with the closed form of alpha.

    An anchor is the mean of the labeled features of a class. Its share of the mix is raised step by step until more
    candidates than the budget change class. These are clustered, and the one nearest to each centre is asked.

    step  of the share (1/32 in the published code), divided by the root of the dimension as there
    """

    step: Part = 0.03125

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Parvaneh et al.: *Active Learning by Feature Mixing*, CVPR 2022, section 3",
        passes="1, and 1 over the labeled",
        time="M C D + k-means of those that change class",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, those of the largest clusters first; where too few change class, others at random."""
        check_budget(state, budget)
        features, share = features_and_share(state)
        step = self.step / np.sqrt(features.shape[1])
        turn = np.floor(share / step) + 1  # the first share that flips lies above, as equal scores do not
        turns = np.sort(turn[turn <= np.floor(1 / self.step + 1e-9)])
        cap = turns[min(budget, len(turns) - 1)] if len(turns) else 0
        flips = np.flatnonzero(turn <= cap)
        picks, reasons = np.empty(0, dtype=np.int64), list[str]()
        if len(flips):
            unit = unit_rows(features[flips]).astype(np.float32)
            picks = flips[nearest_to_centres(unit, min(budget, len(flips)), rng)]
            reasons = [f"changes class at {share[p]:.2g} of the way to an anchor" for p in picks]
        others = rng.permutation(np.setdiff1d(np.arange(len(features)), picks))[: budget - len(picks)]
        fill_reasons = ["a random one: too few change class"] * len(others)
        return Query(state.candidates[np.concatenate([picks, others])], reasons=(*reasons, *fill_reasons))
