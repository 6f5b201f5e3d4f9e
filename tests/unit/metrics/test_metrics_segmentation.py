"""Dice and Hausdorff distance against slow references, and what empty structures are worth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hybrid_al.core.types import IGNORE
from hybrid_al.errors import InputError
from hybrid_al.metrics.segmentation import dice, hd95, mean_structures, structures


def blobs(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A ball and some grains."""
    rng = np.random.default_rng(seed)
    centre = [rng.uniform(0.3, 0.7) * n for n in shape]
    away = sum((x - c) ** 2 for x, c in zip(np.indices(shape), centre, strict=True))
    return np.asarray((away < (min(shape) / 3) ** 2) | (rng.random(shape) < 0.02))


def slow_surface(shape: np.ndarray) -> list[tuple[int, ...]]:
    """Pixels of a structure with a face on something else, or on the edge of the image."""
    places = []
    for place in np.argwhere(shape):
        for axis, step in itertools.product(range(shape.ndim), (-1, 1)):
            beside = place.copy()
            beside[axis] += step
            if not 0 <= beside[axis] < shape.shape[axis] or not shape[tuple(beside)]:
                places.append(tuple(place.tolist()))
                break
    return places


def slow_hd95(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> float:
    both = [slow_surface(a), slow_surface(b)]

    def directed(ours: list[tuple[int, ...]], theirs: list[tuple[int, ...]]) -> float:
        nearest = [
            min(math.dist([i * s for i, s in zip(p, spacing)], [i * s for i, s in zip(q, spacing)]) for q in theirs)  # noqa: B905
            for p in ours
        ]
        return float(np.percentile(nearest, 95))

    return max(directed(*both), directed(*both[::-1]))


@pytest.mark.parametrize(
    ("shape", "spacing"), [((11, 9), (1.0, 1.0)), ((12, 8), (0.5, 2.0)), ((5, 8, 7), (3.0, 1.0, 0.7))]
)
def test_hd95_equals_the_slow_reference(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    for seed in range(4):
        a, b = blobs(seed, shape), blobs(seed + 10, shape)
        assert hd95(a, b, spacing) == pytest.approx(slow_hd95(a, b, spacing), rel=1e-9)
        assert hd95(a, b, spacing) == hd95(b, a, spacing) and hd95(a, a, spacing) == 0


def test_hd95_of_what_is_missing() -> None:
    something, nothing = blobs(0, (6, 8)), np.zeros((6, 8), dtype=bool)
    assert math.isnan(hd95(nothing, nothing, (1, 1)))
    assert hd95(something, nothing, (2.0, 1.0)) == hd95(nothing, something, (2.0, 1.0)) == math.hypot(12, 8)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, math.nan), (1.0, math.inf)])
def test_wrong_spacing(spacing: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="2 lengths above 0"):
        hd95(blobs(0, (4, 4)), blobs(1, (4, 4)), spacing)


def test_dice() -> None:
    a, b = np.asarray([1, 1, 1, 0, 0], dtype=bool), np.asarray([0, 1, 1, 1, 0], dtype=bool)
    assert dice(a, b) == 2 * 2 / 6 and dice(a, a) == 1 and dice(a, ~a) == 0
    assert dice(a, np.zeros_like(a)) == 0 and math.isnan(dice(np.zeros_like(a), np.zeros_like(a)))


@pytest.mark.parametrize("shape", [(9, 7), (4, 6, 7)])
def test_structures_equal_the_plain_calls(shape: tuple[int, ...]) -> None:
    """Looking at a structure in its box alone changes nothing, at the edge of the image either."""
    spacing = (0.5, 1.0, 2.0)[: len(shape)]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        predicted, truth = rng.integers(4, size=(2, *shape), dtype=np.uint8)
        predicted[predicted == 2], truth[truth == 3] = 0, 1  # 2 is missed, 3 is seen where there is none
        predicted[0], truth[0] = 1, 1
        truth[:, -1] = IGNORE
        values = structures(predicted, truth, 5, spacing)
        ours, theirs = predicted.copy(), truth.copy()
        ours[:, -1] = theirs[:, -1] = 0
        expected = [[dice(ours == c, theirs == c), hd95(ours == c, theirs == c, spacing)] for c in range(1, 5)]
        np.testing.assert_allclose(values, np.asarray(expected).T)
        assert values[0, 1] == 0 < values[0, 0] and np.isnan(values[:, 3]).all()


def test_averages_are_over_the_units_that_have_a_structure() -> None:
    nan = math.nan
    rows = [np.asarray([[0.5, nan, nan], [2.0, nan, nan]]), np.asarray([[1.0, 0.2, nan], [4.0, 8.0, nan]])]
    assert mean_structures(rows, ["background", "a", "b", "c"]) == pytest.approx(
        {"dice": (0.75 + 0.2) / 2, "dice/a": 0.75, "dice/b": 0.2, "hd95": (3 + 8) / 2, "hd95/a": 3, "hd95/b": 8}
    )
    assert mean_structures([], ["background", "a"]) == {}
