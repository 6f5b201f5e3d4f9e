"""The greedy covers and the medoids against full matrices, recomputed at every pick."""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.radius import Ball, ball_cover
from hybrid_al.kernels.similarity import _serve, k_medoids, nearest_where, similarity_cover


def rows(n: int, dim: int = 3, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def full(a: FloatArray, b: FloatArray) -> FloatArray:
    distances: FloatArray = np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)
    return distances


def slow_ball_cover(
    candidates: FloatArray, base: FloatArray, start: FloatArray, radius: float
) -> list[tuple[int, int]]:
    """Every candidate's uncovered neighbours counted anew at every pick."""
    covered = (full(base, start) < radius).any(axis=1)
    graph, cover = full(candidates, base) < radius, list[tuple[int, int]]()
    while (gains := (graph & ~covered).sum(axis=1)).any():
        cover.append((int(gains.argmax()), int(gains.max())))
        covered |= graph[gains.argmax()]
    return cover


@pytest.mark.parametrize("radius", [0.3, 0.8, 2.0])
@pytest.mark.parametrize("labeled", [0, 4])
@pytest.mark.parametrize("block", [5, 29, 30, 31, 4096])
@pytest.mark.parametrize("memory", [0, 4096])
def test_ball_cover(radius: float, labeled: int, block: int, memory: int) -> None:
    candidates, base, start = rows(40) + 5, rows(30, seed=1) + 5, rows(labeled, seed=2) + 5
    base[:9] = candidates[:9]
    picks, gains = ball_cover(candidates, base, start, radius, 40, block=block, memory=memory)
    assert list(zip(picks.tolist(), gains.tolist(), strict=True)) == slow_ball_cover(candidates, base, start, radius)


@pytest.mark.parametrize("block", [1, 8, 30, 4096])
@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize(("far", "scale"), [(0, 1), (1000, 1), (0, 1e-18), (0, 1e18)])
def test_a_ball_decides_pairs_on_the_edge(block: int, precision: str, far: float, scale: float) -> None:
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2)  # full of pairs 5 apart
    grid = ((grid + far) * np.float64(scale)).astype(np.float32)
    if scale == 1e-18:  # the same beside rows far away
        grid = np.concatenate([grid, np.array([[1, 1], [1, 1 + 2**-20]], np.float32)])
    wide = np.abs(grid[:, None].astype(np.float64) - grid[:60]) ** 2
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    for radius in (5 * scale, np.nextafter(5 * scale, 9e99), 1e-30, 3e-7):
        bits = Ball(torch.from_numpy(grid[:60]), radius, block).around(torch.from_numpy(grid))
        assert bits.shape == (len(grid), 8)
        np.testing.assert_array_equal(np.unpackbits(bits, axis=1, count=60), wide.sum(axis=2) < radius**2)
    torch.set_float32_matmul_precision(before)


def test_ball_cover_of_everything_and_of_one_place() -> None:
    picks, gains = ball_cover(np.ones((5, 2), np.float32), np.ones((7, 2), np.float32), rows(0, 2), 0.1, 5)
    assert picks.tolist() == [0] and gains.tolist() == [7]
    picks, _ = ball_cover(rows(5), rows(7), rows(1), np.inf, 5)
    assert picks.tolist() == []


@pytest.mark.parametrize(("radius", "budget"), [(0, 1), (1, 0), (1, 6), (np.nan, 1)])
def test_ball_cover_refuses(radius: float, budget: int) -> None:
    with pytest.raises(InputError, match="1 to 5 picks"):
        ball_cover(rows(5), rows(5), rows(0), radius, budget)


def gaussian(squared: torch.Tensor) -> torch.Tensor:
    return (-squared).exp()


@pytest.mark.parametrize("labeled", [0, 4])
@pytest.mark.parametrize("chunk", [1, 3, 39, 40, 41])
@pytest.mark.parametrize("block", [7, 30, 4096])
def test_similarity_cover(labeled: int, chunk: int, block: int) -> None:
    candidates, base, start = rows(40), rows(30, seed=1), rows(labeled, seed=2)
    picks, gains = similarity_cover(candidates, base, start, gaussian, 25, block=block, chunk=chunk)
    alike, served = np.exp(-(full(candidates, base) ** 2)), np.exp(-(full(start, base) ** 2)).max(axis=0, initial=0)
    for i, (pick, gain) in enumerate(zip(picks.tolist(), gains.tolist(), strict=True)):
        adds = np.array([-1 if c in picks[:i] else (alike[c] - served).clip(0).sum() for c in range(40)])
        assert pick == adds.argmax(), f"pick {i}"
        assert gain == pytest.approx(adds.max())
        served = np.maximum(served, alike[pick])


def test_one_row_serves_as_two_alike_do() -> None:
    """Without a matrix product, and to the last bit: picks of before rest on it."""
    base, one = torch.from_numpy(rows(50) + 3), torch.from_numpy(rows(1, seed=4) + 3)
    coverages = [torch.full((50,), 0.1, dtype=torch.float64) for _ in range(2)]
    for coverage, medoids in zip(coverages, (one, one.repeat(2, 1)), strict=True):
        _serve(coverage, base, medoids, lambda squared: squared.neg_().exp_(), 16)
    assert torch.equal(*coverages) and (coverages[0] > 0.1).any()


def test_similarity_cover_takes_all_rows_once_where_they_coincide() -> None:
    picks, _ = similarity_cover(np.ones((90, 2), np.float32), rows(5, 2), rows(0, 2), gaussian, 90)
    assert sorted(picks.tolist()) == list(range(90))
    with pytest.raises(InputError, match="1 to 5 picks"):
        similarity_cover(rows(5), rows(5), rows(0), gaussian, 6)


@pytest.mark.parametrize("allowed", [operator.ne, operator.lt])
@pytest.mark.parametrize("block", [1, 19, 20, 21, 4096])
def test_nearest_where(allowed: Callable[[object, object], object], block: int) -> None:
    vectors, values = rows(20) + 9, np.random.default_rng(0).integers(4, size=20)
    expected = [
        min(
            (float(np.linalg.norm(v - w)) for w, b in zip(vectors, values, strict=True) if allowed(a, b)),
            default=np.inf,
        )
        for v, a in zip(vectors, values, strict=True)
    ]
    distances = nearest_where(vectors, values, allowed, block=block)  # type: ignore[arg-type]
    np.testing.assert_allclose(distances, expected, rtol=1e-5)


@pytest.mark.parametrize("fixed", [[], [0, 7, 11]])
@pytest.mark.parametrize("block", [6, 4096])
def test_k_medoids_rests_where_no_member_is_better(fixed: list[int], block: int) -> None:
    vectors, free = rows(60), np.ones(60, dtype=bool)
    free[[*fixed, 20, 21]] = False
    medoids, sizes = k_medoids(
        vectors, np.asarray(fixed, dtype=np.int64), free, 6, np.random.default_rng(0), block=block
    )
    assert len(set(medoids.tolist())) == 6 and free[medoids].all()
    distance = full(vectors, vectors)
    cluster = distance[:, [*medoids, *fixed]].argmin(axis=1)
    for c, medoid in enumerate(medoids):
        members = np.flatnonzero(cluster == c)
        assert sizes[c] == len(members)
        sums = {int(m): distance[m, members].sum() for m in members if free[m]}
        assert sums[int(medoid)] == pytest.approx(min(sums.values()))


def test_k_medoids_finds_clear_blobs_beside_the_one_that_is_fixed() -> None:
    which = np.repeat(np.arange(4), 12)
    vectors = (rows(48, 4) * 0.1 + 5 * np.eye(4)[which]).astype(np.float32)
    for seed in range(5):
        medoids, _ = k_medoids(vectors, np.array([3]), np.arange(48) != 3, 3, np.random.default_rng(seed))
        assert sorted(which[medoids].tolist()) == [1, 2, 3]


def test_k_medoids_of_rows_that_repeat_are_fewer() -> None:
    vectors, free = np.repeat(rows(4), 5, axis=0), np.ones(20, dtype=bool)
    medoids, _ = k_medoids(vectors, np.empty(0, np.int64), free, 9, np.random.default_rng(0))
    assert sorted(set((medoids // 5).tolist())) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="1 to 20 medoids"):
        k_medoids(vectors, np.empty(0, np.int64), free, 21, np.random.default_rng(0))
