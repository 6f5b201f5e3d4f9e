"""Joint mutual information of a batch's labels and the model, by enumeration and by draws."""

from __future__ import annotations

from copy import copy

import numpy as np
import scipy.sparse

from ..core.types import FloatArray, IntArray
from ..errors import InputError
from ..scores.samples import ROUNDING
from .greedy import lazy_greedy
from .threads import alone

CELLS = 2**18  # numbers in a block, which fit in a cache
ROUGH = 256  # groups of configurations: 64 leave twice as many gains to compute, 512 cost more than they save
FIRST = 16  # gains that are renewed before the groups give bounds


@alone()
def batch_bald(
    probs_MSC: FloatArray, budget: int, rng: np.random.Generator, *, configurations: int = 10_000
) -> tuple[IntArray, FloatArray]:
    """Greedy largest mutual information of a batch's labels and the model: picks (budget,) and their gains in nats.

    Given the pass s (a sample of the model), labels are independent: P(y1, ..., yn) is the mean over s of the product
    of p_s(yi). So a batch is the list of its K joint configurations, with the weight of each and its posterior over
    the S passes. The gain of a candidate is its entropy given the configurations, less the mean of its entropies in
    the passes. It is exact while K = C^picks is at most `configurations`; beyond, that many are drawn by their weight.
    The first gains are BALD. Gains below `ROUNDING` are 0; ties go to the first.

    Entropy is concave, so a candidate's entropy given a group of configurations is at least its mean over them.
    `ROUGH` groups therefore bound all gains at little cost, and `lazy_greedy` computes the few that can win. Time is
    O(budget K S M C) at most, memory O(K S) beside the probabilities.
    Kirsch, van Amersfoort and Gal, BatchBALD (NeurIPS 2019), sections 3.1 and 4.
    """
    if probs_MSC.ndim != 3 or probs_MSC.shape[2] < 2 or configurations < 1:
        raise InputError("batch_bald", "probabilities (M, S, C) of 2 classes, 1 configuration", str(probs_MSC.shape))
    batch = _Batch(probs_MSC.shape[1], configurations, rng)
    mean_entropies = _mean_entropies(probs_MSC)

    def gains(places: IntArray) -> FloatArray:
        values = batch.entropies(probs_MSC, places) - mean_entropies[places]
        return np.where(values < ROUNDING, 0, values)

    def at_most(places: IntArray) -> FloatArray:
        bounds: FloatArray = batch.in_groups().entropies(probs_MSC, places) - mean_entropies[places] + ROUNDING
        return bounds

    def take(place: int) -> None:
        batch.add(probs_MSC[place].astype(np.float64))

    return lazy_greedy(gains, take, len(probs_MSC), budget, chunk=FIRST, at_most=at_most)


class _Batch:
    """The joint configurations of the picks' labels: weight (K,) of each, and posterior (K, S) over passes."""

    def __init__(self, passes: int, limit: int, rng: np.random.Generator) -> None:
        self.limit, self.rng = limit, rng
        self.weight, self.posterior = np.ones(1), np.full((1, passes), 1 / passes)

    def entropies(self, probs_MSC: FloatArray, places: IntArray) -> FloatArray:
        """Entropy of each candidate's label given those of the batch (K,) in nats: the mean over configurations."""
        passes, classes = probs_MSC.shape[1:]
        size = max(CELLS // (classes * len(self.weight)), 1)
        entropies = np.empty(len(places))
        for start in range(0, len(places), size):
            part = probs_MSC[places[start : start + size]].astype(np.float64)
            spread = self.posterior @ part.transpose(1, 0, 2).reshape(passes, -1)  # (K, part * C)
            entropies[start : start + size] = -(self.weight @ _xlogx(spread)).reshape(-1, classes).sum(axis=1)
        return entropies

    def in_groups(self) -> _Batch:
        """The batch with at most `ROUGH` groups of similar configurations: weights added, posteriors averaged.

        Groups come from two turns of k-means on the square roots of the posteriors, which have length 1. With any
        groups a candidate's entropy is, but for rounding, no less than in the batch itself.
        """
        if len(self.weight) <= 2 * ROUGH:
            return self
        rows, centres = np.sqrt(self.posterior, dtype=np.float32), self.posterior[:: -(-len(self.weight) // ROUGH)]
        for _ in range(2):
            group = (rows @ np.sqrt(centres, dtype=np.float32).T).argmax(axis=1)
            membership = scipy.sparse.csr_array((self.weight, (group, np.arange(len(rows)))))
            weight = membership @ np.ones(len(rows))
            occupied = weight > 0
            centres, weight = (membership @ self.posterior)[occupied] / weight[occupied, None], weight[occupied]
        groups = copy(self)
        groups.weight, groups.posterior = weight, centres
        return groups

    def add(self, probs_SC: FloatArray) -> None:
        """Combine every configuration with every class of a further candidate; beyond the limit they are drawn."""
        weight = (self.weight[:, None] * (self.posterior @ probs_SC)).ravel()
        indices = np.flatnonzero(weight)
        if len(indices) > self.limit:  # one of each share of the weight; at even steps all would get the same class
            steps = (self.rng.random(self.limit) + np.arange(self.limit)) / self.limit
            indices = np.searchsorted(np.cumsum(weight), steps * weight.sum()).clip(0, len(weight) - 1)
            self.weight = np.full(self.limit, 1 / self.limit)
        else:
            self.weight = weight[indices] / weight.sum()
        rows, classes = np.divmod(indices, probs_SC.shape[1])
        self.posterior = self.posterior[rows] * probs_SC.T[classes]
        self.posterior /= self.posterior.sum(axis=1, keepdims=True)


def _mean_entropies(probs_MSC: FloatArray) -> FloatArray:
    """Mean over the passes of the entropy of each candidate's label (M,) in nats: the noise of the label itself."""
    entropies, size = np.empty(len(probs_MSC)), max(CELLS // probs_MSC[0].size, 1)
    for start in range(0, len(entropies), size):
        part = probs_MSC[start : start + size].astype(np.float64)
        entropies[start : start + size] = -_xlogx(part).sum(axis=2).mean(axis=1)
    return entropies


def _xlogx(values: FloatArray) -> FloatArray:
    """x log x, in place; 0 log 0 = 0."""
    values *= np.log(np.maximum(values, 1e-300))
    return values
