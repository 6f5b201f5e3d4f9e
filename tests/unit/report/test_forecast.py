"""The forecast of a curve, against laws that are known and a slow search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from hybrid_al.report.forecast import POWERS, fit, forecast

LABELS = np.asarray([20.0, 40.0, 60.0, 100.0, 160.0])


def _law(end: float, loss: float, power: float) -> np.ndarray:
    return np.asarray(end - loss * (LABELS / LABELS[0]) ** -power)


def test_a_power_law_is_found_again() -> None:
    law = fit(LABELS, _law(0.93, 0.2, float(POWERS[13])))
    assert (law.end, law.loss, law.power) == pytest.approx((0.93, 0.2, POWERS[13]))


def test_no_other_law_has_smaller_squares() -> None:
    for seed in range(5):
        values = _law(0.97, 0.25, 0.6) + np.random.default_rng(seed).normal(0, 0.02, len(LABELS))

        def squares(x: np.ndarray, values: np.ndarray = values) -> float:
            return float(((x[0] - x[1] * (LABELS / 20) ** -x[2] - values) ** 2).sum())

        bounds = [(None, 1.0), (0.0, None), (POWERS[0], POWERS[-1])]
        best = min(minimize(squares, (0.9, 0.2, p), bounds=bounds).fun for p in (0.1, 0.5, 1.0, 1.8))
        assert ((fit(LABELS, values).at(LABELS) - values) ** 2).sum() <= 1.02 * best  # powers are tried in steps


def test_more_labels_are_never_expected_to_hurt_and_nothing_is_above_the_most() -> None:
    falling = fit(LABELS, np.linspace(0.9, 0.8, 5))
    assert falling.loss == 0 and falling.end == pytest.approx(0.85)
    assert fit(LABELS, np.linspace(0.5, 0.99, 5)).end <= 1
    noisy = forecast([(LABELS, np.linspace(0.5, 0.99, 5))], np.asarray([200.0, 400.0]))
    assert noisy is not None and (noisy.high <= 1).all() and (noisy.low <= noisy.values).all()


def test_the_interval_holds_about_nine_of_ten_measurements() -> None:
    hits = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        end, loss, power = rng.uniform(0.8, 0.98), rng.uniform(0.1, 0.3), rng.uniform(0.3, 1.2)
        found = forecast([(LABELS, _law(end, loss, power) + rng.normal(0, 0.012, 5))], np.asarray([200.0]))
        assert found is not None
        measured = end - loss * 10**-power + rng.normal(0, 0.012)
        hits.append(found.low[0] <= measured <= found.high[0])
    assert 0.8 <= np.mean(hits) <= 1


def test_too_little_to_forecast() -> None:
    values, ahead = _law(0.9, 0.2, 0.5), np.asarray([200.0])
    assert forecast([(LABELS[:3], values[:3])], ahead) is None
    assert forecast([(LABELS, np.where(LABELS == 60, np.nan, values))], ahead) is None
    assert forecast([(LABELS, values), (LABELS + 1, values)], ahead) is None
    assert forecast([(LABELS, values)], np.asarray([1000.0])) is None
    assert forecast([], ahead) is None
    twice = forecast([(LABELS, values), (LABELS, values)], ahead)
    once = forecast([(LABELS, values)], ahead)
    assert twice is not None and once is not None and twice.values == pytest.approx(once.values)
