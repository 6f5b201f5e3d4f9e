"""Learner `linear`: logistic regression on the embeddings of the labeled samples, the baseline of every bench."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..core.registry import Positive, hyperparameters
from ..data.loaders import EmbeddingInputs
from ..semi.base import Objective
from ..semi.supervised import Supervised
from ..train import Schedule
from .frozen import standardized, weak_views_of
from .head import SolvedHead
from .network import Foundation, NetworkLearner, learner_over


@dataclass(frozen=True)
@hyperparameters
class Linear:
    """Settings of the learner; what `train` says of unlabeled samples and of steps plays no part.

    Features are standardised by the pool. The consistency record is empty, as nothing looks at the unlabeled samples.
    strength  of the summed loss beside half the squared norm of the weights: C of scikit-learn, whose
              LogisticRegression this is, with class_weight "balanced" where `train.balanced` is true
    """

    strength: Positive = 1e-3

    schedule: ClassVar[Schedule] = Schedule()
    frozen: ClassVar[bool] = True

    def build(self, base: Foundation, objective: Objective, schedule: Schedule) -> NetworkLearner:
        """A learner over the plain embeddings; no view is embedded but those that a query asks for."""
        plain, body = standardized(base)
        none = np.zeros((0, *plain.shape), dtype=np.float16)
        inputs = EmbeddingInputs(plain, none, none, base.device, weak_views_of(base))
        head = SolvedHead(inputs, self.strength, schedule.balanced, schedule.target_share)
        return learner_over(base, body, inputs, Supervised(), schedule, dropout=0.2, head=head, top_up_limit=0)
