"""Learner `finetune`: the whole network learns, in each round anew from the stage-0 weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

from ..core.registry import Amount, Decay, hyperparameters
from ..data.loaders import ImageInputs
from ..semi.base import Objective
from ..train import Schedule
from .network import Foundation, NetworkLearner, learner_over


@dataclass(frozen=True)
@hyperparameters
class Finetune:
    """Settings of the learner; stochastic passes use the same `dropout` on the features.

    loss_head  weight of a second head that learns to rank samples by their loss (Yoo and Kweon: 1), for
               `query: {name: learning_loss, by: network}`; 0: none
    """

    dropout: Decay = 0.2
    loss_head: Amount = 0.0

    schedule: ClassVar[Schedule] = Schedule()
    frozen: ClassVar[bool] = False

    def build(self, base: Foundation, objective: Objective, schedule: Schedule) -> NetworkLearner:
        """A learner over the images; `base.encoder` is copied each round, never changed."""
        inputs = ImageInputs(base.store, base.views, base.device)
        return learner_over(
            base,
            lambda: copy.deepcopy(base.encoder),
            inputs,
            objective,
            schedule,
            dropout=self.dropout,
            loss_head=self.loss_head,
        )
