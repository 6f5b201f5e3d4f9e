"""Named score terms: what a fused score or an uncertainty strategy may be made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from ..core.consistency import ALL_PARTS, PARTS
from ..core.registry import Amount, member
from ..core.types import FloatArray, IntArray, Need, PredictionBatch
from ..errors import InputError
from ..kernels.distances import typicality
from ..scores import samples as scores
from .base import QueryState


@dataclass(frozen=True)
class Term:
    """A score term: what it reads of the state, and its value for each candidate (M,), larger = ask first."""

    needs: frozenset[Need]
    score: Callable[[QueryState], FloatArray]


def _entropy(state: QueryState) -> FloatArray:
    return state.score(scores.entropy)


def _margin(state: QueryState) -> FloatArray:
    return state.score(scores.margin)


def _least_confidence(state: QueryState) -> FloatArray:
    return state.score(scores.least_confidence)


def _expected_dice(state: QueryState) -> FloatArray:
    return state.score(scores.expected_dice)


def _ripu(state: QueryState) -> FloatArray:
    return state.score(scores.ripu)


def _consistency(state: QueryState, parts: tuple[str, ...] = PARTS) -> FloatArray:
    """The hybrid link: how unsteady the pseudo-labels were in the last training; no pass over the pool."""
    if state.consistency is None:
        raise InputError(f"round {state.round}", "the consistency record of the last training", "none")
    values = state.consistency.uncertainty(parts)
    return values[state.candidates] if state.from_record is None else state.from_record(values, state.candidates)


def _density(state: QueryState) -> FloatArray:
    """Typicality in the whole pool: inverse mean distance to the 20 nearest samples (cosine); exact, O(P^2)."""
    pool = np.union1d(state.candidates, state.labels.labeled)
    density = typicality(state.vectors(pool, "cosine"), 20)
    return density[np.searchsorted(pool, state.candidates)]


TERMS: dict[str, Term] = {
    "entropy": Term(frozenset({"predictions"}), _entropy),
    "margin": Term(frozenset({"predictions"}), _margin),
    "least_confidence": Term(frozenset({"predictions"}), _least_confidence),
    "expected_dice": Term(frozenset({"predictions"}), _expected_dice),
    "ripu": Term(frozenset({"predictions"}), _ripu),
    "consistency": Term(frozenset({"consistency"}), _consistency),
    **{part: Term(frozenset({"consistency"}), partial(_consistency, parts=(part,))) for part in ALL_PARTS},
    "density": Term(frozenset({"embeddings"}), _density),
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
    state: QueryState, weights: Weights, fusion: scores.Fusion = "mean"
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """The fused score of the candidates (M,), and the mid-ranks (M,) of each term of a weight above 0."""
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    terms = {name: term(name).score(state) for name in positive}
    return scores.fuse(terms, positive, fusion), {name: scores.mid_ranks(values) for name, values in terms.items()}


def with_cache(state: QueryState) -> QueryState:
    """The same state, with each kind of prediction computed at most once, for scores of several terms.

    Some of the candidates are looked up too; predictions for other samples are computed each time.
    """
    if state.predictor is None:
        return state
    uncached, candidates = state.predictor, state.candidates

    @cache
    def batches(samples: int, views: int) -> tuple[PredictionBatch, ...]:
        return tuple(uncached(candidates, samples, views))

    def predictor(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        if np.array_equal(indices, candidates):
            return iter(batches(samples, views))
        if np.isin(indices, candidates).all():
            return iter([_select(batches(samples, views), indices)])
        return uncached(indices, samples, views)

    return replace(state, predictor=predictor)


def _select(batches: tuple[PredictionBatch, ...], indices: IntArray) -> PredictionBatch:
    """The predictions for some samples of the batches, as one batch."""
    candidates = np.concatenate([batch.indices for batch in batches])
    order = np.argsort(candidates)
    rows = order[np.searchsorted(candidates, indices, sorter=order)]
    features = [batch.features for batch in batches if batch.features is not None]
    return PredictionBatch(
        indices,
        np.concatenate([batch.probs for batch in batches])[rows],
        np.concatenate(features)[rows] if len(features) == len(batches) else None,
        batches[0].head,
    )


def standing(ranks: Mapping[str, FloatArray], position: int) -> str:
    """How high a candidate stands in each term, in words: "entropy in the top 3 %"."""
    shares = {name: max(math.ceil(100 * (1 - rank[position])), 1) for name, rank in ranks.items()}
    return ", ".join(f"{name.replace('_', ' ')} in the top {share} %" for name, share in shares.items())
