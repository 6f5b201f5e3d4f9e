"""Batch makers that draw at random by the scores: few redundant picks, and no embeddings needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import FloatArray, Need
from ..base import About, QueryState
from .base import Batch, best_first, weights_of

KIRSCH = About(
    paper="Kirsch et al.: *Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning*, TMLR "
    "2023, section 3",
    passes="0",
    time="M log M",
    memory="M",
)


@dataclass(frozen=True)
@hyperparameters
class PowerBatch:
    """Draw without replacement with probability proportional to score^beta; scores of 0 come last.

    Kirsch et al., Stochastic Batch Acquisition (TMLR 2023), section 3. Cost: a sort.
    """

    beta: Positive = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = KIRSCH

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the draws."""
        weights = weights_of("power", values_M)
        logs = np.log(weights, where=weights > 0, out=np.full(len(weights), -np.inf))
        return _draw(self.beta * logs, budget, rng)


@dataclass(frozen=True)
@hyperparameters
class SoftmaxBatch:
    """Draw without replacement with probability proportional to exp(beta score).

    Kirsch et al., Stochastic Batch Acquisition (TMLR 2023), section 3. Cost: a sort.
    """

    beta: Positive = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = KIRSCH

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the draws."""
        return _draw(self.beta * values_M.astype(np.float64), budget, rng)


@dataclass(frozen=True)
@hyperparameters
class SoftRankBatch:
    """Draw without replacement with probability proportional to rank^-beta, the best-scored having rank 1.

    Kirsch et al., Stochastic Batch Acquisition (TMLR 2023), section 3. Cost: a sort.
    """

    beta: Positive = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = KIRSCH

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order of the draws."""
        ranks = np.empty(len(values_M))
        ranks[best_first(values_M, rng)] = np.arange(1, len(values_M) + 1)
        return _draw(-self.beta * np.log(ranks), budget, rng)


@dataclass(frozen=True)
@hyperparameters
class StochasticBatches:
    """The batch of the largest mean score, of random cuts of the candidates into batches of the budget's size.

    Gaillochet, Desrosiers and Lombaert, Active Learning for Medical Image Segmentation with Stochastic Batches (Medical
    Image Analysis 2023), section 3. Cost: `cuts` permutations.
    """

    cuts: Count = 1

    needs: ClassVar[frozenset[Need]] = frozenset()
    about: ClassVar[About] = About(
        paper="Gaillochet, Desrosiers, Lombaert: *Active Learning for Medical Image Segmentation with Stochastic "
        "Batches*, Medical Image Analysis 2023, section 3",
        passes="0",
        time="cuts M",
        memory="cuts M",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Best-scored first, in the best batch of all cuts; what does not fill a batch is left out of its cut."""
        whole = len(values_M) // budget * budget
        batches = np.concatenate([rng.permutation(len(values_M))[:whole].reshape(-1, budget) for _ in range(self.cuts)])
        best = batches[values_M[batches].mean(axis=1).argmax()]
        return Batch(best[best_first(values_M[best], rng)], f"the best of {len(batches)} random batches")


def _draw(logs_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
    """Draw without replacement in proportion to the exponentials of the logs: the top of logs + Gumbel noise."""
    return Batch(best_first(logs_M + rng.gumbel(size=len(logs_M)), rng)[:budget], "drawn by score")
