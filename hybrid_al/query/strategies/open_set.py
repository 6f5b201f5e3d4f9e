"""LfOSA and OpenAL: queries in a pool of which many samples are of no class that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core.registry import Part, Positive, Whole, hyperparameters
from ...core.types import FloatArray, IntArray, Need, Query
from ...scores.samples import entropy
from ..base import About, QueryState, check_budget
from ..batches.base import best_first
from ..linear_head import fitted_head, scaled_embeddings
from ..ranking import best_by_value


@dataclass(frozen=True)
@hyperparameters
class LfOSA:
    """Ning et al., Active Learning for Open-Set Annotation (CVPR 2022), section 3: the candidates most surely wanted.

    A linear head on embeddings is the detector, of the classes seen and, where one has labels, of the unwanted as one
    class more. Of the candidates that it gives a wanted class, the largest logit is a mixture of two Gaussians; asked
    are those most probably of the upper one. Those given the unwanted class come last. Random without labels of two
    classes.

    unwanted     classes of the task that nobody wants labels of
    temperature  of the detector: its logits are divided by it (0.5 as published, where it is trained so)
    strength     inverse weight of the L2 penalty on the detector
    """

    unwanted: tuple[Whole, ...] = ()
    temperature: Positive = 0.5
    strength: Positive = 1.0

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})
    about: ClassVar[About] = About(
        paper="Ning, Zhao, Li, Huang: *Active Learning for Open-Set Annotation*, CVPR 2022, section 3",
        passes="0",
        time="L D C a step of a fit + M D C",
        memory="M (C + D)",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` candidates most surely of a wanted class, ties in random order."""
        check_budget(state, budget)
        targets = state.labels.class_targets()
        classes = np.where(np.isin(targets, self.unwanted), -1, targets)
        rows = scaled_embeddings(state, np.concatenate([state.labels.labeled, state.candidates]))
        values: FloatArray = np.zeros(len(state.candidates))
        if len(np.unique(classes)) > 1:
            known = len(classes)
            head = fitted_head(rows[:known], classes, C=self.strength, tol=1e-6, max_iter=15_000)
            logits = head.decision_function(rows[known:])
            if logits.ndim == 1:  # of two classes scikit-learn gives one
                logits = np.stack([-logits, logits], axis=1) / 2
            place = logits.argmax(axis=1)
            seed = int(rng.integers(2**31))
            values = upper_of_two(logits.max(axis=1) / self.temperature, place, seed)
            values[head.classes_[place] < 0] = -1
        return best_by_value("of a wanted class", values, state, budget, rng)


def upper_of_two(values_M: FloatArray, classes_M: IntArray, seed: int) -> FloatArray:
    """Probability (M,) that a value is of the upper of two Gaussians, which are fitted to the values of its class.

    1/2 in a class of which fewer than two values differ.
    """
    from sklearn.mixture import GaussianMixture

    upper = np.full(len(values_M), 0.5)
    for c in np.unique(classes_M):
        rows = np.flatnonzero(classes_M == c)
        if len(np.unique(values_M[rows])) > 1:
            column = values_M[rows, None]
            mixture = GaussianMixture(2, random_state=seed, reg_covar=1e-6, max_iter=50, tol=1e-2).fit(column)
            upper[rows] = mixture.predict_proba(column)[:, mixture.means_[:, 0].argmax()]
    return upper


@dataclass(frozen=True)
@hyperparameters
class OpenAL:
    """Qu et al., OpenAL (MICCAI 2023), section 2: uncertain candidates among those that are like the wanted classes.

    The Mahalanobis distance of an embedding to the nearest wanted class less that to the nearest unwanted one; of the
    `share` of the candidates where it is least (or as many as the budget), those of the largest entropy. Without labels
    by entropy alone.

    unwanted  classes of the task that nobody wants labels of
    ridge     added to the covariance within classes, which all share, of embeddings scaled to unit variance
    """

    unwanted: tuple[Whole, ...] = ()
    share: Part = 0.1
    ridge: Positive = 0.1

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings", "predictions"})
    about: ClassVar[About] = About(
        paper="Qu, Ma, Yang, Wang, Song: *OpenAL: An Efficient Deep Active Learning Framework for Open-Set Pathology "
        "Image Classification*, MICCAI 2023, section 2",
        passes="1",
        time="D^3 + M C D",
        memory="D^2 + M D",
    )

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The `budget` most uncertain of the candidates that are like the wanted classes, ties in random order."""
        check_budget(state, budget)
        values, known = entropy(state.probs()), len(state.labels.labeled)
        rows = scaled_embeddings(state, np.concatenate([state.labels.labeled, state.candidates]))
        gap = open_distance(rows[known:], rows[:known], state.labels.class_targets(), self.unwanted, self.ridge)
        keep = max(budget, round(self.share * len(values))) if known else len(values)
        subset = np.sort(best_first(-gap, rng)[:keep])
        inner = replace(state, candidates=state.candidates[subset])
        return best_by_value(f"entropy, of the {keep} most like what is wanted,", values[subset], inner, budget, rng)


def open_distance(
    rows_MD: FloatArray, labeled_LD: FloatArray, targets_L: IntArray, unwanted: tuple[int, ...], ridge: float
) -> FloatArray:
    """Distance to the nearest wanted class less that to the nearest unwanted one (M,); a side without labels is 0."""
    classes, place = np.unique(targets_L, return_inverse=True)
    if not len(classes):
        return np.zeros(len(rows_MD))
    means = np.stack([labeled_LD[place == k].mean(axis=0) for k in range(len(classes))])
    within = labeled_LD - means[place]
    root = np.linalg.cholesky(within.T @ within / len(within) + ridge * np.eye(within.shape[1]))
    white, centres = (np.linalg.solve(root, part.T).T for part in (rows_MD, means))
    distances = np.stack([np.linalg.norm(white - centre, axis=1) for centre in centres], axis=1)
    is_wanted, total = ~np.isin(classes, unwanted), np.zeros(len(rows_MD))
    for sign, side in ((1, is_wanted), (-1, ~is_wanted)):
        if side.any():
            total += sign * distances[:, side].min(axis=1)
    return total
