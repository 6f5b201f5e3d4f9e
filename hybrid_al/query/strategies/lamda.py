"""LAMDA: picks that, with what the model is sure of, are distributed like the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...core.registry import Amount, Count, Share, hyperparameters
from ...core.types import BoolArray, FloatArray, Need, Query
from ...kernels.distances import squared_to
from ...kernels.similarity import similarity_sums
from ..base import About, QueryState, check_budget
from ..domains import of_source
from ..linear_head import scaled_embeddings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
@hyperparameters
class LAMDA:
    """Hwang et al., Combating Label Distribution Shift for Active Domain Adaptation (ECCV 2022), section 3.1.

    Greedy least maximum mean discrepancy between the target and its labels with the picks, kernel exp(-|x - y|^2 / D)
    of scaled embeddings. A chosen candidate of which the model is sure costs no budget: its pseudo-label stands for it;
    of such there are `ceiling` x round x budget at most, and with each further one the first of them is asked.

    sure     margin of the two largest probabilities from which the model counts as sure
    ceiling  see above
    rows     a larger target is represented by a random sample of so many
    """

    sure: Share = 0.8
    ceiling: Amount = 2.0
    rows: Count = 20_000

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "predictions", "domains"})
    about: ClassVar[About] = About(
        paper="Hwang et al.: *Combating Label Distribution Shift for Active Domain Adaptation*, ECCV 2022, section 3.1",
        passes="1",
        time="M D (min(M, rows) + ceiling round b)",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked."""
        check_budget(state, budget)
        order = rng.permutation(len(state.candidates))  # ties fall at random
        probs = np.sort(state.probs().mean(axis=1, dtype=np.float64)[order], axis=1)
        rows = scaled_embeddings(state, state.candidates[order]).astype(np.float32)
        asked = scaled_embeddings(state, state.labels.labeled[~of_source(state)]).astype(np.float32)
        sure, most = probs[:, -1] - probs[:, -2] > self.sure, int(self.ceiling * max(state.round, 1) * budget)
        picks = self._herd(rows, asked, sure, budget, most, rng)
        reasons = ("brings the labels closer to the target's distribution",) * budget
        return Query(state.candidates[order][picks], reasons=reasons)

    def _herd(
        self,
        rows: FloatArray,
        asked: FloatArray,
        sure: BoolArray,
        budget: int,
        most: int,
        rng: np.random.Generator,
    ) -> list[int]:
        target, width = np.concatenate([rows, asked]), float(rows.shape[1])
        if len(target) > self.rows:
            target = target[np.sort(rng.choice(len(target), self.rows, replace=False))]

        def gaussian(squared: torch.Tensor) -> torch.Tensor:
            return squared.div_(-width).exp_()

        to_target = similarity_sums(rows, target, gaussian) / len(target)
        to_chosen = similarity_sums(rows, asked, gaussian) if len(asked) else np.zeros(len(rows))
        free, picks, chosen = np.ones(len(rows), dtype=bool), list[int](), list[int]()
        for size in range(len(asked) + 1, len(asked) + len(rows) + 1):
            best = int(np.where(free, to_target - to_chosen / size, -np.inf).argmax())
            free[best] = False
            if sure[best]:
                chosen.append(best)
            if not sure[best] or len(chosen) > most:
                picks.append(chosen.pop(0) if sure[best] else best)
            if len(picks) == budget:
                return picks
            to_chosen += np.exp(-squared_to(rows, rows[best]).astype(np.float64) / width)
        return picks + chosen[: budget - len(picks)]
