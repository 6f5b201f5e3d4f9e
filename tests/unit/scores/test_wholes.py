"""Scores of a region among its image, and of edges, against loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybrid_al.core.types import IGNORE
from hybrid_al.scores import edges
from hybrid_al.scores.regions import PART_SCORES

C, H, W, PARTS = 3, 5, 6, 3


def predictions() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (2, 1, C, H, W), and parts (2, H, W) with padding."""
    rng = np.random.default_rng(0)
    probs = np.moveaxis(rng.dirichlet(np.full(C, 0.5), size=(2, 1, H, W)), -1, 2)
    parts = rng.integers(0, PARTS, (2, H, W)).astype(np.uint8)
    parts[1, 0] = IGNORE
    return probs, parts


def slow_gain(probs: np.ndarray, parts: np.ndarray, part: int) -> float:
    """The expected Dice of the image with a part drawn, less that of the prediction: pixel by pixel."""
    gains = []
    for c in range(1, C):
        before, after = [0.0, 0.0], [0.0, 0.0]
        for i, j in np.argwhere(parts != IGNORE):
            p, m = float(probs[c, i, j]), float(probs[:, i, j].argmax() == c)
            for drawn, sums in ((False, before), (parts[i, j] == part, after)):
                sums[0] += p if drawn else p * m
                sums[1] += 2 * p if drawn else p + m
        gains.append((2 * after[0] + 1) / (after[1] + 1) - (2 * before[0] + 1) / (before[1] + 1))
    return float(np.mean(gains))


def slow_outline(probs: np.ndarray, parts: np.ndarray, part: int) -> float:
    total = 0.0
    for i, j in np.argwhere(parts == part):
        for v, u in ((i + 1, j), (i, j + 1)):
            if v < H and u < W and parts[v, u] == part:
                total += 1 - sum(probs[c, i, j] * probs[c, v, u] for c in range(C))
    return total


def slow_inconsistency(probs: np.ndarray, parts: np.ndarray, part: int) -> float:
    pixels = [probs[:, i, j] for i, j in np.argwhere(parts == part)]
    if not pixels:
        return 0.0
    of_mean, *alone = (float(-(p * np.log(p)).sum()) for p in [np.mean(pixels, axis=0), *pixels])
    return (of_mean - float(np.mean(alone))) / float(np.log(C))


@pytest.mark.parametrize(
    ("name", "slow"),
    [("dice_gain", slow_gain), ("expected_outline", slow_outline), ("inconsistency", slow_inconsistency)],
)
def test_parts_equal_the_slow_reference(name: str, slow) -> None:  # type: ignore[no-untyped-def]
    probs, parts = predictions()
    values = PART_SCORES[name](torch.from_numpy(probs), torch.from_numpy(parts), PARTS)
    expected = [[slow(p[0], where, part) for part in range(PARTS)] for p, where in zip(probs, parts, strict=True)]
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-9)
    assert values.min() > 0


def test_edges_equal_the_slow_reference() -> None:
    rng = np.random.default_rng(1)
    image, valid = rng.random((2, H, W)), np.ones((H, W), dtype=np.bool_)
    valid[:, -1] = False
    across, grey, slow = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]), image.mean(axis=0), np.zeros((H, W))
    for i in range(1, H - 1):
        for j in range(1, W - 2):
            window = grey[i - 1 : i + 2, j - 1 : j + 2]
            slow[i, j] = np.hypot((window * across).sum(), (window * across.T).sum())
    ours = edges.sobel(torch.from_numpy(image)[None], torch.from_numpy(valid)[None])[0]
    np.testing.assert_allclose(ours.numpy(), slow / slow.max(), atol=1e-9)
    flat = edges.sobel(torch.full((1, 1, H, W), 0.3), torch.ones(1, H, W, dtype=torch.bool))
    assert flat.abs().max() == 0


def test_the_field_equals_the_slow_reference_and_heeds_edges() -> None:
    """Updates of all pixels at once, by their eight neighbours; padding says nothing."""
    rng = np.random.default_rng(2)
    probs, image = np.moveaxis(rng.dirichlet(np.ones(C), size=(H, W)), -1, 0), rng.random((1, H, W))
    valid = np.ones((H, W), dtype=np.bool_)
    valid[0] = False
    field = probs.copy()
    for _ in range(edges.STEPS):
        energy = np.log(np.clip(probs, 1e-6, None))
        for i, j in np.argwhere(valid):
            for v, u in np.argwhere(valid):
                if max(abs(i - v), abs(j - u)) == 1:
                    d = image[0, i, j] - image[0, v, u]
                    energy[:, i, j] += edges.STRENGTH * np.exp(-(d**2) / (2 * edges.CONTRAST**2)) * field[:, v, u]
        field = np.exp(energy) / np.exp(energy).sum(axis=0)
    ours = edges.mean_field(*(torch.from_numpy(x)[None] for x in (probs, image, valid)))[0]
    np.testing.assert_allclose(ours.numpy(), field, atol=1e-9)


def test_one_doubtful_pixel_follows_its_surroundings_but_not_across_an_edge() -> None:
    probs = np.full((2, 1, 2, 5, 5), 0.02)
    probs[:, :, 0], probs[:, :, :, 2, 2] = 0.98, 0.5
    images = np.zeros((2, 1, 5, 5))
    images[1, :, 2, 2] = 1
    inputs = torch.from_numpy(probs), torch.from_numpy(images), torch.ones(2, 5, 5, dtype=torch.bool)
    inside, apart = edges.crf_entropy(*inputs)[:, 2, 2].tolist()
    assert inside < 0.01 and apart > 0.99
