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
    """What a term reads of the state, and its value for each candidate (M,), larger = ask first."""

    needs: frozenset[Need]
    score: Callable[[QueryState], FloatArray]


def _entropy(state: QueryState) -> FloatArray:
    return state.scored(scores.entropy)


def _margin(state: QueryState) -> FloatArray:
    return state.scored(scores.margin)


def _least_confidence(state: QueryState) -> FloatArray:
    return state.scored(scores.least_confidence)


def _expected_dice(state: QueryState) -> FloatArray:
    return state.scored(scores.expected_dice)


def _ripu(state: QueryState) -> FloatArray:
    return state.scored(scores.ripu)


def _consistency(state: QueryState, parts: tuple[str, ...] = PARTS) -> FloatArray:
    """The hybrid link: how unsteady the last training found the pseudo-labels; no pass over the pool."""
    if state.consistency is None:
        raise InputError(f"round {state.round}", "the consistency record of the last training", "none")
    values = state.consistency.uncertainty(parts)
    return values[state.candidates] if state.recorded is None else state.recorded(values, state.candidates)


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
"""Weights of terms, by their names in `TERMS` or as `package.module:term`: a `Term` from outside."""


def term(name: str, where: str = "term") -> Term:
    """The term of a name, or a `Term` from outside: `package.module:term`."""
    found = member(TERMS, where, name)
    if not isinstance(found, Term):
        raise InputError(where, "a Term (needs and score)", f"{name}, {type(found).__name__}")
    return found


def check_terms(where: str, weights: Weights) -> None:
    """Refuse unknown terms, and weights that say nothing."""
    for name in weights:
        term(name, where)
    if not any(weights.values()):
        raise InputError(where, "one weight above 0 at least", str(dict(weights)))


def term_needs(weights: Weights) -> frozenset[Need]:
    """What the terms read that count; a weight of zero leaves its term out, and its cost."""
    return frozenset[Need]().union(*(term(name).needs for name, weight in weights.items() if weight > 0))


def fused_terms(
    state: QueryState, weights: Weights, fusion: scores.Fusion = "mean"
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """The fused score of the candidates (M,), and each counting term's mid-rank (M,)."""
    counting = {name: weight for name, weight in weights.items() if weight > 0}
    terms = {name: term(name).score(state) for name in counting}
    return scores.fuse(terms, counting, fusion), {name: scores.mid_ranks(values) for name, values in terms.items()}


def predicted_once(state: QueryState) -> QueryState:
    """The same state with each kind of prediction computed at most once, for scores of several terms.

    Parts of the candidates are answered from it too; other samples are asked of the model anew.
    """
    if state.predictor is None:
        return state
    ask, own = state.predictor, state.candidates

    @cache
    def batches(samples: int, views: int) -> tuple[PredictionBatch, ...]:
        return tuple(ask(own, samples, views))

    def predictor(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        if np.array_equal(indices, own):
            return iter(batches(samples, views))
        if np.isin(indices, own).all():
            return iter([_rows(batches(samples, views), indices)])
        return ask(indices, samples, views)

    return replace(state, predictor=predictor)


def _rows(batches: tuple[PredictionBatch, ...], indices: IntArray) -> PredictionBatch:
    """What the batches say of some of their samples."""
    known = np.concatenate([batch.indices for batch in batches])
    order = np.argsort(known)
    place = order[np.searchsorted(known, indices, sorter=order)]
    features = [batch.features for batch in batches if batch.features is not None]
    return PredictionBatch(
        indices,
        np.concatenate([batch.probs for batch in batches])[place],
        np.concatenate(features)[place] if len(features) == len(batches) else None,
        batches[0].head,
    )


def standing(ranks: Mapping[str, FloatArray], position: int) -> str:
    """In words, how high a candidate stands in each term: "entropy in the top 3 %"."""
    shares = {name: max(math.ceil(100 * (1 - rank[position])), 1) for name, rank in ranks.items()}
    return ", ".join(f"{name.replace('_', ' ')} in the top {share} %" for name, share in shares.items())
