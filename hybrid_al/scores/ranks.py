"""Mid-ranks of scores, and their fusion into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from ..core.types import FloatArray
from ..errors import InputError, UnknownName

Fusion = Literal["mean", "product", "max"]


def mid_ranks(values: FloatArray) -> FloatArray:
    """Mid-rank of each value, ascending, in (0, 1): (average rank - 1/2) / N, (N,) -> (N,).

    Ties share their average rank, so a constant term is 0.5 everywhere and does not change a fusion.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise InputError("mid_ranks", "finite numbers", f"{values[bad[0]]} at {bad[0]}")
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = ((np.cumsum(ties) - ties / 2) / max(len(values), 1))[place]
    return ranks


def fuse(parts: Mapping[str, FloatArray], weights: Mapping[str, float], how: Fusion = "mean") -> FloatArray:
    """The mid-ranks of terms as one number, each (N,) -> (N,), in (0, 1), larger = ask first.

    mean     weighted arithmetic mean: a high term makes up for a low one
    product  weighted geometric mean: high only where all terms are high (as AADA and RIPU multiply)
    max      the largest of mid-rank x weight, weights divided by the largest: the union of the terms' best (BoostMIS)

    The terms may have any unit and range. `weights` has the same names as `parts` (see `check_weights`).
    """
    check_weights(weights)
    for name in set(parts) ^ set(weights):
        raise UnknownName("weights", name, set(parts) & set(weights))
    if how not in get_args(Fusion):
        raise UnknownName("fusion", str(how), get_args(Fusion))
    ranks = np.stack([mid_ranks(parts[name]) for name in weights])
    weight = np.asarray(list(weights.values()), dtype=np.float64)[:, None]
    if how == "max":
        largest: FloatArray = (ranks * weight / weight.max()).max(axis=0)
        return largest
    if how == "product":
        product: FloatArray = np.exp((weight * np.log(ranks)).sum(axis=0) / weight.sum())
        return product
    total: FloatArray = sum((w * rank for w, rank in zip(weights.values(), ranks, strict=True)), start=np.zeros(1))
    return total / sum(weights.values())


def check_weights(weights: Mapping[str, float]) -> None:
    """Error unless the weights are finite, none is negative and at least one is positive."""
    for name, weight in weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError(f"weight of {name}", "a finite number of 0 or more", str(weight))
    if not any(weights.values()):
        raise InputError("weights", "one positive weight at least", str(dict(weights)))
