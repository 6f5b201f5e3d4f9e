"""Fisher information: draws from the distribution over candidates that tells most about the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Count, Positive, hyperparameters
from ...core.types import FloatArray, Need, Query
from ...scores.samples import entropy
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..fisher import SIZE, information, labeled_and_candidates, roots


@dataclass(frozen=True)
@hyperparameters
class FisherInformation:
    """Sourati et al., Active Deep Learning with Fisher Information for Patch-Wise Semantic Segmentation (2018).

    Of the shortlist * budget most uncertain candidates, the distribution q of least tr((ridge I + I_q)^-1 I_pool), with
    the Fisher information of the last layer; then draws by q without replacement.

    iterations  of the multiplicative rule, q_i times the root of the i-th derivative
    size        classes x dimensions of the features at most, projected on their principal directions
    """

    shortlist: Count = 10
    ridge: Positive = 1e-3
    iterations: Count = 50
    size: Count = SIZE

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Sourati, Gholipour, Dy, Kurugol, Warfield: *Active Deep Learning with Fisher Information for Patch-Wise "
        "Semantic Segmentation*, DLMIA 2018, section 2",
        passes="1, of the labeled too",
        time="M (D^2 + size^2) + iterations shortlist b C size^2",
        memory="M D + shortlist b C size",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates in the order of the draws."""
        check_budget(state, budget)
        known = len(state.labels.labeled)
        probs, features = labeled_and_candidates(state, self.size)
        total = information(probs, features) / len(probs)
        shortlist = best_first(entropy(probs[known:, None]), rng)[: self.shortlist * budget]
        rows = known + shortlist
        q = optimal_design(probs[rows], features[rows], total, self.ridge, self.iterations)
        logs = np.log(np.maximum(q, np.finfo(np.float64).tiny))
        drawn = best_first(logs + rng.gumbel(size=len(q)), rng)[:budget]
        reasons = tuple(f"drawn with weight {q[i] * len(q):.3g} among {len(q)} uncertain ones" for i in drawn)
        return Query(state.candidates[shortlist[drawn]], reasons=reasons)


def optimal_design(
    probs_KC: FloatArray, features_KF: FloatArray, total: FloatArray, ridge: float, iterations: int
) -> FloatArray:
    """The distribution (K,) over samples of about the least tr((ridge I + sum q_i I_i)^-1 total).

    The negative derivative in q_i is tr(V_i' M^-1 total M^-1 V_i), I_i = V_i V_i'. q times its root, divided by the
    sum, never raises the trace where the ridge is 0 (Silvey, Titterington, Torsney, 1978).
    """
    classes = probs_KC.shape[1]
    columns = np.einsum("mcd,mk->mdck", roots(probs_KC), features_KF).reshape(len(probs_KC) * classes, -1)
    q = np.full(len(probs_KC), 1 / len(probs_KC))
    for _ in range(iterations):
        matrix = ridge * np.eye(len(total)) + columns.T @ (np.repeat(q, classes)[:, None] * columns)
        half = np.linalg.solve(matrix, columns.T)
        slope = (half * (total @ half)).sum(axis=0).reshape(-1, classes).sum(axis=1).clip(0)
        weight = q * np.sqrt(slope)
        if not weight.any():
            break
        q = weight / weight.sum()
    return q
