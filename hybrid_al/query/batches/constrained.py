"""Batch makers that keep to a constraint: even classes, or a limit on what the answers cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import scipy.optimize

from ...core.registry import Positive, hyperparameters
from ...core.types import BoolArray, FloatArray, IntArray, Need
from ...errors import InputError
from ..base import About, QueryState
from .base import Batch, best_first

Solver = Literal["program", "greedy"]


@dataclass(frozen=True)
@hyperparameters
class ClassBalancedBatch:
    """Best-scored, with classes even among labels and picks as far as the predictions say.

    The most of the sum of scores - strength * sum over classes |expected picks of the class - those it is short of|,
    where a class is short of (labels + budget) / C - its labels, if that is above 0. `program` solves it as a linear
    program, of which all but C + 1 entries are whole, and adds those greedily; `greedy` adds all of them so.
    """

    strength: Positive = 0.6
    solver: Solver = "program"

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="Bengar et al.: *Class-Balanced Active Learning for Image Classification*, WACV 2022, section 3",
        passes="1",
        time="program: a linear program of M + C unknowns in 2C + 1 rows; greedy: b M C",
        memory="4 M C",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Best-scored first, ties in random order."""
        probs = state.probs().mean(axis=1, dtype=np.float64)
        targets = state.labels.class_targets()
        classes = max(probs.shape[1], int(targets.max(initial=-1)) + 1)
        probs = np.pad(probs, ((0, 0), (0, classes - probs.shape[1])))
        labels = np.bincount(targets, minlength=classes)
        short = ((len(targets) + budget) / classes - labels).clip(0)
        order = rng.permutation(len(values_M))  # the first of equals is a random one
        values, probs = values_M[order].astype(np.float64), probs[order]
        taken, open_ = np.zeros(len(order), dtype=bool), np.ones(len(order), dtype=bool)
        if self.solver == "program":
            taken, open_ = _relaxed(values, probs, short, self.strength, budget)
        picks = order[_filled_up(values, probs, short, self.strength, budget, taken, open_)]
        return Batch(picks[best_first(values_M[picks], rng)], "for even classes")


def _relaxed(
    values_M: FloatArray, probs_MC: FloatArray, short_C: FloatArray, strength: float, budget: int
) -> tuple[BoolArray, BoolArray]:
    """A vertex of the program without whole numbers: what it takes as a whole (M,), and in part (M,)."""
    m, classes = probs_MC.shape
    slack = np.eye(classes)
    found = scipy.optimize.linprog(
        np.concatenate([-values_M, np.full(classes, strength)]),
        A_ub=np.block([[probs_MC.T, -slack], [-probs_MC.T, -slack]]),
        b_ub=np.concatenate([short_C, -short_C]),
        A_eq=np.concatenate([np.ones(m), np.zeros(classes)])[None],
        b_eq=[budget],
        bounds=[(0, 1)] * m + [(0, None)] * classes,
        method="highs-ds",
    )
    if found.x is None:  # the solver gave up: all of it greedily
        return np.zeros(m, dtype=bool), np.ones(m, dtype=bool)
    share = found.x[:m]
    return share > 1 - 1e-7, (share > 1e-7) & (share <= 1 - 1e-7)


def _filled_up(
    values_M: FloatArray,
    probs_MC: FloatArray,
    short_C: FloatArray,
    strength: float,
    budget: int,
    taken_M: BoolArray,
    open_M: BoolArray,
) -> IntArray:
    """What is taken, and always what raises the objective most of what is open, up to the budget."""
    picks = np.flatnonzero(taken_M).tolist()[:budget]
    expected = probs_MC[picks].sum(axis=0)
    left = open_M & ~taken_M
    while len(picks) < budget:
        gain = values_M - strength * np.abs(expected + probs_MC - short_C).sum(axis=1)
        gain[~left] = -np.inf
        picks.append(int(gain.argmax()))
        expected += probs_MC[picks[-1]]
        left[picks[-1]] = False
    return np.asarray(picks, dtype=np.int64)


@dataclass(frozen=True)
@hyperparameters
class KnapsackBatch:
    """`budget` candidates of the largest sum of scores whose answers cost no more than a limit together.

    spend  the limit: this share of what as many candidates cost on average; where even the cheapest cost more, these
    """

    spend: Positive = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset({"costs"})
    about: ClassVar[About] = About(
        paper="Kuo et al.: *Cost-Sensitive Active Learning for Intracranial Hemorrhage Detection*, MICCAI 2018",
        passes="0",
        time="60 M log M",
        memory="M",
    )

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Best-scored first, ties in random order."""
        costs = state.extra("cost", state.candidates)
        bad = np.flatnonzero(costs <= 0)
        if bad.size:
            raise InputError(f"cost of sample {state.candidates[bad[0]]}", "a number above 0", str(costs[bad[0]]))
        limit = self.spend * budget * float(costs.mean())
        order = rng.permutation(len(values_M))
        picks = order[knapsack(values_M[order].astype(np.float64), costs[order], limit, budget)]
        total = float(costs[picks].sum())
        return Batch(picks[best_first(values_M[picks], rng)], f"cost {total:.3g} of {limit:.3g} together")


def knapsack(values_M: FloatArray, costs_M: FloatArray, limit: float, budget: int) -> IntArray:
    """`budget` places of large value that cost at most `limit` together, or the cheapest where there are none.

    By the best price: each place counts its value less price times cost, and the price is the lowest at which the
    best of them keep to the limit. The optimum of the program without whole numbers differs in two places at most, so
    the loss against the whole one is less than one place's value (but for ties at that price).
    """

    def best(price: float) -> IntArray:
        return np.argsort(-(values_M - price * costs_M), kind="stable")[:budget]

    cheapest = np.argsort(costs_M, kind="stable")[:budget]
    if costs_M[cheapest].sum() >= limit:
        return cheapest
    if costs_M[(free := best(0.0))].sum() <= limit:
        return free
    low, high, found = 0.0, 1.0, cheapest
    for _ in range(200):
        if costs_M[best(high)].sum() <= limit:
            break
        low, high = high, 2 * high
    for _ in range(60):
        price = (low + high) / 2
        picks = best(price)
        if costs_M[picks].sum() <= limit:
            high, found = price, picks
        else:
            low = price
    return found
