"""D2ADA: candidates of each predicted class that are dense in the target and rare in the source."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import scipy.linalg
import scipy.special

from ...core.registry import Amount, Count, hyperparameters
from ...core.types import FEATURES, FloatArray, IntArray, Need, Query
from ...errors import InputError
from ...scores.samples import entropy
from ..base import About, QueryState, Scorer, check_budget
from ..batches.base import best_first, fill_by_score
from ..domains import of_source
from ..last_layer import probs_and_features
from ..linear_head import scaled_embeddings


@dataclass(frozen=True)
@hyperparameters
class D2ADA:
    """Wu et al., D2ADA: Dynamic Density-Aware Active Domain Adaptation for Semantic Segmentation (ECCV 2022), 3.2-3.4.

    By Gaussian mixtures of each predicted class: the largest log density of the target - that of the source. Classes
    take turns, those of the larger divergence more often. In later rounds a growing part of the budget goes to the
    largest entropy: the density's is 2^(-decay (round - 1)). With masks, samples are images or, as in the paper,
    regions of them; the class of one is that of most of its pixels, by the prediction.

    components   of a mixture at most, one for 100 candidates
    dimensions   principal components of the vectors that the mixtures see
    decay        see above
    by           those vectors: "embeddings" of stage 0, or the "features" of the model, which masks ask for
    """

    components: Count = 10
    dimensions: Count = 16
    decay: Amount = 1.0
    by: Literal["embeddings", "features"] = "embeddings"

    about: ClassVar[About] = About(
        paper="Wu et al.: *D2ADA: Dynamic Density-Aware Active Domain Adaptation for Semantic Segmentation*, ECCV "
        "2022, sections 3.2 to 3.4",
        passes="1; features 1 over the source too; masks 3, and 2 over the source",
        time="(L + M) (D^2 + 200 components dimensions)",
        memory="(L + M) D",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """Predictions, the domains, and what the mixtures see."""
        vectors: frozenset[Need] = frozenset({"features"} if self.by == "features" else {"embeddings", "predictions"})
        return vectors | {"domains"}

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        """The turns of the density first, the most uncertain behind them."""
        check_budget(state, budget)
        labeled = state.labels.labeled
        source = labeled[of_source(state)] if len(labeled) else labeled
        if state.scorer is not None:
            sides = self._of_masks(state, state.scorer, source)
        elif self.by == "features":
            sides = _of_features(state, source)
        else:
            sides = _of_embeddings(state, source)
        share = 2.0 ** (-self.decay * max(state.round - 1, 0))
        turns = self._turns(sides, rng)[: int(np.ceil(share * budget))]
        picks = fill_by_score(sides.entropy, turns, budget, rng)
        reasons = ("dense in the target, rare in the source",) * len(turns) + ("uncertain",) * (budget - len(turns))
        return Query(state.candidates[picks], reasons=reasons)

    def _of_masks(self, state: QueryState, scorer: Scorer, source: IntArray) -> _Sides:
        if self.by == "embeddings":
            raise InputError("by", "features, where samples have masks", "embeddings")
        both = np.concatenate([source, state.candidates])
        predicted, rows = scorer("shares", both, 1, 1).argmax(axis=1), scorer(FEATURES, both, 1, 1)
        if not np.isfinite(rows).all():
            raise InputError(f"features of round {state.round}", "finite numbers", "others")
        return _Sides(_scaled(rows), predicted, state.score(entropy))

    def _turns(self, sides: _Sides, rng: np.random.Generator) -> IntArray:
        """Places of candidates, class after class by weighted turns; none where no class has two of each side."""
        count = len(sides.rows) - len(sides.entropy)
        if count < 2:
            return np.empty(0, dtype=np.int64)
        rows, (targets, predicted) = _principal(sides.rows, self.dimensions), np.split(sides.classes, [count])
        queues, weights = list[IntArray](), list[int]()
        for c in np.unique(predicted):
            own, of_target = rows[:count][targets == c], np.flatnonzero(predicted == c)
            if min(len(own), len(of_target)) < 2:
                continue
            target = rows[count:][of_target]
            ratio = self._log_density(target, target, rng) - self._log_density(own, target, rng)
            queues.append(of_target[best_first(ratio, rng)])
            weights.append(max(int(np.log10(max(abs(float(ratio.mean())), 1.0))), 1))
        return _weighted_turns(queues, weights)

    def _log_density(self, fitted: FloatArray, rows: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Log density (M,) of rows by a mixture of Gaussians, in nats."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        count = int(np.clip(len(fitted) // 100, 1, self.components))
        mixture = GaussianMixture(
            count, covariance_type="diag", reg_covar=1e-3, max_iter=200, random_state=int(rng.integers(2**31 - 1))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # rows that are alike make fewer clusters
            density: FloatArray = mixture.fit(fitted).score_samples(rows)
        return density


@dataclass(frozen=True)
class _Sides:
    """Rows (S + M, D) of the source and of the candidates, their classes (S + M,), entropies (M,) of candidates."""

    rows: FloatArray
    classes: IntArray
    entropy: FloatArray


def _of_embeddings(state: QueryState, source: IntArray) -> _Sides:
    probs = state.probs().mean(axis=1, dtype=np.float64)
    rows = scaled_embeddings(state, np.concatenate([source, state.candidates]))
    return _Sides(rows, _classes(state, source, probs), scipy.special.entr(probs).sum(axis=1))


def _of_features(state: QueryState, source: IntArray) -> _Sides:
    probs, others = probs_and_features(state)
    own = probs_and_features(replace(state, candidates=source))[1] if len(source) else others[:0]
    rows = _scaled(np.concatenate([own, others]))
    return _Sides(rows, _classes(state, source, probs), scipy.special.entr(probs).sum(axis=1))


def _classes(state: QueryState, source: IntArray, probs: FloatArray) -> IntArray:
    """The labels of the source (S,), and behind them the classes predicted of the candidates (M,)."""
    targets = state.labels.class_targets()[np.isin(state.labels.labeled, source)]
    return np.concatenate([targets, probs.argmax(axis=1)])


def _scaled(rows_ND: FloatArray) -> FloatArray:
    """Each column with mean 0 and variance 1; a constant one is 0."""
    rows = rows_ND.astype(np.float64)
    scaled: FloatArray = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-6)
    return scaled


def _principal(rows_ND: FloatArray, dimensions: int) -> FloatArray:
    """The first principal components of rows (N, d), of unit variance on the whole."""
    centred = rows_ND - rows_ND.mean(axis=0)
    side = centred.shape[1]
    largest = (max(side - dimensions, 0), side - 1)
    values, vectors = scipy.linalg.eigh(centred.T @ centred / len(centred), subset_by_index=largest)
    components: FloatArray = centred @ vectors
    return components / max(float(np.sqrt(values[-1].clip(0))), 1e-6)


def _weighted_turns(queues: list[IntArray], weights: list[int]) -> IntArray:
    """The heads of the queues in turns, of each as many as its weight at a time."""
    if not queues:
        return np.empty(0, dtype=np.int64)
    rank = np.concatenate([np.arange(len(q)) // w for q, w in zip(queues, weights, strict=True)])
    turn = np.concatenate([np.full(len(q), k) for k, q in enumerate(queues)])
    places: IntArray = np.concatenate(queues)[np.lexsort((turn, rank))]
    return places
