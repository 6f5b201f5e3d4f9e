"""Where a learning curve leads: a power law through its points, with an interval that says how little they tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import FloatArray

LEAST_POINTS = 4  # three numbers are fitted
POWERS = np.linspace(0.05, 2.0, 40)
RESAMPLES = 2000
LEVEL = 0.9


@dataclass(frozen=True)
class PowerLaw:
    """end - loss * (labels / unit) ** -power, with loss of at least 0; unit is the first number of labels."""

    end: float
    loss: float
    power: float
    unit: float

    def at(self, labels: FloatArray | float) -> FloatArray:
        """Values at numbers of labels."""
        return np.asarray(self.end - self.loss * (np.asarray(labels) / self.unit) ** -self.power)


@dataclass(frozen=True)
class Forecast:
    """Values (K,) to expect at numbers of labels (K,), their `LEVEL` interval, and the law they follow."""

    labels: FloatArray
    values: FloatArray
    low: FloatArray
    high: FloatArray
    law: PowerLaw


def fit(labels: FloatArray, values: FloatArray, most: float = 1.0) -> PowerLaw:
    """The law with the least squares to values (n,), among `POWERS`, whose end is at most `most`.

    Hestness et al. (arXiv 1712.00409), section 2: errors fall as a power of the data's size, to a floor.
    """
    end, loss, power = (float(column[0]) for column in _fits(labels, values[None], most))
    return PowerLaw(end, loss, power, float(labels[0]))


def _fits(labels: FloatArray, values_BN: FloatArray, most: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """End, loss and power (B,) of the laws through each row of values, powers tried one after another."""
    best = np.full(len(values_BN), np.inf)
    end_B, loss_B, power_B = (np.zeros(len(values_BN)) for _ in range(3))
    for power in POWERS:
        x = -((labels / labels[0]) ** -power)
        d = x - x.mean()
        loss = np.maximum(0.0, values_BN @ d / (d @ d))
        end = values_BN.mean(axis=1) - loss * x.mean()
        held = np.maximum(0.0, (values_BN - most) @ x / (x @ x))  # the best line through (0, most)
        end, loss = np.where(end > most, most, end), np.where(end > most, held, loss)
        squares = ((end[:, None] + loss[:, None] * x - values_BN) ** 2).sum(axis=1)
        better = squares < best
        best = np.where(better, squares, best)
        end_B, loss_B = np.where(better, end, end_B), np.where(better, loss, loss_B)
        power_B = np.where(better, power, power_B)
    return end_B, loss_B, power_B


def forecast(curves: Sequence[tuple[FloatArray, FloatArray]], ahead: FloatArray, most: float = 1.0) -> Forecast | None:
    """What the mean of curves (labels, values) with the same labels may be at `ahead` labels; None where too little.

    The interval is of a measurement there: a parametric bootstrap whose spread is as uncertain as n - 3 residuals leave
    it. One batch ahead, of 150 drawn laws with a noise of 0.012, it held 95, 90, 89 and 92 % of the values with 4, 5, 6
    and 8 points. Beyond four times the labels nothing is forecast.
    """
    labels = curves[0][0] if curves else np.empty(0)
    same = all(len(x) == len(labels) and np.array_equal(x, labels) for x, _ in curves)
    values = np.mean([y for _, y in curves], axis=0) if curves and same else np.empty(0)
    growing = len(labels) >= LEAST_POINTS and labels[0] > 0 and bool((np.diff(labels) > 0).all())
    if not growing or not np.isfinite(values).all() or not len(values):
        return None
    ahead = np.asarray([n for n in ahead.tolist() if labels[-1] < n <= 4 * labels[-1]])
    if not len(ahead):
        return None
    law = fit(labels, values, most)
    free, rng = len(labels) - 3, np.random.default_rng(0)
    spread = math.sqrt(float(((values - law.at(labels)) ** 2).sum()) / free)
    spread_B = spread * np.sqrt(free / rng.chisquare(free, RESAMPLES))
    noise = rng.normal(0, 1, (RESAMPLES, len(labels) + 1)) * spread_B[:, None]
    end_B, loss_B, power_B = _fits(labels, law.at(labels) + noise[:, : len(labels)], most)
    values_BK = end_B[:, None] - loss_B[:, None] * (ahead / labels[0]) ** -power_B[:, None] + noise[:, len(labels) :]
    low, high = np.quantile(np.clip(values_BK, 0.0, most), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    middle = law.at(ahead)
    return Forecast(ahead, middle, np.minimum(low, middle), np.maximum(high, middle), law)
