"""Costs of annotation, sample by sample, from a CSV file: for queries with a limit of cost."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..core.manifest import Manifest
from ..core.types import FloatArray
from ..errors import InputError
from .tables import read_table

COLUMNS = ("id", "cost")


def read_costs(path: Path, manifest: Manifest) -> FloatArray:
    """Costs (N,) in any unit, above 0, from the columns id and cost; every sample of the pool has one, others nan.

    Errors name the line: an unknown or repeated id, or a cost that is no number above 0.
    """
    header, lines = read_table(path, "oracle.costs")
    if not set(COLUMNS) <= set(header):
        raise InputError(f"{path}, line 1", "the columns id and cost", ", ".join(header))
    costs = np.full(len(manifest), np.nan)
    for line, row in lines:
        where, sample = f"{path}, line {line}", row["id"]
        index = manifest.find(sample)
        if index is None:
            raise InputError(where, "an id of the data", repr(sample))
        if not np.isnan(costs[index]):
            raise InputError(where, "each id once", f"{sample!r} again")
        try:
            cost = float(row["cost"])
        except ValueError:
            cost = math.nan
        if not 0 < cost < math.inf:
            raise InputError(where, "a cost above 0", repr(row["cost"]))
        costs[index] = cost
    missing = [i for i in manifest.indices("pool").tolist() if np.isnan(costs[i])]
    if missing:
        raise InputError(path, "a cost of every sample of the pool", f"none of {manifest.ids[missing[0]]!r}")
    return costs
