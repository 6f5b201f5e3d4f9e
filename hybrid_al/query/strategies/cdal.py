"""CDAL: a core-set of images in which the model confuses classes in different ways."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core.types import FloatArray, IntArray, Need, Query
from ...scores.samples import contexts
from ..base import About, QueryState, check_budget

SMALLEST = 1e-12  # least probability in a logarithm


@dataclass(frozen=True)
class ContextualDiversity:
    """Each time the candidate farthest from all labels and picks, by how much the model's confusions differ in them.

    Agarwal et al., Contextual Diversity for Active Learning (ECCV 2020), section 3.1, and the core-set choice of its
    section 3.2 (CDAL-CS). The distance of two samples is a sum over the classes that are predicted somewhere in both:
    half the Kullback-Leibler divergence between their `scores.contexts`, in both directions. So it is 0 where they
    share no class. A sample without pixels has one context, its class probabilities, whatever the predicted class: by
    class, one labeled sample of each of two would be at distance 0 of every candidate. Without labels the first pick
    is random.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"predictions"})
    about: ClassVar[About] = About(
        paper="Agarwal et al.: *Contextual Diversity for Active Learning*, ECCV 2020, section 3, CDAL-CS",
        passes="1, of the labeled too",
        time="(L + b) M C^2",
        memory="(L + M) C^2",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order in which they were picked, ties in random order."""
        check_budget(state, budget)
        labeled = np.setdiff1d(state.labels.labeled, state.candidates)
        rows = _contexts(replace(state, candidates=np.concatenate([labeled, state.candidates])))
        labeled_rows, candidate_rows = rows[: len(labeled)], rows[len(labeled) :]
        order = rng.permutation(len(candidate_rows))
        picks, reach = _farthest(candidate_rows[order], labeled_rows, budget)
        reasons = [f"contexts {distance:.3g} from all labeled and picked" for distance in reach]
        if not len(labeled):
            reasons[0] = "a random start"
        return Query(state.candidates[order[picks]], reasons=tuple(reasons))


def _contexts(state: QueryState) -> FloatArray:
    """Contexts (M, R, C) of the candidates: R = C rows of the predicted classes of its pixels, or 1 of its own."""
    values: FloatArray
    if state.scorer is None:
        values = state.probs().mean(axis=1, keepdims=True, dtype=np.float64)
        return values
    values = state.score(contexts).astype(np.float64)
    return values.reshape(len(values), -1, round(values[0].size ** 0.5))


def _farthest(rows_MRC: FloatArray, labeled_LRC: FloatArray, budget: int) -> tuple[IntArray, FloatArray]:
    """Greedily the row farthest from labels and picks (budget,), and its distance; of equals the first."""
    reach = np.full(len(rows_MRC), np.inf)
    for row in labeled_LRC:
        reach = np.minimum(reach, context_distance(rows_MRC, row))
    picks, distance = np.empty(budget, dtype=np.int64), np.empty(budget)
    for i in range(budget):
        picks[i] = pick = int(reach.argmax())
        distance[i] = reach[pick]
        reach = np.minimum(reach, context_distance(rows_MRC, rows_MRC[pick]))
        reach[picks[: i + 1]] = -1  # below every distance
    return picks, distance


def context_distance(rows_MRC: FloatArray, row_RC: FloatArray) -> FloatArray:
    """Contextual diversity (M,), 0 or more, between samples and one other, by their contexts (R, C).

    Half of sum (p - q) (log p - log q) over the contexts that both have.
    """
    p, q = rows_MRC, row_RC
    divergences = (p - q) * (np.log(np.maximum(p, SMALLEST)) - np.log(np.maximum(q, SMALLEST)))
    shared = (p.sum(axis=2) > 0) & (q.sum(axis=1) > 0)
    distance: FloatArray = (divergences.sum(axis=2) * shared).sum(axis=1) / 2
    return distance
