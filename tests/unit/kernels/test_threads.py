"""One thread for short operations, whole blocks for several: what is set, what comes back, what is computed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.kernels.distances import k_center, nearest
from hybrid_al.kernels.kmeans import k_means, k_means_plus_plus_outer
from hybrid_al.kernels.threads import _alone, alone, side_by_side


def blas() -> set[int]:
    """Threads of NumPy's own BLAS."""
    return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas" and "numpy" in i["filepath"]}


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    with threadpool_limits(2):
        torch.set_num_threads(2)
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_what_was_set_comes_back_whatever_happens() -> None:
    outside = blas()
    with pytest.raises(ValueError, match="once"), alone():
        with alone():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1 and blas() <= {1}
        raise ValueError("once")
    assert torch.get_num_threads() == 2 and blas() == outside
    assert _alone.users == 0


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 23])
def test_slices_are_worked_on_once_each_by_threads_that_are_alone(count: int) -> None:
    hits, threads = np.zeros(count, dtype=int), set[tuple[str, int]]()
    gate = threading.Barrier(2, timeout=20)

    def work(part: slice) -> None:
        hits[part] += 1
        if part.start < 10 and count == 23:
            gate.wait()  # passed only where two slices are in work at once
        threads.add((threading.current_thread().name, torch.get_num_threads()))

    with alone():
        side_by_side(work, count, 5)
    assert hits.tolist() == [1] * count
    assert {n for _, n in threads} <= {1}
    if count == 23:
        assert len(threads) == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_slice_is_raised() -> None:
    def work(part: slice) -> None:
        raise RuntimeError(f"at {part.start}")

    with pytest.raises(RuntimeError, match="at 0"), alone():
        side_by_side(work, 9, 2)


def rows(n: int, dim: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def computed() -> list[FloatArray | IntArray]:
    """What kernels give on pools of several blocks."""
    pool = rows(9000, 8)
    start = np.arange(3)
    return [
        *k_center(pool, start, 40, block=20_000),
        *nearest(pool[:900], pool, 5, block=256),
        *k_means(pool, 12, np.random.default_rng(0)),
        k_means_plus_plus_outer(rows(9000, 3, 1), pool, 7, 30, np.random.default_rng(0)),
    ]


@pytest.mark.usefixtures("two_threads")
def test_two_threads_give_what_one_gives() -> None:
    two = computed()
    torch.set_num_threads(1)
    for a, b in zip(two, computed(), strict=True):
        np.testing.assert_array_equal(a, b)
