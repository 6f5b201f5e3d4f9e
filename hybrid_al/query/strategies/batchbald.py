"""BatchBALD: the batch whose labels, taken together, say most about the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Passes, hyperparameters
from ...core.types import Need, Query
from ...kernels.mutual_information import batch_bald
from ..base import About, QueryState, check_budget


@dataclass(frozen=True)
@hyperparameters
class BatchBald:
    """Greedy largest mutual information of the batch's labels and the model, see `information.batch_bald`.

    Unlike BALD it does not ask the same thing twice. Random where the learner has no dropout: then all passes agree.

    samples         passes with dropout
    configurations  the most joint labels of a batch: exact up to so many, a random draw beyond
    """

    samples: Passes = 25
    configurations: Count = 10_000

    needs: ClassVar[frozenset[Need]] = frozenset({"samples"})
    about: ClassVar[About] = About(
        paper="Kirsch, van Amersfoort, Gal: *BatchBALD: Efficient and Diverse Batch Acquisition for Deep Bayesian "
        "Active Learning*, NeurIPS 2019, sections 3.1 and 4",
        passes="samples",
        time="b K S M C at most, with K = min(C^b, configurations); lazily less",
        memory="M S C + K S",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, ties in random order."""
        check_budget(state, budget)
        order = rng.permutation(len(state.candidates))  # so that ties fall at random
        picks, gains = batch_bald(state.probs(self.samples)[order], budget, rng, configurations=self.configurations)
        return Query(
            state.candidates[order[picks]],
            reasons=tuple(f"its label would add {gain:.3g} nats about the model to those before" for gain in gains),
        )
