"""PT4AL: the pool in batches by the loss of the pretext task, the hardest first, one batch a round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, hyperparameters
from ...core.types import IntArray, Need, Query
from ...scores.samples import least_confidence
from ..base import About, QueryState, check_budget
from ..batches.base import best_first

PAPER = "Yi et al.: *PT4AL: Using Self-Supervised Pretext Tasks for Active Learning*, ECCV 2022, section 3"


@dataclass(frozen=True)
@hyperparameters
class PT4ALStart:
    """The cold start of PT4AL: uniform over the batch of largest pretext loss.

    batches  as many as rounds (10 in the paper); with fewer rounds the easiest are never asked
    """

    batches: Count = 10

    needs: ClassVar[frozenset[Need]] = frozenset({"stage0"})
    about: ClassVar[About] = About(PAPER, passes="0", time="N log N", memory="N")

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates of the batch, in random order; where it is smaller, the next batches fill up."""
        check_budget(state, budget)
        batch = pretext_batches(state, self.batches, rng)
        order = np.lexsort((rng.random(len(batch)), batch))[:budget]
        reasons = tuple(f"drawn from batch {b + 1} of {self.batches} by pretext loss" for b in batch[order])
        return Query(state.candidates[order], reasons=reasons)


@dataclass(frozen=True)
@hyperparameters
class PT4AL:
    """Round r asks the least confident of batch r; batches are in the order of falling pretext loss.

    Rounds count from 0, the cold start (`pt4al_start`); after the last batch comes the first again.

    batches  as many as rounds (10 in the paper); the same as in the cold start
    """

    batches: Count = 10

    needs: ClassVar[frozenset[Need]] = frozenset({"stage0", "predictions"})
    about: ClassVar[About] = About(PAPER, passes="1", time="N log N + M C", memory="N")

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, the least confident first; where the batch has fewer, those after it fill up."""
        check_budget(state, budget)
        doubt = state.score(least_confidence)
        batch = pretext_batches(state, self.batches, rng)
        turn = (batch - state.round) % self.batches
        order = best_first(doubt, rng)
        order = order[np.argsort(turn[order], kind="stable")][:budget]
        reasons = tuple(
            f"probability {1 - doubt[p]:.3g}, in batch {batch[p] + 1} of {self.batches} by pretext loss" for p in order
        )
        return Query(state.candidates[order], reasons=reasons)


def pretext_batches(state: QueryState, batches: int, rng: np.random.Generator) -> IntArray:
    """The batch (0-based) of each candidate (M,): the pool by falling pretext loss, in batches of even size.

    The pool includes answered samples, so a batch stays the same from round to round; ties fall at random.
    """
    pool = np.union1d(state.candidates, state.labels.answered)
    order = np.lexsort((rng.random(len(pool)), -state.record("pretext_loss", pool)))
    batch = np.empty(len(pool), dtype=np.int64)
    batch[order] = np.arange(len(pool)) * batches // len(pool)
    return batch[np.searchsorted(pool, state.candidates)]
