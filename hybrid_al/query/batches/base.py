"""The protocol of batch makers, and what they share: the order of scores, and checks of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...core.types import FloatArray, IntArray, Need
from ...errors import InputError
from ..base import QueryState

BatchParams = Mapping[str, object]
"""A batch maker in a recipe: `{name: kmeans, shortlist: 5}`; one that wraps another has it as `batch`."""


@dataclass(frozen=True)
class Batch:
    """Places of the picks (b,) among the candidates, best first, and a note for the reason of each."""

    picks: IntArray
    note: str = ""


class BatchMaker(Protocol):
    """A frozen dataclass of hyper-parameters."""

    @property
    def needs(self) -> frozenset[Need]:
        """What `make` reads of the state."""
        ...

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """`budget` of the M candidates by their scores (M,), larger = ask first."""
        ...


def best_first(values_M: FloatArray, rng: np.random.Generator) -> IntArray:
    """Places of the values (M,), largest first, ties in random order."""
    return np.lexsort((rng.random(len(values_M)), -values_M))


def place_in_group(groups: IntArray) -> IntArray:
    """The place (b,) of each row within its group, in their order; the first is 0."""
    order = np.argsort(groups, kind="stable")
    place = np.empty(len(groups), dtype=np.int64)
    place[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    return place


def fill_by_score(values_M: FloatArray, picks: IntArray, budget: int, rng: np.random.Generator) -> IntArray:
    """The picks, followed by the best-scored of the others up to the budget."""
    others = best_first(values_M, rng)
    return np.concatenate([picks, others[~np.isin(others, picks)][: budget - len(picks)]]).astype(np.int64)


def weights_of(name: str, values_M: FloatArray) -> FloatArray:
    """The scores (M,) as weights, all 1 where all are 0; InputError where one is negative or not finite."""
    bad = np.flatnonzero(~(np.isfinite(values_M) & (values_M >= 0)))
    if bad.size:
        raise InputError(f"scores for batch {name}", "finite numbers of 0 or more", str(values_M[bad[0]]))
    weights: FloatArray = values_M.astype(np.float64) if values_M.any() else np.ones(len(values_M))
    return weights
