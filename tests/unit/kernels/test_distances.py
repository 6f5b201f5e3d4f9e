"""The blocked kernels against full-matrix references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.distances import Rows, closest, draw, k_center, nearest, squared_to, typicality
from hybrid_al.kernels.kmeans import k_means, k_means_plus_plus, k_means_plus_plus_outer


def rows(n: int, dim: int = 6, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def full(a: FloatArray, b: FloatArray) -> FloatArray:
    """Squared distances by subtraction in float64: the slow reference."""
    distances: FloatArray = ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(axis=2)
    return distances


@pytest.mark.parametrize("n", [7, 8, 9, 16, 17])
@pytest.mark.parametrize("q", [1, 7, 8, 9])
def test_nearest_at_block_edges(n: int, q: int) -> None:
    queries, base = rows(q), rows(n, seed=1)
    distances, indices = nearest(queries, base, 5, block=8)
    order = np.argsort(full(queries, base), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(full(queries, base), order, axis=1), rtol=1e-5)


@pytest.mark.parametrize("n", [2, 7, 8, 9, 33])
def test_nearest_without_self(n: int) -> None:
    base = rows(n)
    reference = full(base, base)
    np.fill_diagonal(reference, np.inf)
    k = min(3, n - 1)
    distances, indices = nearest(base, base, k, exclude_self=True, block=8)
    np.testing.assert_array_equal(indices, np.argsort(reference, axis=1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(reference, axis=1)[:, :k], rtol=1e-5)


def test_nearest_does_not_cancel_for_vectors_far_from_the_origin() -> None:
    base = (rows(50) * 1e-2 + 100).astype(np.float32)
    distances, indices = nearest(base, base, 4, exclude_self=True)
    reference = full(base, base)
    np.fill_diagonal(reference, np.inf)
    np.testing.assert_array_equal(indices, np.argsort(reference, axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(reference, axis=1)[:, :4], rtol=1e-5)


def test_nearest_does_not_cancel_inside_clumps_that_lie_far_apart() -> None:
    clump = np.where(np.arange(60) % 2, 100, -100)[:, None]
    base = (rows(60) * 1e-2 + clump).astype(np.float32)
    reference = full(base, base)
    np.fill_diagonal(reference, np.inf)
    distances, indices = nearest(base, base, 4, exclude_self=True)
    np.testing.assert_array_equal(indices, np.argsort(reference, axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(reference, axis=1)[:, :4], rtol=1e-5)


def test_nearest_of_duplicates_is_zero() -> None:
    base = np.concatenate([rows(9), rows(9)]) * 1e3
    distances, indices = nearest(base, base, 1, exclude_self=True)
    assert (distances >= 0).all()
    np.testing.assert_allclose(distances, 0, atol=1e-7)
    np.testing.assert_array_equal(indices[:, 0], (np.arange(18) + 9) % 18)


@pytest.mark.parametrize("k", [0, 5])
def test_nearest_refuses_impossible_counts(k: int) -> None:
    with pytest.raises(InputError, match="1 to 4 neighbours"):
        nearest(rows(5), rows(5), k, exclude_self=True)


def test_nearest_of_itself_wants_the_base_itself() -> None:
    with pytest.raises(InputError, match="the base itself"):
        nearest(rows(4), rows(5), 1, exclude_self=True)


def test_typicality_is_the_inverse_mean_distance() -> None:
    vectors = rows(30)
    distance = np.sqrt(full(vectors, vectors))
    nearest_four = np.sort(distance, axis=1)[:, 1:5]
    np.testing.assert_allclose(typicality(vectors, 4), 1 / (nearest_four.mean(axis=1) + 1e-5), rtol=1e-5)


def test_typicality_of_few_and_of_equal_rows() -> None:
    np.testing.assert_allclose(typicality(rows(1), 20), [1e5])
    np.testing.assert_allclose(typicality(np.ones((3, 2), np.float32), 20), [1e5] * 3, rtol=1e-5)
    pair = np.array([[0, 0], [3, 4]], np.float32)
    np.testing.assert_allclose(typicality(pair, 20), [0.2, 0.2], rtol=1e-5)


def slow_k_center(
    vectors: FloatArray, start: list[int], budget: int, first: int | None
) -> tuple[list[int], list[float]]:
    """Algorithm 1 of Sener and Savarese on the full matrix, recomputing every minimum at every pick."""
    distance = full(vectors, vectors)
    covered, picks, radius = list(start), list[int](), list[float]()
    for i in range(budget):
        reach = [
            min((distance[u, s] for s in covered), default=np.inf) if u not in covered else -1
            for u in range(len(vectors))
        ]
        pick = first if i == 0 and first is not None else int(np.argmax(reach))
        picks.append(pick)
        radius.append(reach[pick])
        covered.append(pick)
    return picks, radius


@pytest.mark.parametrize(("start", "first"), [([], 3), ([0, 5, 9], None), ([2], 7)])
@pytest.mark.parametrize("block", [5, 24, 25, 26, 4096])
def test_k_center(start: list[int], first: int | None, block: int) -> None:
    vectors = rows(25)
    picks, radius = k_center(vectors, np.asarray(start, dtype=np.int64), 12, first, block=block)
    expected, expected_radius = slow_k_center(vectors, start, 12, first)
    assert picks.tolist() == expected
    np.testing.assert_allclose(radius, expected_radius, rtol=1e-5)


def test_k_center_starts_in_the_middle_and_takes_all_rows_once() -> None:
    vectors = np.array([[0.0], [1], [5], [2], [2]], np.float32)
    picks, radius = k_center(vectors, np.empty(0, np.int64), 5)
    assert picks[:3].tolist() == [3, 2, 0]
    assert sorted(picks.tolist()) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(radius, [np.inf, 9, 4, 1, 0])


def test_k_center_never_takes_a_covered_row() -> None:
    picks, radius = k_center(np.ones((5, 2), np.float32), np.array([0, 1]), 3)
    assert sorted(picks.tolist()) == [2, 3, 4]
    np.testing.assert_array_equal(radius, 0)


def test_k_center_refuses_too_many_and_covered_picks() -> None:
    with pytest.raises(InputError, match="1 to 3 picks"):
        k_center(rows(4), np.array([0]), 4)
    with pytest.raises(InputError, match="not covered"):
        k_center(rows(4), np.array([0]), 2, 0)


def plain_k_center(vectors: FloatArray, start: list[int], budget: int) -> list[int]:
    """One pass over all rows a pick, in float32 by subtraction; of equals the first."""
    reach = np.full(len(vectors), np.inf, dtype=np.float32)
    for row in start:
        reach = np.minimum(reach, squared_to(vectors, vectors[row]))
    picks = list[int]()
    for _ in range(budget):
        reach[[*start, *picks]] = -1
        picks.append(int(reach.argmax()))
        reach = np.minimum(reach, squared_to(vectors, vectors[picks[-1]]))
    return picks


@pytest.mark.parametrize("crowd", [1, 5, 299, 300, 301])
@pytest.mark.parametrize("kind", ["cloud", "grid", "plane", "copies", "far"])
def test_k_center_of_a_crowd_picks_as_of_all_rows(crowd: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybrid_al.kernels.distances.CROWD", crowd)
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(15)), axis=-1).reshape(300, 2).astype(np.float32)
    vectors = {
        "cloud": rows(300, 9),
        "grid": grid,  # full of ties
        "plane": rows(300, 2),
        "copies": np.repeat(rows(60), 5, axis=0),
        "far": rows(300) * np.float32(1e-3) + 50,
    }[kind]
    picks, _ = k_center(vectors, np.array([4, 8]), 250, block=1000)
    assert picks.tolist() == plain_k_center(vectors, [4, 8], 250)


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("block", [1, 63, 64, 65, 10_000])
@pytest.mark.parametrize("far", [0, 100])
def test_reach_is_lowered_to_what_subtraction_gives(precision: str, block: int, far: float) -> None:
    vectors = torch.from_numpy(np.concatenate([rows(90, 24), rows(10, 24)]) * 1e-2 + np.float32(far))
    reach = torch.from_numpy(np.random.default_rng(1).uniform(0, 2e-2, size=100).astype(np.float32))
    others = vectors[[3, 50, 91]]
    expected = torch.minimum(reach, (vectors[:, None] - others).square_().sum(2).amin(1))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        Rows(vectors, block).lower(reach, others)
    finally:
        torch.set_float32_matmul_precision(before)
    assert reach.tolist() == expected.tolist()
    assert (reach == 0).nonzero()[:, 0].tolist() == [1, 3, 50, 91, 93]  # rows 90 to 99 repeat 0 to 9


def test_draws_are_those_of_numpy() -> None:
    mass = torch.from_numpy(np.random.default_rng(0).exponential(size=50)).mul_(torch.arange(50) % 3)
    rng, numpy_rng = np.random.default_rng(1), np.random.default_rng(1)
    share = mass.numpy() / mass.numpy().sum()
    assert [draw(mass.numpy(), rng) for _ in range(200)] == [int(numpy_rng.choice(50, p=share)) for _ in range(200)]


def test_k_means_finds_clear_blobs() -> None:
    rng = np.random.default_rng(1)
    centres = 20 * rng.normal(size=(5, 4))
    truth = rng.integers(5, size=200)
    vectors = (centres[truth] + rng.normal(size=(200, 4))).astype(np.float32)
    centroids, cluster = k_means(vectors, 5, np.random.default_rng(0))
    assert len({(t, c) for t, c in zip(truth.tolist(), cluster.tolist(), strict=True)}) == 5
    for c in range(5):
        np.testing.assert_allclose(centroids[c], vectors[cluster == c].mean(axis=0), rtol=1e-4, atol=1e-4)


def test_k_means_rests_at_a_fixed_point_of_lloyd() -> None:
    vectors = rows(120) + 50
    centroids, cluster = k_means(vectors, 9, np.random.default_rng(3))
    np.testing.assert_array_equal(cluster, full(vectors, centroids).argmin(axis=1))


@pytest.mark.parametrize("k", [1, 6, 7, 8, 30])
def test_k_means_has_no_empty_cluster(k: int) -> None:
    vectors = np.repeat(rows(7), 4, axis=0)
    centroids, cluster = k_means(vectors, k, np.random.default_rng(0))
    assert len(centroids) <= min(k, 7)
    np.testing.assert_array_equal(np.unique(cluster), np.arange(len(centroids)))


def test_k_means_of_more_clusters_than_rows_gives_each_its_own() -> None:
    centroids, cluster = k_means(rows(5), 9, np.random.default_rng(0))
    np.testing.assert_allclose(centroids[cluster], rows(5), rtol=1e-5)


def test_k_means_depends_on_the_rng_alone() -> None:
    vectors = rows(90)
    first, again = (k_means(vectors, 8, np.random.default_rng(4))[1] for _ in range(2))
    other = k_means(vectors, 8, np.random.default_rng(5))[1]
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_k_means_leaves_its_rows_alone_unless_told_otherwise() -> None:
    vectors, copy = rows(40) + 3, rows(40) + 3
    expected = k_means(vectors, 5, np.random.default_rng(2))
    np.testing.assert_array_equal(vectors, copy)
    result = k_means(vectors, 5, np.random.default_rng(2), overwrite=True)
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-6)


def test_k_means_refuses_nothing() -> None:
    with pytest.raises(InputError, match="k=0"):
        k_means(rows(5), 0, np.random.default_rng(0))


def test_k_means_plus_plus_never_repeats_a_place() -> None:
    vectors = np.repeat(rows(6), 5, axis=0)
    seeds = k_means_plus_plus(vectors, 20, np.random.default_rng(0))
    assert len(np.unique(seeds // 5)) == len(seeds) == 6


def test_k_means_plus_plus_draws_by_squared_distance() -> None:
    vectors = np.array([[0.0], [1], [3]], np.float32)
    pairs = [tuple(k_means_plus_plus(vectors, 2, np.random.default_rng(s)).tolist()) for s in range(3000)]
    after_zero = [second for first, second in pairs if first == 0]
    assert np.mean(np.asarray(after_zero) == 2) == pytest.approx(0.9, abs=0.03)  # 9 : 1


def slow_outer(left: FloatArray, right: FloatArray, first: int, k: int, rng: np.random.Generator) -> list[int]:
    """Arthur and Vassilvitskii's draws among the outer products written out, from the seed `first`."""
    products = np.stack([np.outer(a, b).ravel() for a, b in zip(left, right, strict=True)]).astype(np.float64)
    seeds = [first]
    while len(seeds) < k:
        reach = full(products, products[seeds]).min(axis=1)
        if not reach.any():
            break
        seeds.append(int(rng.choice(len(reach), p=reach / reach.sum())))
    return seeds


@pytest.mark.parametrize("far", [0, 30])
@pytest.mark.parametrize("block", [5, 24, 25, 26, 4096])
def test_k_means_plus_plus_of_outer_products(far: float, block: int) -> None:
    for seed in range(10):
        left, right = rows(25, 3, seed), rows(25, 6, seed + 1) + np.float32(far)
        seeds = k_means_plus_plus_outer(left, right, 7, 25, np.random.default_rng(seed), block=block)
        assert seeds.tolist() == slow_outer(left, right, 7, 25, np.random.default_rng(seed))


def test_k_means_plus_plus_of_outer_products_takes_each_distinct_one_once() -> None:
    left, right = np.tile(rows(6, 3), (5, 1)), np.tile(rows(6, seed=1) + 100, (5, 1))
    left[::3] = 0  # these products are all zero, whatever the right side is
    distinct = len(np.unique(np.einsum("nc,nd->ncd", left, right), axis=0))
    seeds = k_means_plus_plus_outer(left, right, 3, 30, np.random.default_rng(0))
    assert len(seeds) == distinct == 5
    assert seeds.tolist() == slow_outer(left, right, 3, 30, np.random.default_rng(0))


def test_squared_to() -> None:
    np.testing.assert_allclose(squared_to(rows(4), rows(4, seed=1)), np.diag(full(rows(4), rows(4, seed=1))), rtol=1e-5)


@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-5, 1.0])
@pytest.mark.parametrize("centre", [0.0, 300.0])
def test_the_closest_centre_is_the_nearest_even_where_float32_cannot_tell(apart: float, centre: float) -> None:
    rng = np.random.default_rng(0)
    vectors = (centre + rng.normal(size=(300, 16))).astype(np.float32)
    centres = vectors[:7].astype(np.float64)
    centres = np.concatenate([centres + apart * rng.normal(size=centres.shape), centres])
    exact = ((vectors[:, None].astype(np.float64) - centres.astype(np.float32)) ** 2).sum(axis=2)
    distances = exact[np.arange(300), closest(vectors, centres, block=64)]
    np.testing.assert_allclose(distances, exact.min(axis=1), rtol=0, atol=1e-9)
    assert np.array_equal(closest(vectors, centres[:1]), np.zeros(300))
