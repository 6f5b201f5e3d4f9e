"""Reductions of maps to a number an image against slow references; scores of pixels: `test_pairs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hybrid_al.errors import InputError
from hybrid_al.scores.pixels import REDUCTIONS, Boundary, Top

C, H, W = 4, 7, 9


def slow_mean(values: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> float:
    numbers = [values[y, x] for y in range(H) for x in range(W) if valid[y, x]]
    return float(np.mean(numbers)) if numbers else 0.0


def slow_sum(values: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> float:
    return float(sum(values[y, x] for y in range(H) for x in range(W) if valid[y, x]))


def slow_foreground(values: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> float:
    numbers = [values[y, x] for y in range(H) for x in range(W) if valid[y, x] and predicted[y, x] > 0]
    return float(np.mean(numbers)) if numbers else slow_mean(values, predicted, valid)


def slow_boundary(values: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> float:
    numbers = []
    for y in range(H):
        for x in range(W):
            around = [
                predicted[v, u]
                for v in range(max(y - 2, 0), min(y + 3, H))
                for u in range(max(x - 2, 0), min(x + 3, W))
                if valid[v, u]
            ]
            if valid[y, x] and len(set(around)) > 1:
                numbers.append(values[y, x])
    return float(np.mean(numbers)) if numbers else slow_mean(values, predicted, valid)


def slow_top(values: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> float:
    numbers = sorted((values[y, x] for y in range(H) for x in range(W) if valid[y, x]), reverse=True)
    return float(np.mean(numbers[: max(1, round(0.1 * len(numbers)))])) if numbers else 0.0


def slow_balanced(values: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> float:
    means = [values[valid & (predicted == c)].mean() for c in range(C) if (valid & (predicted == c)).any()]
    return float(np.mean(means)) if means else 0.0


SLOW: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "mean": slow_mean,
    "sum": slow_sum,
    "foreground": slow_foreground,
    "boundary": slow_boundary,
    "top": slow_top,
    "balanced": slow_balanced,
}


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, classes and valid pixels of images with some, only, no background, padding, and nothing valid."""
    rng = np.random.default_rng(0)
    values = rng.random((7, H, W))
    predicted = rng.integers(C, size=(7, H, W))
    valid = np.ones((7, H, W), dtype=bool)
    predicted[1] = 0
    predicted[2] = 2
    predicted[3] = 0
    predicted[3, 2:4, 3:5] = 1
    valid[4, :2], valid[4, :, -3:] = False, False
    predicted[5], valid[5, :3] = 1, False
    predicted[5, :3] = 3  # a class in the padding is none
    valid[6] = False
    return values, predicted, valid


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_equal_slow_references(name: str) -> None:
    values, predicted, valid = maps()
    values_fast = REDUCTIONS[name]()(torch.from_numpy(values), torch.from_numpy(predicted), torch.from_numpy(valid))
    expected = [SLOW[name](*image) for image in zip(values, predicted, valid, strict=True)]
    np.testing.assert_allclose(values_fast.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_padding_says_nothing(name: str) -> None:
    values, predicted, valid = maps()
    other_values, other_classes = np.where(valid, values, 1e6), np.where(valid, predicted, 3)
    reduce = REDUCTIONS[name]()
    numbers = [
        reduce(torch.from_numpy(v), torch.from_numpy(p), torch.from_numpy(valid))
        for v, p in ((values, predicted), (other_values, other_classes))
    ]
    assert torch.equal(*numbers)


def test_every_reduction_has_a_reference() -> None:
    assert set(SLOW) == set(REDUCTIONS)


@pytest.mark.parametrize("wrong", [lambda: Top(share=0), lambda: Top(share=1.1), lambda: Boundary(width=0)])
def test_wrong_settings(wrong: Callable[[], Any]) -> None:
    with pytest.raises(InputError, match=r"(Top\.share|Boundary\.width): expected"):
        wrong()
