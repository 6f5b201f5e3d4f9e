"""The arrays that a caller hands to `pick`, checked against one another, as the state that strategies read."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from ..core.consistency import Consistency
from ..core.embeddings import Embeddings
from ..core.labels import LabelStore
from ..core.types import Annotation, FloatArray, IntArray, Need, PredictionBatch
from ..errors import InputError, UnknownName
from ..query.base import EXTRAS, QueryState

NAMES = tuple(name for names in EXTRAS.values() for name in names)


@dataclass(frozen=True)
class Inputs:
    """Arrays of n rows; see `pick` for each. has_classes: whether labeled rows have their classes."""

    n: int
    embeddings: FloatArray | None
    labels: LabelStore
    has_classes: bool
    probs: FloatArray | None
    features: FloatArray | None
    head: tuple[FloatArray, FloatArray] | None
    groups: IntArray
    consistency: Consistency | None
    extras: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        embeddings: npt.ArrayLike | None,
        labeled: npt.ArrayLike | Mapping[int, int] | None,
        labels: npt.ArrayLike | None,
        *,
        probs: npt.ArrayLike | None,
        features: npt.ArrayLike | None,
        head: tuple[npt.ArrayLike, npt.ArrayLike] | None,
        groups: Sequence[Hashable] | None,
        consistency: Consistency | None,
        extras: Mapping[str, npt.ArrayLike],
    ) -> Inputs:
        """Check all of them; errors name the argument."""
        if not isinstance(extras, Mapping):
            raise InputError("extras", f"a mapping of names ({', '.join(NAMES)}) to arrays", type(extras).__name__)
        if consistency is not None and not isinstance(consistency, Consistency):
            expected = "a hybrid_al.core.consistency.Consistency, the record of a training"
            raise InputError("consistency", expected, type(consistency).__name__)
        for name in extras:
            if name not in NAMES:
                raise UnknownName("extras", name, NAMES)
        vectors = None if embeddings is None else numbers("embeddings", embeddings, (2,), "(N, D)")
        class_probs = None if probs is None else numbers("probs", probs, (2, 3), "(N, C) or (N, S, C)")
        last_layer = None if features is None else numbers("features", features, (2,), "(N, D)")
        more_arrays = {
            name: numbers(f"extras: {name}", values, (1, 2, 3), "(N,), (N, K) or (N, K, D)")
            for name, values in extras.items()
        }
        lengths = {
            name: len(values)
            for name, values in (
                ("embeddings", vectors),
                ("probs", class_probs),
                ("features", last_layer),
                ("groups", groups),
            )
            if values is not None
        }
        lengths |= {f"extras: {name}": len(values) for name, values in more_arrays.items()}
        if consistency is not None:
            lengths["consistency"] = len(consistency.seen)
        n = _rows(lengths)
        count = None if class_probs is None else class_probs.shape[-1]
        store, has_classes = _labels(n, labeled, labels, count)
        if class_probs is not None and class_probs.ndim == 2:
            class_probs = class_probs[:, None, :]
        layer = None if head is None else (numbers("head", head[0], (2,), "(C, D)"), numbers("head", head[1], (1,), ""))
        return cls(
            n, vectors, store, has_classes, class_probs, last_layer, layer, _codes(n, groups), consistency, more_arrays
        )

    @property
    def needs(self) -> frozenset[Need]:
        """The needs that these arrays meet."""
        needs: set[Need] = {need for need, names in EXTRAS.items() if any(name in self.extras for name in names)}
        if self.embeddings is not None:
            needs.add("embeddings")
        if self.consistency is not None:
            needs.add("consistency")
        if self.probs is not None:
            needs.add("predictions")
            if self.probs.shape[1] > 1:
                needs |= {"samples", "views"}
            if self.features is not None:
                needs.add("features")
        return frozenset(needs)

    def state(self) -> QueryState:
        """What a strategy looks at: round 0 without labels, round 1 with some."""
        candidates = np.setdiff1d(np.arange(self.n, dtype=np.int64), self.labels.labeled)
        return QueryState(
            round=int(len(self.labels.labeled) > 0),
            labels=self.labels,
            candidates=candidates,
            groups=self.groups,
            classes=None if self.probs is None else self.probs.shape[-1],
            embeddings=None if self.embeddings is None else Embeddings(self.embeddings, "given", "given"),
            predictor=None if self.probs is None else self._predict,
            consistency=self.consistency,
            extras=self.extras,
        )

    def _predict(self, indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        assert self.probs is not None
        features = None if self.features is None else self.features[indices]
        yield PredictionBatch(indices, self.probs[indices], features, self.head)


def numbers(name: str, values: npt.ArrayLike, ndims: tuple[int, ...], shape: str) -> FloatArray:
    """An array of numbers with so many axes; an InputError names the argument."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(name, f"an array {shape}", "rows of unlike lengths") from None
    if array.dtype.kind not in "fiub" or array.ndim not in ndims:
        raise InputError(name, f"an array {shape} of numbers", f"{array.dtype} {array.shape}")
    if 0 in array.shape[1:]:
        raise InputError(name, f"an array {shape} with at least one column", str(array.shape))
    return cast(FloatArray, array)


def _rows(lengths: Mapping[str, int]) -> int:
    """The number of rows, the same in all arrays."""
    if not lengths:
        raise InputError("embeddings", "an array (N, D), or probs or groups of N rows", "none of them")
    first, n = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != n:
            raise InputError(name, f"{n} rows, as {first} has", str(length))
    if n == 0:
        raise InputError(first, "at least one row", "none")
    return n


def _labels(
    n: int, labeled: npt.ArrayLike | Mapping[int, int] | None, labels: npt.ArrayLike | None, count: int | None
) -> tuple[LabelStore, bool]:
    """The labeled rows as a store, and whether it has their classes, of which there are `count` where that is known."""
    if isinstance(labeled, Mapping):
        if labels is not None:
            raise InputError("labels", "nothing beside a mapping of labeled, which has the classes", "some")
        positions, labels = whole_numbers("labeled", list(labeled), n), list(labeled.values())
    else:
        positions = whole_numbers("labeled", [] if labeled is None else labeled, n)
    unique, counts = np.unique(positions, return_counts=True)
    if len(unique) < len(positions):
        again = f"position {unique[counts.argmax()]} {counts.max()} times"
        raise InputError("labeled", "each position once, or a mask (N,) of bool", again)
    classes: list[int] | list[None] = [None] * len(positions)
    if labels is not None:
        class_numbers = whole_numbers("labels", labels, None)
        if len(class_numbers) != len(positions):
            raise InputError("labels", f"{len(positions)} classes, one for each labeled row", str(len(class_numbers)))
        classes = class_numbers.tolist()
        if count is not None and len(class_numbers) and class_numbers.max() >= count:
            raise InputError("labels", f"classes 0 to {count - 1}, as probs has them", str(class_numbers.max()))
    rows = zip(positions.tolist(), classes, strict=True)
    return LabelStore(n, tuple(Annotation(i, "class", c, "given", 0) for i, c in rows)), labels is not None


def whole_numbers(name: str, values: npt.ArrayLike, below: int | None) -> IntArray:
    """Whole numbers (K,) from 0, or a mask (`below`,) as positions; an InputError names the argument."""
    array = np.asarray(values)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.dtype == np.bool_ and below is not None:
        if array.shape != (below,):
            raise InputError(name, f"a mask of {below} rows", str(array.shape))
        return np.flatnonzero(array).astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise InputError(name, "whole numbers (K,)", f"{array.dtype} {array.shape}")
    outside = array[(array < 0) | (array >= below)] if below is not None else array[array < 0]
    if outside.size:
        expected = "0 or above" if below is None else f"positions from 0 to {below - 1}"
        raise InputError(name, expected, str(outside[0]))
    return array.astype(np.int64)


def _codes(n: int, groups: Sequence[Hashable] | None) -> IntArray:
    """Groups as numbers in order of first appearance (N,); without groups each row is one."""
    codes: dict[Hashable, int] = {}
    names = range(n) if groups is None else groups
    return np.asarray([codes.setdefault(g, len(codes)) for g in names], dtype=np.int64)
