"""Named score terms: what a fused score is made of, and what strategies that take the best-scored score by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.special

from ..core.consistency import ALL_PARTS, PARTS
from ..core.registry import Amount, member
from ..core.types import FloatArray, Need
from ..errors import InputError
from ..kernels.distances import typicality
from ..scores import samples as scores
from ..scores import wholes
from ..scores.ranks import Fusion, fuse, mid_ranks
from .base import EXTRAS, QueryState
from .cover import PEAK_SHARE, density_and_distance, distance_to_labeled
from .last_layer import (
    boundary_closeness,
    evidence_score,
    features_and_head,
    features_and_share,
    gradient_length,
    perturbation_divergence,
)
from .linear_head import log_odds_of_pool
from .loss_head import LossHead

PASSES = 25  # with dropout: Gal et al. (ICML 2017), Kirsch et al. (NeurIPS 2019)
VIEWS = 8


@dataclass(frozen=True)
class Term:
    """A score term: what it reads of the state, and its value for each candidate (M,), larger = ask first.

    `score(state)` throws no dice that the state does not fix. A strategy may call it with settings of its own by name.
    """

    needs: frozenset[Need]
    score: Callable[..., FloatArray]


Score = Callable[[FloatArray], FloatArray]
"""A function of `scores.samples`: probabilities (M, S, C) -> (M,)."""


def _scored(state: QueryState, *, score: Score, samples: int = 1, views: int = 1) -> FloatArray:
    return state.score(score, samples, views)


def _once(score: Score) -> Term:
    """A score of one pass."""
    return Term(frozenset({"predictions"}), partial(_scored, score=score))


def _by_passes(score: Score) -> Term:
    """A score of passes with dropout, or of the members of a committee."""
    return Term(frozenset({"samples"}), partial(_scored, score=score, samples=PASSES))


def _by_views(score: Score) -> Term:
    """A score of passes over weak views."""
    return Term(frozenset({"views"}), partial(_scored, score=score, views=VIEWS))


def _by_evidence(score: Score) -> Term:
    """A score (M, C) -> (M,) of the Dirichlet distribution that the logits of one pass make."""
    return Term(frozenset({"features"}), partial(evidence_score, score=score))


def _consistency(state: QueryState, parts: tuple[str, ...] = PARTS) -> FloatArray:
    """The hybrid link: how unsteady the pseudo-labels were in the last training; no pass over the pool."""
    if state.consistency is None:
        raise InputError(f"round {state.round}", "the consistency record of the last training", "none")
    values = state.consistency.uncertainty(parts)
    return values[state.candidates] if state.from_record is None else state.from_record(values, state.candidates)


def _temporal(state: QueryState) -> FloatArray:
    """Half the squared distance to the probabilities of the model before; 0 where there is none before."""
    previous = state.extra("previous_probs", state.candidates)
    if previous.shape[1:] == (0,):
        return np.zeros(len(previous))
    probs = state.probs().mean(axis=1, dtype=np.float64)
    if previous.shape != probs.shape:
        raise InputError("previous_probs", f"shape {probs.shape}", str(previous.shape))
    values: FloatArray = np.square(probs - previous).sum(axis=1) / 2
    return values


def _predicted_loss(state: QueryState) -> FloatArray:
    """By a network whose seed is the round: the same state, the same values."""
    return LossHead().predict(state, np.random.default_rng(state.round))


def _pool_odds(state: QueryState) -> FloatArray:
    return log_odds_of_pool(state, np.random.default_rng(state.round))


def _density(state: QueryState) -> FloatArray:
    """Typicality in the whole pool: inverse mean distance to the 20 nearest samples (cosine); exact, O(P^2)."""
    pool = np.union1d(state.candidates, state.labels.labeled)
    density = typicality(state.vectors(pool, "cosine"), 20)
    return density[np.searchsorted(pool, state.candidates)]


def _novelty(state: QueryState) -> FloatArray:
    """Distance to the nearest labeled sample between unit vectors, in [0, 2]; 0 without labels."""
    vectors, labeled = state.vectors(state.candidates, "cosine"), state.labels.labeled
    if not len(labeled):
        return np.zeros(len(vectors))
    return distance_to_labeled(vectors, state.vectors(labeled, "cosine"))


def _mixing(state: QueryState) -> FloatArray:
    """1 / (1 + the share of a class anchor that changes the class), in [0, 1]; 0 where none does."""
    values: FloatArray = 1 / (1 + features_and_share(state)[1])
    return values


def _peaks(state: QueryState) -> FloatArray:
    density, distances = density_and_distance(state, PEAK_SHARE, "cosine", np.random.default_rng(state.round))
    return density * distances


def _free_energy(state: QueryState) -> FloatArray:
    """- log of the sum of exp(logits) (M,): what the model knows little of has much."""
    features, weight, bias = features_and_head(state)
    values: FloatArray = -scipy.special.logsumexp(features @ weight.T + bias, axis=1)
    return values


def _logit_margin(state: QueryState) -> FloatArray:
    """Second largest logit - largest (M,), 0 at most."""
    features, weight, bias = features_and_head(state)
    logits = np.sort(features @ weight.T + bias, axis=1)
    values: FloatArray = logits[:, -2] - logits[:, -1]
    return values


def _unlearned(state: QueryState) -> FloatArray:
    """Expected weight of the class (M,), 1 - the mean largest probability of the candidates of that prediction."""
    probs = state.probs().mean(axis=1, dtype=np.float64)
    predicted, classes = probs.argmax(axis=1), probs.shape[1]
    counts = np.bincount(predicted, minlength=classes)
    confidence = np.bincount(predicted, probs.max(axis=1), classes) / np.maximum(counts, 1)
    values: FloatArray = probs @ (1 - confidence)
    return values


def _minority(state: QueryState) -> FloatArray:
    """Expected weight of the class (M,), 1 / (labels of the class + 1), divided by the largest weight."""
    probs = state.probs().mean(axis=1, dtype=np.float64)
    targets = state.labels.class_targets()
    counts = np.bincount(targets, minlength=probs.shape[1])[: probs.shape[1]]
    values: FloatArray = probs @ ((counts.min() + 1) / (counts + 1))
    return values


def _cheapness(state: QueryState) -> FloatArray:
    values: FloatArray = -state.extra("cost", state.candidates)
    return values


def _pretext_loss(state: QueryState) -> FloatArray:
    return state.record("pretext_loss", state.candidates)


def _proxy(state: QueryState, name: str) -> FloatArray:
    """The mean over the image."""
    values: FloatArray = state.extra(name, state.candidates)[:, 0]
    return values


TERMS: dict[str, Term] = {
    "entropy": _once(scores.entropy),
    "margin": _once(scores.margin),
    "least_confidence": _once(scores.least_confidence),
    "ratio": _once(scores.ratio),
    "expected_dice": _once(scores.expected_dice),
    "ripu": _once(scores.ripu),
    "inconsistency": _once(wholes.inconsistency),
    "crf_entropy": _once(wholes.crf_entropy),
    "mc_dropout_entropy": _by_passes(scores.entropy),
    "bald": _by_passes(scores.bald),
    "variation_ratio": _by_passes(scores.variation_ratio),
    "vote_entropy": _by_passes(scores.vote_entropy),
    "mean_std": _by_passes(scores.mean_std),
    "variance": _by_passes(scores.summed_variance),
    "attention": _by_passes(scores.attention),
    "tta_entropy": _by_views(scores.entropy),
    "tta_variance": _by_views(scores.summed_variance),
    "tta_jsd": _by_views(scores.bald),
    "vat": Term(frozenset({"features"}), perturbation_divergence),
    "dfal": Term(frozenset({"features"}), boundary_closeness),
    "egl": Term(frozenset({"features"}), gradient_length),
    "vacuity": _by_evidence(scores.vacuity),
    "dissonance": _by_evidence(scores.dissonance),
    "dirichlet_information": _by_evidence(scores.dirichlet_information),
    "dirichlet_data": _by_evidence(scores.dirichlet_data),
    "alfamix": Term(frozenset({"features"}), _mixing),
    "tod": Term(frozenset({"predictions", "history"}), _temporal),
    "learning_loss": Term(frozenset({"embeddings"}), _predicted_loss),
    "discriminative": Term(frozenset({"embeddings"}), _pool_odds),
    "consistency": Term(frozenset({"consistency"}), _consistency),
    **{part: Term(frozenset({"consistency"}), partial(_consistency, parts=(part,))) for part in ALL_PARTS},
    "density": Term(frozenset({"embeddings"}), _density),
    "density_peaks": Term(frozenset({"embeddings"}), _peaks),
    "novelty": Term(frozenset({"embeddings"}), _novelty),
    **{name: Term(frozenset({"proxy"}), partial(_proxy, name=name)) for name in EXTRAS["proxy"][:3]},
    "pretext_loss": Term(frozenset({"stage0"}), _pretext_loss),
    "free_energy": Term(frozenset({"features"}), _free_energy),
    "logit_margin": Term(frozenset({"features"}), _logit_margin),
    "unlearned": Term(frozenset({"predictions"}), _unlearned),
    "minority": Term(frozenset({"predictions"}), _minority),
    "cheapness": Term(frozenset({"costs"}), _cheapness),
}


Weights = Mapping[str, Amount]
"""Weights of terms by name: one of `TERMS`, or `package.module:term` for a `Term` from outside."""


def term(name: str, where: str = "term") -> Term:
    """The term of this name, or a `Term` from outside: `package.module:term`."""
    value = member(TERMS, where, name)
    if not isinstance(value, Term):
        raise InputError(where, "a Term (needs and score)", f"{name}, {type(value).__name__}")
    return value


def check_terms(where: str, weights: Weights) -> None:
    """Refuse unknown terms, and weights that are all 0."""
    for name in weights:
        term(name, where)
    if not any(weights.values()):
        raise InputError(where, "one weight above 0 at least", str(dict(weights)))


def term_needs(weights: Weights) -> frozenset[Need]:
    """What the terms of a weight above 0 read; the others are never computed."""
    return frozenset[Need]().union(*(term(name).needs for name, weight in weights.items() if weight > 0))


def fused_terms(
    state: QueryState, weights: Weights, fusion: Fusion = "mean"
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """The fused score of the candidates (M,), and the mid-ranks (M,) of each term of a weight above 0."""
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    terms = {name: term(name).score(state) for name in positive}
    return fuse(terms, positive, fusion), {name: mid_ranks(values) for name, values in terms.items()}


def standing(ranks: Mapping[str, FloatArray], position: int) -> str:
    """How high a candidate stands in each term, in words: "entropy in the top 3 %"."""
    shares = {name: max(math.ceil(100 * (1 - rank[position])), 1) for name, rank in ranks.items()}
    return ", ".join(f"{name.replace('_', ' ')} in the top {share} %" for name, share in shares.items())
