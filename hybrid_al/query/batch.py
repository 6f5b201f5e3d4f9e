"""Batch makers: how the scores of all candidates become one query that does not ask the same thing twice."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, get_args

import numpy as np

from ..embeddings import Metric
from ..errors import InputError, UnknownName
from ..kernels import k_center, k_means
from ..types import FloatArray, IntArray, Need
from .base import QueryState


@dataclass(frozen=True)
class Batch:
    """Places of the picks among the candidates (b,), in order of preference, and what to say of all of them."""

    picks: IntArray
    note: str = ""


class BatchMaker(Protocol):
    """A frozen dataclass of hyper-parameters."""

    @property
    def needs(self) -> frozenset[Need]:
        """What of the state `make` reads."""
        ...

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """`budget` of the M candidates, given a score for each, larger = ask first."""
        ...


@dataclass(frozen=True)
class TopK:
    """The best-scored candidates, redundant or not."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Largest score first, ties in random order."""
        return Batch(best_first(values_M, rng)[:budget])


@dataclass(frozen=True)
class KMeansBatch:
    """Cluster the shortlist (the best shortlist * budget candidates) into `budget` clusters; the best of each."""

    shortlist: int = 5
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})

    def __post_init__(self) -> None:
        """Refuse values that no shortlist can have."""
        _check(self.shortlist, self.metric)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """Best-scored first; where rows repeat and clusters are too few, the best of the rest fill up."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        _, cluster = k_means(state.vectors(state.candidates[shortlist], self.metric), budget, rng)
        found, leaders = np.unique(cluster, return_index=True)  # the first of a cluster is its best-scored
        rest = np.setdiff1d(np.arange(len(shortlist)), leaders)[: budget - len(leaders)]
        return Batch(shortlist[np.sort(np.concatenate([leaders, rest]))], f"one of {len(found)} clusters")


@dataclass(frozen=True)
class KCenterBatch:
    """From the shortlist (the best shortlist * budget candidates) always the one farthest from all labeled and picked.

    The first pick is the best-scored.
    """

    shortlist: int = 5
    metric: Metric = "cosine"

    needs: ClassVar[frozenset[Need]] = frozenset({"embeddings"})

    def __post_init__(self) -> None:
        """Refuse values that no shortlist can have."""
        _check(self.shortlist, self.metric)

    def make(self, state: QueryState, values_M: FloatArray, budget: int, rng: np.random.Generator) -> Batch:
        """In the order in which they were found."""
        shortlist = best_first(values_M, rng)[: self.shortlist * budget]
        samples = np.concatenate([state.candidates[shortlist], state.labels.labeled])
        covered = np.arange(len(shortlist), len(samples))
        picks, _ = k_center(state.vectors(samples, self.metric), covered, budget, first=0)
        return Batch(shortlist[picks], "far from all labeled and picked")


BATCHES: dict[str, type[BatchMaker]] = {"topk": TopK, "kmeans": KMeansBatch, "kcenter": KCenterBatch}


def build_batch(params: Mapping[str, str | int]) -> BatchMaker:
    """The batch maker of a recipe: `{name: kmeans, shortlist: 5}`; an unknown name or parameter is an error."""
    name = str(params.get("name", ""))
    if name not in BATCHES:
        raise UnknownName("batch.name", name, BATCHES)
    settings = {key: value for key, value in params.items() if key != "name"}
    known = inspect.signature(BATCHES[name]).parameters
    for key in settings.keys() - known:
        raise UnknownName(f"batch {name}", key, known)
    return BATCHES[name](**settings)


def best_first(values_M: FloatArray, rng: np.random.Generator) -> IntArray:
    """Places of the values (M,), largest first, ties in random order."""
    return np.lexsort((rng.random(len(values_M)), -values_M))


def _check(shortlist: int, metric: str) -> None:
    if not isinstance(shortlist, int) or shortlist < 1:
        raise InputError("batch.shortlist", "a whole number of 1 or more", repr(shortlist))
    if metric not in get_args(Metric):
        raise UnknownName("batch.metric", str(metric), get_args(Metric))
