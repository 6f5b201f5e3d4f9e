"""How honest probabilities of pixels are: sums over images against the measures of all pixels at once."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_al.core.types import IGNORE, FloatArray, LabelMap, PredictionBatch
from hybrid_al.metrics.calibration import reliability
from hybrid_al.metrics.classification import classification
from hybrid_al.metrics.pixel_calibration import FEW, PixelCalibration, sample_pixels


def maps(n: int, classes: int, seed: int) -> tuple[FloatArray, LabelMap]:
    """Probabilities (n, C, 5, 7), some of them certain or even, and label maps, a third unknown."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(classes, 0.5), size=(n, 5, 7))
    probs[0, :2] = np.eye(classes)[rng.integers(classes, size=(2, 7))]
    probs[0, 2] = 1 / classes
    truth = rng.integers(classes, size=(n, 5, 7)).astype(np.uint8)
    truth[rng.random(truth.shape) < 1 / 3] = IGNORE
    return np.moveaxis(probs, -1, 1).astype(np.float32), truth


@pytest.mark.parametrize("classes", [2, 4])
def test_the_sum_is_that_of_all_pixels_at_once(classes: int) -> None:
    batches = [maps(n, classes, n) for n in (1, 3, 2)]
    parts = [PixelCalibration.of_images(*one) for one in batches]
    total = sum(parts[1:], parts[0])
    pixels = [  # the slow way
        (probs[i, :, y, x], truth[i, y, x])
        for probs, truth in batches
        for i in range(len(probs))
        for y in range(5)
        for x in range(7)
        if truth[i, y, x] != IGNORE
    ]
    probs, truth = np.stack([p for p, _ in pixels]).astype(np.float64), np.asarray([int(t) for _, t in pixels])
    expected = classification(probs, truth)
    assert total.pixels == len(truth)
    assert total.metrics() == pytest.approx({name: expected[name] for name in ("nll", "ece", "classwise_ece", "brier")})
    np.testing.assert_allclose(total.reliability(), reliability(probs, truth))
    nothing = PixelCalibration.of_images(batches[0][0], np.full_like(batches[0][1], IGNORE))
    assert nothing.metrics() == {} and (nothing + total).metrics() == total.metrics()


def test_a_few_pixels_stand_for_an_image_and_are_the_same_at_each_call() -> None:
    probs, truth = maps(4, 3, 0)
    truth[2] = IGNORE
    batch = PredictionBatch(np.asarray([9, 4, 5, 7]), np.stack([probs, probs[::-1]], axis=1))
    values, classes = sample_pixels(batch, truth, most=6)
    assert values.shape == (18, 3) and classes.shape == (18,)  # nothing is known of the third
    again = sample_pixels(PredictionBatch(batch.indices[1:2], batch.probs[1:2]), truth[1:2], most=6)
    np.testing.assert_array_equal(again[0], values[6:12])  # whatever else is in the batch
    mean = (probs[1] + probs[2]) / 2
    places = [
        next((y, x) for y in range(5) for x in range(7) if np.allclose(mean[:, y, x], v) and truth[1, y, x] == c)
        for v, c in zip(*again, strict=True)
    ]
    assert len(set(places)) == 6
    every = sample_pixels(batch, truth, most=FEW)
    assert len(every[0]) == int((truth != IGNORE).sum())
    alone = [PredictionBatch(np.asarray([i]), batch.probs[:1]) for i in range(9)]
    assert (
        len({tuple(sample_pixels(one, truth[:1], most=6)[0][:, 0]) for one in alone}) == 9
    )  # other images, other places
