"""SANGAL: from the labeled samples along the gradient of their loss, and to the real candidates nearest to the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import scipy.special

from ...core.embeddings import unit_rows
from ...core.registry import Positive, hyperparameters
from ...core.types import Need, Query
from ...kernels.distances import squared_to
from ..base import About, QueryState, check_budget
from ..last_layer import features_and_head


@dataclass(frozen=True)
@hyperparameters
class GradientWalk:
    """Dai et al., Suggestive Annotation of Brain Tumour Images with Gradient-Guided Sampling (MICCAI 2020), section 2.

    In the features of the last layer. Each labeled sample, the one of the largest loss first, goes a step in the
    direction in which its loss grows fastest, and the candidate nearest to where it comes is asked; then all go a
    further step, until the budget is met. Random without labels.

    step  length of a step, relative to the mean length of the labeled features; ours
    """

    step: Positive = 0.1

    needs: ClassVar[frozenset[Need]] = frozenset({"features"})
    about: ClassVar[About] = About(
        paper="Dai et al.: *Suggestive Annotation of Brain Tumour Images with Gradient-Guided Sampling*, MICCAI 2020, "
        "section 2; Medical Image Analysis 2022",
        passes="1, of the labeled too",
        time="b M D + b D C",
        memory="M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """`budget` candidates, walk by walk, ties in random order."""
        check_budget(state, budget)
        order, known = rng.permutation(len(state.candidates)), len(state.labels.labeled)
        samples = np.concatenate([state.labels.labeled, state.candidates[order]])
        features, weight, bias = features_and_head(replace(state, candidates=samples))
        if not known:
            return Query(samples[:budget], reasons=("a random one: nothing is labeled yet",) * budget)
        places, rows, classes = features[:known], features[known:], state.labels.class_targets()
        length = self.step * float(np.linalg.norm(places, axis=1).mean())
        picks, reasons, free = list[int](), list[str](), np.ones(len(rows), dtype=bool)
        while len(picks) < budget:
            logits = places @ weight.T + bias
            losses = -scipy.special.log_softmax(logits, axis=1)[np.arange(known), classes]
            errors = scipy.special.softmax(logits, axis=1)
            errors[np.arange(known), classes] -= 1
            places = places + length * unit_rows(errors @ weight)
            for i in np.argsort(-losses, kind="stable")[: budget - len(picks)]:
                squared = np.where(free, squared_to(rows, places[i]), np.inf)
                picks.append(int(squared.argmin()))
                free[picks[-1]] = False
                reasons.append(f"nearest to where the loss of a labeled sample grows, {losses[i]:.3g} before")
        return Query(state.candidates[order[picks]], reasons=tuple(reasons))
