"""Numbers of a bench as they stand in its tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..core.types import FloatArray
from .statistics import Interval


def plural(n: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{n} {noun}{'s' * (n != 1)}"


def percent(x: float) -> str:
    """A share as `95 %`."""
    return f"{100 * x:g} %"


def in_points(x: float, sign: str = "", scale: float = 100, digits: int = 2) -> str:
    """A number in points, 100 times it, unless `scale` says otherwise."""
    return f"{round(scale * x, digits) + 0.0:{sign}.{digits}f}"


def interval_text(x: Interval, *, sign: str = "", scale: float = 100, digits: int = 2) -> str:
    """Mean and limits, in points unless `scale` says otherwise."""
    mean, low, high = (in_points(y, sign, scale, digits) for y in (x.mean, x.low, x.high))
    return f"{mean} ({low} to {high})" if math.isfinite(x.high - x.low) else f"{mean} (one seed)"


def spread_text(values: FloatArray | Sequence[float]) -> str:
    """Mean and standard deviation, in the unit of the metric."""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def p_text(p: float) -> str:
    """A p value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
