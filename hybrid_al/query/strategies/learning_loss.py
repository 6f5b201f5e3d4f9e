"""Learning loss: a small network learns from the labeled set which samples a head gets wrong, and scores candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.registry import Count, Passes, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ...errors import InputError
from ..base import About, QueryState, check_budget
from ..loss_head import LossHead
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class LearningLoss:
    """Largest predicted loss. Yoo and Kweon, Learning Loss for Active Learning (CVPR 2019), section 3.

    A linear head on frozen embeddings gives the loss of each labeled sample, by `folds`-fold cross-fitting. A network
    of one hidden layer learns, with the paper's ranking loss, to put pairs of samples in the order of these losses.
    Random where all losses are equal. With `by: network` it is the head that was trained with the network, on its
    losses (`learner: {name: finetune, loss_head: 1.0}`); the settings below are not used then.

    by             "embeddings" of stage 0, or the "network"
    width, margin  hidden units, and margin of the ranking loss (Yoo and Kweon: 128 and 1)
    steps, rate    of Adam, with weight decay 0.01; each step takes all pairs of up to 128 labeled samples
    folds          of the cross-fitting
    strength       inverse weight of the L2 penalty on the head, features scaled to unit variance
    """

    by: Literal["embeddings", "network"] = "embeddings"
    width: Count = LossHead.width
    margin: Positive = LossHead.margin
    steps: Count = LossHead.steps
    rate: Positive = LossHead.rate
    folds: Passes = LossHead.folds
    strength: Positive = LossHead.strength

    about: ClassVar[About] = About(
        paper="Yoo, Kweon: *Learning Loss for Active Learning*, CVPR 2019, section 3",
        passes="0; network 1",
        time="folds L D C a step of a fit + (128 steps + M) width D",
        memory="M D",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Embeddings, or predictions of the network."""
        return frozenset({"predictions"} if self.by == "network" else {"embeddings"})

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates of the largest predicted loss, ties in random order."""
        check_budget(state, budget)
        if self.by == "network":
            return best_by_value("predicted loss", _told(state), state, budget, rng)
        head = LossHead(self.width, self.margin, self.steps, self.rate, self.folds, self.strength)
        return best_by_value("predicted loss", head.predict(state, rng), state, budget, rng)


def _told(state: QueryState) -> FloatArray:
    """The losses (M,) that the network predicts for the candidates."""
    losses = list[FloatArray]()
    for batch in state.predictions():
        if batch.losses is None:
            where = f"query of round {state.round}"
            raise InputError(
                where, "a network with a head of losses (learner: {name: finetune, loss_head: 1.0})", "none"
            )
        losses.append(batch.losses)
    return np.concatenate(losses)
