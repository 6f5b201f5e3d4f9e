"""Acquisition functions and fusion against references written out in Python."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from hybrid_al.core.types import IGNORE, FloatArray, LabelMap
from hybrid_al.errors import InputError
from hybrid_al.scores.samples import (
    bald,
    entropy,
    label_doubt,
    least_confidence,
    margin,
    mean_std,
    outlines,
    ratio,
    summed_variance,
    variation_ratio,
    vote_entropy,
)


def probs(b: int = 20, s: int = 3, c: int = 4) -> FloatArray:
    values: FloatArray = np.random.default_rng(0).dirichlet(np.ones(c), size=(b, s))
    return values


def slow(name: str, passes: list[list[float]]) -> float:
    classes = len(passes[0])
    if name == "bald":
        return slow("entropy", passes) - sum(slow("entropy", [p]) for p in passes) / len(passes)
    mean = sorted(sum(p[c] for p in passes) / len(passes) for c in range(classes))
    if name == "least_confidence":
        return 1 - mean[-1]
    if name == "margin":
        return 1 - (mean[-1] - mean[-2])
    return -sum(p * math.log(p) for p in mean if p > 0) / math.log(classes)


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy", "bald"])
@pytest.mark.parametrize(("s", "c"), [(1, 2), (3, 4), (5, 9)])
def test_against_the_formula(name: str, s: int, c: int) -> None:
    score = {"least_confidence": least_confidence, "margin": margin, "entropy": entropy, "bald": bald}[name]
    values = score(probs(s=s, c=c))
    expected = [slow(name, sample) for sample in probs(s=s, c=c).tolist()]
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-12)


def slow_disagreement(name: str, passes: list[list[float]]) -> float:
    count, classes = len(passes), len(passes[0])
    mean = [sum(p[c] for p in passes) / count for c in range(classes)]
    variance = [sum((p[c] - mean[c]) ** 2 for p in passes) / count for c in range(classes)]
    shares = [sum(p.index(max(p)) == c for p in passes) / count for c in range(classes)]
    if name == "ratio":
        return sorted(mean)[-2] / sorted(mean)[-1]
    if name == "variation_ratio":
        return 1 - max(shares)
    if name == "vote_entropy":
        return -sum(v * math.log(v) for v in shares if v > 0) / math.log(classes)
    if name == "mean_std":
        return sum(math.sqrt(v) for v in variance) / classes
    return sum(variance)


DISAGREEMENT = (ratio, variation_ratio, vote_entropy, mean_std, summed_variance)


@pytest.mark.parametrize("score", DISAGREEMENT)
@pytest.mark.parametrize(("s", "c"), [(1, 2), (3, 4), (8, 9)])
def test_disagreement_against_the_formula(score: Callable[[FloatArray], FloatArray], s: int, c: int) -> None:
    batch = probs(s=s, c=c)
    batch[0], batch[1] = np.eye(c)[np.arange(s) % c], np.eye(c)[0]  # certain and torn, certain and agreed
    expected = [slow_disagreement(score.__name__, sample) for sample in batch.tolist()]
    np.testing.assert_allclose(score(batch), expected, rtol=1e-9, atol=1e-12)
    assert np.isfinite(score(batch.astype(np.float32))).all()
    maps = np.moveaxis(batch.reshape(2, 5, 2, s, c), (3, 4), (1, 2))  # (B, S, C, H, W)
    np.testing.assert_allclose(score(maps).ravel(), score(batch))


@pytest.mark.parametrize("score", [mean_std, summed_variance, variation_ratio, vote_entropy])
def test_passes_that_agree_do_not_disagree_by_rounding(score: Callable[[FloatArray], FloatArray]) -> None:
    same = np.repeat(probs(b=500, s=1).astype(np.float32), 25, axis=1)
    np.testing.assert_array_equal(score(same), 0)


def test_mean_divergence_of_a_committee_from_its_mean_is_bald() -> None:
    batch = probs(s=5)
    mean = batch.mean(axis=1, keepdims=True)
    divergence = (batch * np.log(batch / mean)).sum(axis=2).mean(axis=1) / math.log(batch.shape[2])
    np.testing.assert_allclose(bald(batch), divergence)


def test_certain_and_uniform() -> None:
    extremes = np.array([[[1.0, 0, 0]], [[1 / 3, 1 / 3, 1 / 3]]])
    np.testing.assert_allclose(entropy(extremes), [0, 1])
    np.testing.assert_allclose(margin(extremes), [0, 1])
    np.testing.assert_allclose(least_confidence(extremes), [0, 2 / 3])


def test_bald_is_one_where_certain_passes_disagree_and_zero_where_all_agree() -> None:
    torn, agreed, unsure = [[1.0, 0], [0, 1]], [[1.0, 0], [1, 0]], [[0.3, 0.7], [0.3, 0.7]]
    np.testing.assert_allclose(bald(np.array([torn, agreed, unsure])), [1, 0, 0], atol=1e-15)
    half = np.array([[[1.0, 0], [0.5, 0.5]]])  # H(3/4) - (0 + 1) / 2 bits
    np.testing.assert_allclose(bald(half), [2 - 0.75 * math.log2(3) - 0.5])


def test_bald_of_passes_that_agree_is_exactly_zero() -> None:
    same = np.repeat(probs(b=500, s=1).astype(np.float32), 25, axis=1)
    np.testing.assert_array_equal(bald(same), 0)


def test_pixels_stay() -> None:
    maps = np.moveaxis(probs(b=2 * 3 * 5).reshape(2, 3, 5, 3, 4), (3, 4), (1, 2))  # (B, S, C, H, W)
    assert entropy(maps).shape == margin(maps).shape == least_confidence(maps).shape == bald(maps).shape == (2, 3, 5)
    np.testing.assert_allclose(entropy(maps)[1, 2, 4], entropy(maps[1:, :, :, 2, 4])[0])
    np.testing.assert_allclose(bald(maps)[1, 2, 4], bald(maps[1:, :, :, 2, 4])[0])


@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 1)])
def test_refuses_what_is_no_distribution(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="two classes"):
        entropy(np.ones(shape))


def test_an_outline_is_where_a_structure_ends() -> None:
    for seed in range(5):
        labels: LabelMap = np.random.default_rng(seed).choice([0, 0, 0, 1, 2, IGNORE], (6, 9)).astype(np.uint8)
        slow = np.zeros(labels.shape, dtype=np.bool_)
        for y, x in np.argwhere((labels > 0) & (labels != IGNORE)):
            near = [(v, u) for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)) if 0 <= v < 6 and 0 <= u < 9]
            slow[y, x] = any(labels[p] not in (labels[y, x], IGNORE) for p in near)
        np.testing.assert_array_equal(outlines(labels), slow)
        assert slow.any()


def test_a_label_is_doubtful_where_a_model_is_sure_of_another() -> None:
    probs = np.array([[0.98, 0.02], [0.5, 0.5], [0.02, 0.98], [0.0, 1.0]])
    doubt = label_doubt(probs, np.array([1, 1, 1, 0]))
    expected = [-np.log(p[t]) + (p * np.log(p)).sum() for p, t in zip(probs[:3], (1, 1, 1), strict=True)]
    np.testing.assert_allclose(doubt[:3], expected)
    assert doubt.argsort()[::-1].tolist() == [3, 0, 1, 2] and abs(doubt[1]) < 1e-12 and np.isfinite(doubt).all()
