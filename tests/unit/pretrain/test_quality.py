"""Quality without labels, against examples worked by hand, and collapse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError
from pretrain.quality import (
    alignment,
    collapse,
    effective_rank,
    neighbour_stability,
    quality,
    spread,
    uniformity,
)


def cloud(n: int = 60, d: int = 8, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_alignment_is_the_squared_distance_of_directions() -> None:
    first = np.asarray([[1.0, 0], [0, 5], [2, 0]])
    second = np.asarray([[3.0, 0], [7, 0], [-1, 0]])  # the same, at a right angle, opposite
    assert alignment(first, second) == pytest.approx((0 + 2 + 4) / 3)


def test_uniformity_of_pairs() -> None:
    assert uniformity(np.asarray([[1.0, 0], [-2, 0]])) == pytest.approx(-8)
    assert uniformity(np.eye(5)) == pytest.approx(-4)
    assert uniformity(np.ones((4, 3))) == pytest.approx(0)
    cross = np.asarray([[1.0, 0], [-1, 0], [0, 1], [0, -1]])  # two antipodal pairs, four at a right angle
    assert uniformity(cross) == pytest.approx(math.log((2 * math.exp(-8) + 4 * math.exp(-4)) / 6))


@pytest.mark.parametrize("block", [1, 6, 7, 8, 59, 60, 61])
def test_uniformity_against_all_pairs_whatever_the_block(block: int) -> None:
    units = cloud().astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    pairs = [math.exp(-2 * float(np.square(u - v).sum())) for i, u in enumerate(units) for v in units[:i]]
    assert uniformity(cloud(), block=block) == pytest.approx(math.log(sum(pairs) / len(pairs)))


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.eye(7) * 3) == pytest.approx(7)
    assert effective_rank(np.tile(cloud(1), (9, 1))) == pytest.approx(1)
    assert effective_rank(np.zeros((4, 3))) == 0
    # singular values 2, 1, 1: shares 1/2, 1/4, 1/4, of entropy 3/2 log 2
    assert effective_rank(np.diag([2.0, 1, 1, 0])) == pytest.approx(2**1.5)


def test_effective_rank_against_singular_values_where_rows_are_few_or_many() -> None:
    for n in (3, 40, 5000):  # more than one block
        vectors = cloud(n, 12) + 3
        share = np.linalg.svd(vectors.astype(np.float64), compute_uv=False)
        share = share / share.sum()
        assert effective_rank(vectors) == pytest.approx(math.exp(-sum(s * math.log(s) for s in share)), rel=1e-6)


def test_spread_is_one_for_directions_that_cancel_and_zero_for_one() -> None:
    assert spread(np.asarray([[1.0, 0], [-3, 0], [0, 2], [0, -1]])) == pytest.approx(1)
    assert spread(np.ones((5, 4)) * np.arange(1, 6)[:, None]) == pytest.approx(0, abs=1e-9)
    # at right angles: the mean direction has length 1 / sqrt(n)
    assert spread(np.eye(4)) == pytest.approx(math.sqrt(1 - 1 / 4))
    units = cloud() / np.linalg.norm(cloud(), axis=1, keepdims=True)
    assert spread(cloud()) == pytest.approx(math.sqrt(8) * math.sqrt(np.square(units.std(axis=0)).mean()), rel=1e-5)


def test_stability_counts_the_neighbours_that_both_views_have() -> None:
    degrees = np.deg2rad([0, 10, 30, 100, 120, 150])
    first = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    assert neighbour_stability(first, first * np.arange(1, 7)[:, None], 2) == 1
    # nearest other of each: 1 0 1 4 3 4 in the first; the second swaps the images 2 and 3: 1 0 4 1 2 4 -> the first
    # two agree and the last
    second = first[[0, 1, 3, 2, 4, 5]]
    assert neighbour_stability(first, second, 1) == pytest.approx(3 / 6)
    assert neighbour_stability(first, second, 5) == 1


def test_stability_of_unrelated_views_is_chance() -> None:
    numbers = neighbour_stability(cloud(800, 16), cloud(800, 16, seed=1), 20)
    assert numbers == pytest.approx(20 / 799, abs=0.01)


def test_all_numbers_together_and_scale_does_not_matter() -> None:
    plain, first, second = cloud(), cloud() + 0.1 * cloud(seed=1), cloud() + 0.1 * cloud(seed=2)
    numbers = quality(plain, first, second)
    assert list(numbers) == ["alignment", "uniformity", "effective_rank", "spread", "neighbour_stability"]
    assert all(math.isfinite(v) for v in numbers.values())
    assert quality(plain * 1e3, first * 1e3, second * 1e3) == pytest.approx(numbers, rel=1e-4)
    assert numbers["alignment"] < 0.1 and numbers["neighbour_stability"] > 0.5 and collapse(numbers) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_vectors_that_are_not_finite_or_do_not_match_are_refused(bad: float) -> None:
    broken = cloud()
    broken[7, 2] = bad
    for measure in (uniformity, effective_rank, spread):
        with pytest.raises(InputError, match="embedding in row 7: expected finite numbers"):
            measure(broken)
    with pytest.raises(InputError, match="alignment: expected two views"):
        alignment(cloud(), cloud(5))
    with pytest.raises(InputError, match="neighbour_stability: expected two views"):
        neighbour_stability(cloud(), cloud(5), 2)
    with pytest.raises(InputError, match="uniformity: expected at least two rows"):
        uniformity(cloud(1))


def test_one_point_one_line_and_a_narrow_cone_have_collapsed() -> None:
    noise, point = cloud(300, 32), np.full((300, 32), 2.0, dtype=np.float32)
    line = np.outer(np.where(np.arange(300) % 7, 1.0, -1.0), point[0])  # spread out, but on one line
    for vectors in (point, np.zeros_like(point), point + 0.01 * noise, line):
        warning = collapse(quality(vectors, vectors, vectors))
        assert (
            warning is not None
            and warning.startswith("the embeddings have collapsed: effective rank ")
            and "\n" not in warning
        )
    assert quality(line, line, line)["spread"] > 0.5
    for vectors in (noise, noise + 2, np.abs(noise), np.eye(32).repeat(9, axis=0)):
        assert collapse(quality(vectors, vectors, vectors)) is None


def test_two_images_are_enough() -> None:
    assert quality(np.eye(2), np.eye(2), np.eye(2)) == pytest.approx(
        {
            "alignment": 0,
            "uniformity": -4,
            "effective_rank": 2,
            "spread": math.sqrt(0.5),
            "neighbour_stability": 1,
        }
    )
