"""When more labels change little: how far two rounds' models agree, and what the next batch may still bring."""

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

MOST = 2000  # samples that the rounds' models are compared on
IMAGES = 250  # the same where each stands for some pixels
AGREEMENT, GAIN = "stop/agreement", "stop/expected_gain"


@dataclass(frozen=True)
@hyperparameters
class Stopping:
    """What counts as enough; both must hold. Reads no label of the holdout.

    agreement rounds   Cohen's kappa of two rounds' models on a fixed sample of the pool, reached by the mean over the
                       last `rounds` comparisons: Bloodgood and Vijay-Shanker (CoNLL 2009), section 3, with its 0.99
                       and its window of 3
    gain               accuracy in [0, 1] that the next batch is expected to add at most (see `expected_gain`)
    enforce            end the loop there; else it is only said
    """

    agreement: Annotated[float, Field(ge=-1, le=1)] = 0.99
    rounds: Count = 3
    gain: Amount = 0.002
    enforce: bool = False

    def enough(self, rounds: Sequence[Round]) -> bool:
        """Whether the last of the committed rounds says so."""
        compared = [r.metrics[AGREEMENT] for r in rounds if AGREEMENT in r.metrics][-self.rounds :]
        if len(compared) < self.rounds or GAIN not in rounds[-1].metrics:
            return False
        return float(np.mean(compared)) >= self.agreement and rounds[-1].metrics[GAIN] <= self.gain

    def enough_at(self, rounds: Sequence[Round]) -> int | None:
        """The first round that says so."""
        return next((r for r in range(len(rounds)) if self.enough(rounds[: r + 1])), None)


def stop_set(pool: IntArray, seed: int, most: int = MOST) -> IntArray:
    """The samples of the pool that all rounds of a run are compared on, ascending (M,)."""
    return np.sort(derive(seed, "stop set").permutation(pool)[:most])


def signals(before_M: IntArray, probs_MC: FloatArray, labels: tuple[int, int, int]) -> dict[str, float]:
    """Agreement with the classes that the last round's model gave, and the expected gain of the next batch.

    `labels` are their numbers a round ago, now, and after the next batch.
    """
    return {
        AGREEMENT: kappa(before_M, probs_MC.argmax(axis=1)),
        GAIN: expected_gain(before_M, probs_MC, labels),
    }


def kappa(first_M: IntArray, second_M: IntArray) -> float:
    """Cohen's kappa of two models' classes (M,), in [-1, 1]; 1 where they agree on every sample."""
    from sklearn.metrics import cohen_kappa_score

    if (first_M == second_M).all():
        return 1.0  # of a single class it would be 0 / 0
    return float(cohen_kappa_score(first_M, second_M))


def expected_gain(before_M: IntArray, probs_MC: FloatArray, labels: tuple[int, int, int]) -> float:
    """Accuracy that the next batch may add, in [0, 1]: what the last one added, as the new model sees it, carried on.

    Ours. The last batch changed some answers; by the new model's own probabilities its answer is right more often than
    the old one by the mean difference of the two. That difference is carried on as accuracy grows with the logarithm
    of the number of labels: an assumption that has not been held against real curves.
    """
    past, now, then = labels
    if not 0 < past < now <= then:
        raise InputError("expected gain", "growing numbers of labels", f"{past}, {now}, {then}")
    old = np.take_along_axis(probs_MC, before_M[:, None], axis=1)[:, 0]
    last = float(np.mean(probs_MC.max(axis=1) - old))
    return last * math.log(then / now) / math.log(now / past)
