"""What the labels of a batch would say of the model: joint mutual information, by enumeration and by draws."""

from __future__ import annotations

from copy import copy

import numpy as np
import scipy.sparse

from ..core.types import FloatArray, IntArray
from ..errors import InputError
from ..scores.samples import ROUNDING
from .greedy import lazy_greedy
from .threads import alone

CELLS = 2**18  # numbers that are in work at a time: what a cache holds
ROUGH = 256  # groups of configurations: 64 leave twice as many gains to compute, 512 cost more than they save
FIRST = 16  # gains that are computed anew before the groups are asked


@alone()
def batch_bald(
    probs_MSC: FloatArray, budget: int, rng: np.random.Generator, *, configurations: int = 10_000
) -> tuple[IntArray, FloatArray]:
    """Greedy largest mutual information of a batch's labels and the model: picks (budget,), what each adds in nats.

    Given the pass s (a sample of the model), labels are independent: P(y1, ..., yn) is the mean over s of the product
    of p_s(yi). So a batch is the list of its K joint configurations, with the weight of each and its posterior over
    the S passes, and a candidate adds the entropy that it has in them, less the mean of its entropies in the passes.
    Exact while K = C^picks is at most `configurations`; from then on so many of them, drawn in proportion. The first
    gains are BALD. Gains below `ROUNDING` are 0; ties go to the first.

    A label cannot say less of the model to one who is told only a group of configurations in place of the one itself
    (entropy is concave), so `ROUGH` groups bound all gains at little cost and `lazy_greedy` computes the few that can
    win. At most O(budget K S M C) time where no bound helps, O(K S) bytes beside the probabilities.
    Kirsch, van Amersfoort and Gal, BatchBALD (NeurIPS 2019), sections 3.1 and 4.
    """
    if probs_MSC.ndim != 3 or probs_MSC.shape[2] < 2 or configurations < 1:
        raise InputError("batch_bald", "probabilities (M, S, C) of 2 classes, 1 configuration", str(probs_MSC.shape))
    batch = _Batch(probs_MSC.shape[1], configurations, rng)
    known = _known(probs_MSC)

    def gains(places: IntArray) -> FloatArray:
        gained = batch.entropies(probs_MSC, places) - known[places]
        return np.where(gained < ROUNDING, 0, gained)

    def at_most(places: IntArray) -> FloatArray:
        most: FloatArray = batch.in_groups().entropies(probs_MSC, places) - known[places] + ROUNDING
        return most

    def take(place: int) -> None:
        batch.add(probs_MSC[place].astype(np.float64))

    return lazy_greedy(gains, take, len(probs_MSC), budget, chunk=FIRST, at_most=at_most)


class _Batch:
    """The joint configurations of the labels of those picked: weight (K,) of each, and posterior (K, S) over passes."""

    def __init__(self, passes: int, most: int, rng: np.random.Generator) -> None:
        self.most, self.rng = most, rng
        self.weight, self.posterior = np.ones(1), np.full((1, passes), 1 / passes)

    def entropies(self, probs_MSC: FloatArray, places: IntArray) -> FloatArray:
        """Of each candidate's label given those of the batch (K,) in nats: the mean over configurations."""
        passes, classes = probs_MSC.shape[1:]
        size = max(CELLS // (classes * len(self.weight)), 1)
        found = np.empty(len(places))
        for start in range(0, len(places), size):
            part = probs_MSC[places[start : start + size]].astype(np.float64)
            spread = self.posterior @ part.transpose(1, 0, 2).reshape(passes, -1)  # (K, part * C)
            found[start : start + size] = -(self.weight @ _xlogx(spread)).reshape(-1, classes).sum(axis=1)
        return found

    def in_groups(self) -> _Batch:
        """At most `ROUGH` configurations that stand for many alike each: weights added, posteriors averaged.

        Two turns of k-means on the square roots of the posteriors, whose length is 1. A candidate's entropy is, but for
        rounding, no less than in the batch itself, whatever the groups are.
        """
        if len(self.weight) <= 2 * ROUGH:
            return self
        rows, few = np.sqrt(self.posterior, dtype=np.float32), self.posterior[:: -(-len(self.weight) // ROUGH)]
        for _ in range(2):
            group = (rows @ np.sqrt(few, dtype=np.float32).T).argmax(axis=1)
            share = scipy.sparse.csr_array((self.weight, (group, np.arange(len(rows)))))
            weight = share @ np.ones(len(rows))
            held = weight > 0
            few, weight = (share @ self.posterior)[held] / weight[held, None], weight[held]
        groups = copy(self)
        groups.weight, groups.posterior = weight, few
        return groups

    def add(self, probs_SC: FloatArray) -> None:
        """Every configuration with every class of a further candidate, or as many of them as are kept, drawn."""
        weight = (self.weight[:, None] * (self.posterior @ probs_SC)).ravel()
        kept = np.flatnonzero(weight)
        if len(kept) > self.most:  # one of each share of the weight; at even steps all would get the same class
            steps = (self.rng.random(self.most) + np.arange(self.most)) / self.most
            kept = np.searchsorted(np.cumsum(weight), steps * weight.sum()).clip(0, len(weight) - 1)
            self.weight = np.full(self.most, 1 / self.most)
        else:
            self.weight = weight[kept] / weight.sum()
        rows, classes = np.divmod(kept, probs_SC.shape[1])
        self.posterior = self.posterior[rows] * probs_SC.T[classes]
        self.posterior /= self.posterior.sum(axis=1, keepdims=True)


def _known(probs_MSC: FloatArray) -> FloatArray:
    """Mean over the passes of the entropy of a candidate's label (M,) in nats: what no model could say."""
    known, size = np.empty(len(probs_MSC)), max(CELLS // probs_MSC[0].size, 1)
    for start in range(0, len(known), size):
        part = probs_MSC[start : start + size].astype(np.float64)
        known[start : start + size] = -_xlogx(part).sum(axis=2).mean(axis=1)
    return known


def _xlogx(values: FloatArray) -> FloatArray:
    """In place; 0 log 0 = 0."""
    values *= np.log(np.maximum(values, 1e-300))
    return values
