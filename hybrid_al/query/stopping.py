"""When more labels change little: how far the models of two rounds agree, and what the next batch may still add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from ..core.registry import Amount, Count, hyperparameters
from ..core.rng import derive
from ..core.types import FloatArray, IntArray, Round
from ..errors import InputError

MOST = 2000  # samples that the models of two rounds are compared on
IMAGES = 250  # as many images, where each stands for some of its pixels
AGREEMENT, GAIN = "stop/agreement", "stop/expected_gain"


@dataclass(frozen=True)
@hyperparameters
class Stopping:
    """When labels are enough: both limits must be met. Reads no label of the holdout.

    agreement, rounds  least mean over the last `rounds` comparisons of two rounds' models: Cohen's kappa on a fixed
                       sample of the pool. Bloodgood and Vijay-Shanker (CoNLL 2009), section 3: 0.99 and 3
    gain               most accuracy in [0, 1] that the next batch is expected to add (see `expected_gain`)
    enforce            whether the loop ends there; else the report only says so
    """

    agreement: Annotated[float, Field(ge=-1, le=1)] = 0.99
    rounds: Count = 3
    gain: Amount = 0.002
    enforce: bool = False

    def enough(self, rounds: Sequence[Round]) -> bool:
        """Whether both limits are met after the last of the committed rounds."""
        agreements = [r.metrics[AGREEMENT] for r in rounds if AGREEMENT in r.metrics][-self.rounds :]
        if len(agreements) < self.rounds or GAIN not in rounds[-1].metrics:
            return False
        return float(np.mean(agreements)) >= self.agreement and rounds[-1].metrics[GAIN] <= self.gain

    def enough_at(self, rounds: Sequence[Round]) -> int | None:
        """The first round after which both limits are met."""
        return next((r for r in range(len(rounds)) if self.enough(rounds[: r + 1])), None)


def stop_set(pool: IntArray, seed: int, most: int = MOST) -> IntArray:
    """The samples (M,) of the pool on which all rounds of a run are compared, ascending."""
    return np.sort(derive(seed, "stop set").permutation(pool)[:most])


def signals(previous_M: IntArray, probs_MC: FloatArray, labels: tuple[int, int, int]) -> dict[str, float]:
    """Agreement with the classes `previous` (M,) of the last round's model, and the expected gain of the next batch.

    labels: how many there were a round ago, are now, and will be after the next batch.
    """
    return {
        AGREEMENT: kappa(previous_M, probs_MC.argmax(axis=1)),
        GAIN: expected_gain(previous_M, probs_MC, labels),
    }


def kappa(first_M: IntArray, second_M: IntArray) -> float:
    """Cohen's kappa of two models' classes (M,), in [-1, 1]; 1 where they agree on every sample."""
    from sklearn.metrics import cohen_kappa_score

    if (first_M == second_M).all():
        return 1.0  # with a single class it would be 0 / 0
    return float(cohen_kappa_score(first_M, second_M))


def expected_gain(previous_M: IntArray, probs_MC: FloatArray, labels: tuple[int, int, int]) -> float:
    """Accuracy in [0, 1] that the next batch may add, extrapolated from what the last batch added.

    Ours. The last batch's gain is the mean, over samples, of the new model's probability of its own class less its
    probability of the old model's class. It is extrapolated on the assumption that accuracy grows with the logarithm
    of the number of labels; this has not been checked against real curves.
    """
    past, now, then = labels
    if not 0 < past < now <= then:
        raise InputError("expected gain", "growing numbers of labels", f"{past}, {now}, {then}")
    previous_probs = np.take_along_axis(probs_MC, previous_M[:, None], axis=1)[:, 0]
    gain = float(np.mean(probs_MC.max(axis=1) - previous_probs))
    return gain * math.log(then / now) / math.log(now / past)
