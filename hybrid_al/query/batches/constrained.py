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
    """Best-scored, with classes even among labels and picks, by the predicted classes.

    The batch of the largest sum of scores - strength * sum over classes |expected picks - deficit|. The deficit of a
    class is (labels + budget) / C - its labels, 0 at least. `program` solves the linear program, in which all but
    C + 1 entries are whole, and adds those greedily; `greedy` adds all picks greedily.
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
        deficit = ((len(targets) + budget) / classes - labels).clip(0)
        order = rng.permutation(len(values_M))  # so that ties fall at random
        values, probs = values_M[order].astype(np.float64), probs[order]
        whole, fractional = np.zeros(len(order), dtype=bool), np.ones(len(order), dtype=bool)
        if self.solver == "program":
            whole, fractional = _relaxation(values, probs, deficit, self.strength, budget)
        picks = order[_fill_up(values, probs, deficit, self.strength, budget, whole, fractional)]
        return Batch(picks[best_first(values_M[picks], rng)], "for even classes")


def _relaxation(
    values_M: FloatArray, probs_MC: FloatArray, deficit_C: FloatArray, strength: float, budget: int
) -> tuple[BoolArray, BoolArray]:
    """A vertex of the program without whole numbers: candidates that it takes whole (M,), and in part (M,)."""
    m, classes = probs_MC.shape
    slack = np.eye(classes)
    solution = scipy.optimize.linprog(
        np.concatenate([-values_M, np.full(classes, strength)]),
        A_ub=np.block([[probs_MC.T, -slack], [-probs_MC.T, -slack]]),
        b_ub=np.concatenate([deficit_C, -deficit_C]),
        A_eq=np.concatenate([np.ones(m), np.zeros(classes)])[None],
        b_eq=[budget],
        bounds=[(0, 1)] * m + [(0, None)] * classes,
        method="highs-ds",
    )
    if solution.x is None:  # the solver gave up: all picks greedily
        return np.zeros(m, dtype=bool), np.ones(m, dtype=bool)
    share = solution.x[:m]
    return share > 1 - 1e-7, (share > 1e-7) & (share <= 1 - 1e-7)


def _fill_up(
    values_M: FloatArray,
    probs_MC: FloatArray,
    deficit_C: FloatArray,
    strength: float,
    budget: int,
    whole_M: BoolArray,
    fractional_M: BoolArray,
) -> IntArray:
    """The whole candidates, then greedily the fractional one that raises the sum most, up to the budget (b,)."""
    picks = np.flatnonzero(whole_M).tolist()[:budget]
    expected = probs_MC[picks].sum(axis=0)
    available = fractional_M & ~whole_M
    while len(picks) < budget:
        gain = values_M - strength * np.abs(expected + probs_MC - deficit_C).sum(axis=1)
        gain[~available] = -np.inf
        picks.append(int(gain.argmax()))
        expected += probs_MC[picks[-1]]
        available[picks[-1]] = False
    return np.asarray(picks, dtype=np.int64)


@dataclass(frozen=True)
@hyperparameters
class KnapsackBatch:
    """The `budget` candidates of the largest sum of scores whose answers together cost no more than a limit.

    spend  the limit, as a share of the mean cost of `budget` candidates; where even the cheapest cost more, these
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
    """`budget` places of large value that together cost at most `limit`; the cheapest where there are none.

    Each place counts its value less price times cost; the price is the lowest at which the best places keep to the
    limit. The optimum of the program without whole numbers differs in two places at most, so the loss against the
    optimum in whole numbers is less than the value of one place (but for ties at that price).
    """

    def best(price: float) -> IntArray:
        return np.argsort(-(values_M - price * costs_M), kind="stable")[:budget]

    cheapest = np.argsort(costs_M, kind="stable")[:budget]
    if costs_M[cheapest].sum() >= limit:
        return cheapest
    if costs_M[(unlimited := best(0.0))].sum() <= limit:
        return unlimited
    low, high, feasible = 0.0, 1.0, cheapest
    for _ in range(200):
        if costs_M[best(high)].sum() <= limit:
            break
        low, high = high, 2 * high
    for _ in range(60):
        price = (low + high) / 2
        picks = best(price)
        if costs_M[picks].sum() <= limit:
            high, feasible = price, picks
        else:
            low = price
    return feasible
