"""Named score terms: what a fused score or an uncertainty strategy may be made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from .. import scores
from ..consistency import ALL_PARTS, PARTS
from ..errors import InputError
from ..kernels import typicality
from ..types import FloatArray, IntArray, Need, PredictionBatch
from .base import QueryState


@dataclass(frozen=True)
class Term:
    """What a term reads of the state, and its value for each candidate (M,), larger = ask first."""

    needs: frozenset[Need]
    score: Callable[[QueryState], FloatArray]


def _entropy(state: QueryState) -> FloatArray:
    return scores.entropy(state.probs())


def _margin(state: QueryState) -> FloatArray:
    return scores.margin(state.probs())


def _least_confidence(state: QueryState) -> FloatArray:
    return scores.least_confidence(state.probs())


def _consistency(state: QueryState, parts: tuple[str, ...] = PARTS) -> FloatArray:
    """The hybrid link: how unsteady the last training found the pseudo-labels; no pass over the pool."""
    if state.consistency is None:
        raise InputError(f"round {state.round}", "the consistency record of the last training", "none")
    return state.consistency.uncertainty(parts)[state.candidates]


def _density(state: QueryState) -> FloatArray:
    """Typicality in the whole pool: inverse mean distance to the 20 nearest samples (cosine); exact, O(P^2)."""
    pool = np.union1d(state.candidates, state.labels.labeled)
    density = typicality(state.vectors(pool, "cosine"), 20)
    return density[np.searchsorted(pool, state.candidates)]


TERMS: dict[str, Term] = {
    "entropy": Term(frozenset({"predictions"}), _entropy),
    "margin": Term(frozenset({"predictions"}), _margin),
    "least_confidence": Term(frozenset({"predictions"}), _least_confidence),
    "consistency": Term(frozenset({"consistency"}), _consistency),
    **{part: Term(frozenset({"consistency"}), partial(_consistency, parts=(part,))) for part in ALL_PARTS},
    "density": Term(frozenset({"embeddings"}), _density),
}


def predicted_once(state: QueryState) -> QueryState:
    """The same state with each kind of prediction computed at most once, for scores of several terms."""
    if state.predictor is None:
        return state

    @cache
    def batches(samples: int, views: int) -> tuple[PredictionBatch, ...]:
        return tuple(state.predictions(samples, views))

    def predictor(_: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        return iter(batches(samples, views))

    return replace(state, predictor=predictor)


def standing(ranks: Mapping[str, FloatArray], position: int) -> str:
    """In words, how high a candidate stands in each term: "entropy in the top 3 %"."""
    shares = {name: max(math.ceil(100 * (1 - rank[position])), 1) for name, rank in ranks.items()}
    return ", ".join(f"{name.replace('_', ' ')} in the top {share} %" for name, share in shares.items())
