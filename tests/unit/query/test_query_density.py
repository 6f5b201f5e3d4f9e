"""Density peaks, USL, MMD and ActiveFT against references that take their time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.similarity import similarity_sums
from hybrid_al.query.base import QueryState, QueryStrategy
from hybrid_al.query.clusters import cluster_pool
from hybrid_al.query.cover import pair_distances
from hybrid_al.query.strategies import MMD, USL, ActiveFT, DensityPeaks
from hybrid_al.query.strategies.activeft import prototype_loss
from hybrid_al.query.synthetic import make_state


def pool_of(state: QueryState) -> tuple[IntArray, FloatArray]:
    pool = np.union1d(state.candidates, state.labels.labeled)
    return pool, state.vectors(pool, "cosine").astype(np.float64)


def full(a: FloatArray, b: FloatArray) -> FloatArray:
    distances: FloatArray = np.linalg.norm(a[:, None] - b[None], axis=2)
    return distances


@pytest.mark.parametrize("block", [9, 10, 11, 4096])
def test_similarity_sums(block: int) -> None:
    rows, base = (np.random.default_rng(s).normal(size=(n, 3)).astype(np.float32) for s, n in ((0, 20), (1, 10)))
    found = similarity_sums(rows, base, lambda squared: (-squared).exp(), block=block)
    np.testing.assert_allclose(found, np.exp(-(full(rows.astype(np.float64), base) ** 2)).sum(axis=1))


@pytest.mark.parametrize("labeled", [0, 6])
@pytest.mark.parametrize("seed", range(4))
def test_density_peaks(labeled: int, seed: int) -> None:
    state = make_state(50, labeled=labeled, seed=seed)
    query = DensityPeaks(share=0.1).select(state, 10, np.random.default_rng(seed))
    pool, vectors = pool_of(state)
    distance = full(vectors, vectors)
    cutoff = np.quantile(pair_distances(vectors, np.random.default_rng(seed)), 0.1)
    density = [sum(np.exp(-((d / cutoff) ** 2)) for j, d in enumerate(row) if j != i) for i, row in enumerate(distance)]
    known = np.searchsorted(pool, state.labels.labeled).tolist()
    worth = dict[int, float]()
    for i in np.searchsorted(pool, state.candidates).tolist():
        denser = [float(distance[i, j]) for j in range(len(pool)) if density[j] > density[i]]
        away = min(denser) if denser else float(distance[i].max())
        worth[int(pool[i])] = density[i] * min([away, *(float(distance[i, j]) for j in known)])
    assert query.indices.tolist() == sorted(worth, key=lambda i: -worth[i])[:10]


def slow_mmd(state: QueryState, sigma: float, picks: list[int]) -> float:
    """Squared discrepancy between labels with picks, and pool: all terms."""
    _, vectors = pool_of(state)
    indices = np.concatenate([state.labels.labeled, picks]).astype(np.int64)
    batch = state.vectors(indices, "cosine").astype(np.float64)
    means = [np.exp(-((full(a, b) / sigma) ** 2)).mean() for a, b in ((batch, batch), (batch, vectors))]
    return float(means[0] - 2 * means[1])


@pytest.mark.parametrize("labeled", [0, 6])
@pytest.mark.parametrize("sigma", [0.4, 1.0])
def test_mmd_lowers_the_discrepancy_as_far_as_one_pick_can(labeled: int, sigma: float) -> None:
    state = make_state(40, labeled=labeled)
    picks = MMD(sigma=sigma).select(state, 8, np.random.default_rng(0)).indices.tolist()
    for i, pick in enumerate(picks):
        tried = {c: slow_mmd(state, sigma, [*picks[:i], c]) for c in state.candidates.tolist() if c not in picks[:i]}
        assert pick == min(tried, key=lambda c: tried[c])


def slow_usl(state: QueryState, strategy: USL, budget: int, seed: int) -> set[int]:
    """The turns of section 3.4, sample by sample; here no cluster is asked twice."""
    clusters = cluster_pool(state, len(state.labels.labeled) + budget, "cosine", np.random.default_rng(seed))
    distance = full(clusters.vectors.astype(np.float64), clusters.vectors)
    density = [1 / (np.sort(row)[1 : strategy.neighbours + 1] ** 2).mean() for row in distance]
    held = set(clusters.cluster[clusters.labeled].tolist())
    sizes = np.bincount(clusters.cluster)
    order = sorted(set(clusters.cluster.tolist()) - held, key=lambda c: -sizes[c])[:budget]
    crowding, labeled = np.zeros(len(density)), np.flatnonzero(clusters.labeled).tolist()
    for _ in range(strategy.iterations):
        score = [d - strategy.weight * r for d, r in zip(density, crowding, strict=True)]
        members = [np.flatnonzero(clusters.cluster == c).tolist() for c in order]
        best = [max(rows, key=score.__getitem__) for rows in members]
        for i in range(len(density)):
            others = [j for j in [*best, *labeled] if clusters.cluster[j] != clusters.cluster[i]]
            new = sum(float(distance[i, j]) ** (-2 * strategy.alpha) for j in others)
            crowding[i] = strategy.momentum * crowding[i] + (1 - strategy.momentum) * new
    return {int(clusters.samples[i]) for i in best}


@pytest.mark.parametrize("strategy", [USL(neighbours=5), USL(neighbours=7, weight=2, momentum=0.5, iterations=4)])
@pytest.mark.parametrize("seed", range(3))
def test_usl(strategy: USL, seed: int) -> None:
    state = make_state(60, labeled=3, seed=seed, dim=4)
    query = strategy.select(state, 6, np.random.default_rng(seed))
    assert set(query.indices.tolist()) == slow_usl(state, strategy, 6, seed)


def unit(n: int, seed: int) -> FloatArray:
    rows = np.random.default_rng(seed).normal(size=(n, 5))
    found: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("fixed", [0, 3])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_the_loss_and_gradient_of_activeft(fixed: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybrid_al.query.strategies.activeft.BLOCK", 7)
    pool, free, held = unit(30, 0), 2 * unit(4, 1), unit(fixed, 2)
    raw = torch.from_numpy(free).requires_grad_()
    centres = torch.cat([torch.nn.functional.normalize(raw), torch.from_numpy(held)])
    losses = list[torch.Tensor]()
    for row in torch.from_numpy(pool):
        near = centres @ row / temperature
        k = int(near.argmax())
        others = torch.cat([centres[:k], centres[k + 1 :]]) @ centres[k] / temperature
        losses.append(torch.logsumexp(torch.cat([near[k : k + 1], others]), 0) - near[k])
    expected = torch.stack(losses).mean()
    value = expected.item()
    expected.backward()  # type: ignore[no-untyped-call]
    loss, gradient, served = prototype_loss(pool, free, held, temperature)
    assert loss == pytest.approx(value)
    assert raw.grad is not None
    np.testing.assert_allclose(gradient, raw.grad.numpy(), rtol=1e-6, atol=1e-9)
    assert served.sum() <= 30 and (served.sum() == 30) == (fixed == 0)


def test_activeft_spreads_over_blobs() -> None:
    which = np.repeat(np.arange(4), [40, 10, 10, 10])
    pool = (np.random.default_rng(0).normal(size=(70, 6)) * 0.05 + np.eye(6)[which]).astype(np.float64)
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    free = pool[:4].copy()
    losses = list[float]()
    for _ in range(60):
        loss, gradient, _ = prototype_loss(pool, free, np.empty((0, 6)), 0.07)
        losses.append(loss)
        free -= 0.05 * gradient / np.abs(gradient).max()
    assert losses[-1] < 0.8 * losses[0]
    assert sum(b > a for a, b in pairwise(losses)) < 20


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DensityPeaks(share=0), "DensityPeaks.share"),
        (lambda: MMD(sigma=0), "MMD.sigma"),
        (lambda: MMD(rows=0), "MMD.rows"),
        (lambda: USL(neighbours=0), "USL.neighbours: expected a whole number of 1 or more"),
        (lambda: USL(momentum=1), "USL.momentum: expected a number of 0 or more and below 1"),
        (lambda: ActiveFT(temperature=0), "ActiveFT.temperature: expected a number above 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(build: Callable[[], QueryStrategy], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
