"""AIFT and ACFT: candidates of which the model is uncertain, and says unlike things on the views that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.registry import Amount, Count, Part, Several, hyperparameters
from ...core.types import FloatArray, Need, Query, Scores
from ...scores.ranks import mid_ranks
from ..base import About, QueryState, check_budget
from ..batches.base import best_first, fill_by_score
from ..terms import VIEWS, standing


@dataclass(frozen=True)
@hyperparameters
class AIFT:
    """Zhou et al., Fine-Tuning Convolutional Neural Networks for Biomedical Image Analysis (CVPR 2017), section 3.

    Of the `views` of a candidate the `share` most probable of the majority's class; the mean of their entropies plus
    the sum over their pairs of the symmetric divergence. `among` is that of ACFT (Zhou et al., Medical Image Analysis
    2021): draws from the among * budget best, by how much each is above the last of them.

    entropy, diversity  weights of the two
    """

    views: Several = VIEWS
    share: Part = 0.25
    entropy: Amount = 1.0
    diversity: Amount = 1.0
    among: Count = 1

    needs: ClassVar[frozenset[Need]] = frozenset({"views"})
    about: ClassVar[About] = About(
        paper="Zhou et al.: *Fine-Tuning Convolutional Neural Networks for Biomedical Image Analysis: Actively and "
        "Incrementally*, CVPR 2017, section 3; among: *Active, Continual Fine Tuning of Convolutional Neural Networks*"
        ", Medical Image Analysis 2021",
        passes="views",
        time="M share^2 views^2 C",
        memory="M views C",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, best-scored first, or in the order of the draws."""
        check_budget(state, budget)
        probs = state.probs(views=self.views)
        entropies, divergences = majority_views(probs, self.share)
        values = self.entropy * entropies + self.diversity * divergences
        picks = best_first(values, rng)[: self.among * budget]
        if self.among > 1:
            above = values[picks] - values[picks[-1]]
            with np.errstate(divide="ignore"):
                drawn = best_first(np.log(above) + rng.gumbel(size=len(picks)), rng)
            picks = fill_by_score(values, picks[drawn[:budget]], budget, rng)
        ranks = {"views of the majority": mid_ranks(values)}
        reasons = tuple(standing(ranks, p) for p in picks)
        return Query(state.candidates[picks], scores=Scores(state.candidates, values, ranks), reasons=reasons)


def majority_views(probs_MVC: FloatArray, share: float) -> tuple[FloatArray, FloatArray]:
    """Mean entropy in nats (M,), and sum over pairs of the symmetric divergence (M,), of the views of the majority.

    The majority's class is that of the largest mean probability, and its views the ceil(share V) that give it most.
    The divergence of two views is the sum over classes of (p - q) (log p - log q).
    """
    probs = np.maximum(probs_MVC.astype(np.float64), 1e-12)
    majority = probs.mean(axis=1).argmax(axis=1)
    by_view = np.take_along_axis(probs, majority[:, None, None], axis=2)[:, :, 0]
    best = np.argsort(-by_view, axis=1, kind="stable")[:, : int(np.ceil(share * probs.shape[1] - 1e-9))]
    p = np.take_along_axis(probs, best[:, :, None], axis=1)
    logs, count = np.log(p), p.shape[1]
    entropies: FloatArray = -(p * logs).sum(axis=2).mean(axis=1)
    # over all pairs k < l: count sum p_k log p_k - (sum p_k) (sum log p_l)
    divergences: FloatArray = (count * (p * logs).sum(axis=1) - p.sum(axis=1) * logs.sum(axis=1)).sum(axis=1).clip(0)
    return entropies, np.where(divergences < 1e-12, 0, divergences)
