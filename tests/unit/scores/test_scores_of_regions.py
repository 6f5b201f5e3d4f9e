"""What the pixels of parts say together, against loops; of whole images: `test_pairs`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hybrid_al.core.types import IGNORE
from hybrid_al.scores import samples as scores
from hybrid_al.scores.regions import PART_SCORES

B, S, C, H, W = 3, 2, 4, 6, 7
PARTS = 3


def predictions() -> np.ndarray:
    """Probabilities (B, S, C, H, W); of the second image all pixels are certain, of the third all background."""
    probs = np.moveaxis(np.random.default_rng(0).dirichlet(np.full(C, 0.5), size=(B, S, H, W)), -1, 2)
    probs[1] = np.moveaxis(np.eye(C)[np.arange(H * W).reshape(H, W) % C], -1, 0)
    probs[2] = np.array([0.9, 0.1, 0.0, 0.0]).reshape(C, 1, 1)
    return probs


def parts() -> np.ndarray:
    """Parts (B, H, W): of all three, with padding, and of the first alone."""
    maps = np.random.default_rng(1).integers(0, PARTS, (B, H, W)).astype(np.uint8)
    maps[1, :2], maps[2] = IGNORE, 0
    return maps


def slow_dice(pixels: list[np.ndarray]) -> float:
    dice = []
    for c in range(1, C):
        both = sum(p[c] for p in pixels if p.argmax() == c)
        either = sum(p[c] + float(p.argmax() == c) for p in pixels)
        dice.append((2 * both + 1) / (either + 1))
    return 1 - float(np.mean(dice))


def slow_ripu(pixels: list[np.ndarray]) -> float:
    if not pixels:
        return 0.0
    shares = [sum(p.argmax() == c for p in pixels) / len(pixels) for c in range(C)]
    impurity = -sum(s * math.log(s) for s in shares if s) / math.log(C)
    return float(impurity * np.mean([-sum(q * math.log(q) for q in p if q) for p in pixels]) / math.log(C))


def slow_contexts(pixels: list[np.ndarray]) -> np.ndarray:
    rows = np.zeros((C, C))
    for c in range(C):
        members = [p for p in pixels if p.argmax() == c]
        weights = [-sum(q * math.log(q) for q in p if q) + 1e-6 for p in members]
        for p, weight in zip(members, weights, strict=True):
            rows[c] += weight * p / sum(weights)
    return rows.ravel()


def slow_foreground(pixels: list[np.ndarray]) -> float:
    return float(np.mean([p.argmax() > 0 for p in pixels])) if pixels else 0.0


def slow_shares(pixels: list[np.ndarray]) -> np.ndarray:
    return np.asarray([sum(p.argmax() == c for p in pixels) / max(len(pixels), 1) for c in range(C)])


SLOW: dict[str, Callable[[list[np.ndarray]], np.ndarray | float]] = {
    "foreground": slow_foreground,
    "expected_dice": slow_dice,
    "ripu": slow_ripu,
    "contexts": slow_contexts,
    "shares": slow_shares,
}


def slow_boundary(labels: np.ndarray, where: np.ndarray, part: int) -> int:
    count = 0
    for i, j in np.argwhere((where == part) & (labels > 0)):
        around = [(v, u) for v, u in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)) if 0 <= v < H and 0 <= u < W]
        count += any(where[p] == part and labels[p] != labels[i, j] for p in around)
    return count


def test_outlines_of_parts_equal_the_slow_reference() -> None:
    probs, where = predictions(), parts()
    scores = PART_SCORES["boundary"](torch.from_numpy(probs), torch.from_numpy(where), PARTS)
    labels = probs.mean(axis=1).argmax(axis=1)
    slow = [[slow_boundary(labels[b], where[b], part) for part in range(PARTS)] for b in range(B)]
    assert scores.tolist() == slow and scores[0].min() > 0


@pytest.mark.parametrize("name", SLOW)
def test_parts_equal_the_slow_reference(name: str) -> None:
    probs, where = predictions(), parts()
    scores = PART_SCORES[name](torch.from_numpy(probs), torch.from_numpy(where), PARTS)
    for b in range(B):
        for part in range(PARTS):
            pixels = [probs[b, :, :, i, j].mean(axis=0) for i, j in np.argwhere(where[b] == part)]
            np.testing.assert_allclose(scores[b, part].numpy(), SLOW[name](pixels), atol=1e-9)


@pytest.mark.parametrize("name", ["expected_dice", "ripu", "contexts", "shares"])
def test_a_sample_is_an_image_of_one_pixel(name: str) -> None:
    probs = predictions()[:, :, :, 0, 0]
    score = getattr(scores, name)
    np.testing.assert_allclose(score(probs), score(probs[..., None, None]), atol=1e-12)
    assert name != "ripu" or not score(probs).any()


def test_the_expected_dice_is_low_where_a_structure_is_doubtful() -> None:
    """A square surely seen, the same square half believed, and none seen or expected."""
    probs = np.zeros((3, 1, 2, 8, 8))
    probs[0, 0, 1, 2:6, 2:6], probs[1, 0, 1, 2:6, 2:6] = 1, 0.6
    probs[:, :, 0] = 1 - probs[:, :, 1]
    sure, doubtful, empty = scores.expected_dice(probs)
    assert sure == empty == 0 and doubtful == pytest.approx(1 - (2 * 9.6 + 1) / (9.6 + 16 + 1))


def test_every_score_of_parts_has_a_reference() -> None:
    of_wholes = {"dice_gain", "expected_outline", "inconsistency"}  # see `test_wholes`
    assert {*SLOW, "boundary", "side_disagreement"} | of_wholes == set(PART_SCORES)


def test_side_heads_disagree_by_the_dice_of_their_masks() -> None:
    """Two outputs of one structure of 4 and of 2 pixels, of which 2 are common; blank masks agree."""
    probs = np.zeros((2, 3, 2, 3, 3))
    probs[0, 0, 1, :2, :2], probs[0, 1, 1, 0, :2], probs[0, 2, 1, :2, :2] = 1, 1, 1
    probs[:, :, 0] = 1 - probs[:, :, 1]
    expected = 1 - (5 / 7 + 1) / 2
    np.testing.assert_allclose(scores.side_disagreement(probs), [expected, 0])
    np.testing.assert_allclose(scores.side_disagreement(probs[:, :1]), [0, 0])
    rows = np.zeros((2, 3, 3), dtype=np.uint8)
    rows[:, 1:] = 1
    by_part = PART_SCORES["side_disagreement"](torch.from_numpy(probs), torch.from_numpy(rows), 2)
    np.testing.assert_allclose(by_part[0].numpy(), [0, 1 - (1 / 3 + 1) / 2])
