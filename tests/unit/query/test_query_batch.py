"""Batch makers against references that take their time, and what all of them keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, FloatArray, IntArray, PredictionBatch
from hybrid_al.errors import InputError
from hybrid_al.kernels.weighted_kmeans import weighted_k_means
from hybrid_al.query.base import QueryState
from hybrid_al.query.batches import build_batch
from hybrid_al.query.batches.base import BatchParams
from hybrid_al.query.dataset_map import map_of_labels
from hybrid_al.query.linear_head import scaled_embeddings
from hybrid_al.query.strategies import Hybrid
from hybrid_al.query.synthetic import make_state
from hybrid_al.scores import samples as scores


def values_of(state: QueryState, seed: int = 7) -> FloatArray:
    return np.random.default_rng(seed).random(len(state.candidates))


def picks_of(params: BatchParams, state: QueryState, values: FloatArray, budget: int, seed: int = 0) -> IntArray:
    return build_batch(params).make(state, values, budget, np.random.default_rng(seed)).picks


def full(a: FloatArray, b: FloatArray) -> FloatArray:
    distances: FloatArray = np.linalg.norm(a[:, None] - b[None], axis=2)
    return distances


@pytest.mark.parametrize(
    ("params", "weights"),
    [
        ({"name": "power"}, [0.5, 0.25, 0.25, 0]),
        ({"name": "power", "beta": 2}, [4, 1, 1, 0]),
        ({"name": "softmax"}, np.exp([0.5, 0.25, 0.25, 0])),
        ({"name": "softmax", "beta": 4.0}, np.exp([2, 1, 1, 0.0])),
        ({"name": "softrank"}, [1, 5 / 12, 5 / 12, 1 / 4]),
    ],
)
def test_draws_are_in_proportion(params: BatchParams, weights: list[float]) -> None:
    state, values = make_state(4, labeled=0), np.array([0.5, 0.25, 0.25, 0])
    batches = np.array([picks_of(params, state, values, 2, seed) for seed in range(1500)])
    p = np.asarray(weights) / np.sum(weights)
    np.testing.assert_allclose(np.bincount(batches[:, 0], minlength=4) / 1500, p, atol=0.04)
    after_first = np.bincount(batches[batches[:, 0] == 0, 1], minlength=4)
    if params["name"] != "softrank":  # the second of equals has no rank of its own
        np.testing.assert_allclose(after_first[1:] / after_first.sum(), p[1:] / p[1:].sum(), atol=0.07)


@pytest.mark.parametrize("cuts", [1, 4])
def test_stochastic_takes_the_best_random_batch(cuts: int) -> None:
    state, rng = make_state(40), np.random.default_rng(3)
    values, found = values_of(state), list[list[int]]()
    for _ in range(cuts):
        order = rng.permutation(34).tolist()
        found += [order[i : i + 5] for i in range(0, 30, 5)]
    best = max(found, key=lambda batch: sum(values[batch]))
    picks = picks_of({"name": "stochastic", "cuts": cuts}, state, values, 5, 3)
    assert picks.tolist() == sorted(best, key=lambda i: -values[i])


@pytest.mark.parametrize("power", [None, 1, 4.0])
@pytest.mark.parametrize("labeled", [0, 6])
@pytest.mark.parametrize("seed", range(3))
def test_kmeanspp(power: float | None, labeled: int, seed: int) -> None:
    state = make_state(40, labeled=labeled)
    values, rng = values_of(state).round(1), np.random.default_rng(seed)
    values[17] = 2  # the best-scored is no tie
    weights = values
    if power is not None:  # the mid-rank: how many are below, half of those that are alike
        ranks = [sum(w < v for w in values) + sum(w == v for w in values) / 2 for v in values]
        weights = (np.array(ranks) / len(values)) ** power
    rng.random(len(values))  # what ties are broken with
    vectors = state.vectors(state.candidates, "cosine").astype(np.float64)
    expected = [int(values.argmax())]
    while len(expected) < 10:
        centres = np.concatenate([vectors[expected], state.vectors(state.labels.labeled, "cosine")])
        mass = weights * full(vectors, centres).min(axis=1) ** 2
        mass[expected] = 0
        expected.append(int(rng.choice(len(mass), p=mass / mass.sum())))
    params: BatchParams = {"name": "kmeanspp"} if power is None else {"name": "kmeanspp", "power": power}
    assert picks_of(params, state, values, 10, seed).tolist() == expected


def test_kmeanspp_by_ranks_knows_no_scale_and_no_sign() -> None:
    state = make_state(40)
    values, params = values_of(state), {"name": "kmeanspp", "power": 4.0}
    assert picks_of(params, state, values, 10).tolist() == picks_of(params, state, np.log(values), 10).tolist()


@pytest.mark.parametrize("labeled", [0, 6])
def test_weighted_kmeans_takes_the_nearest_to_each_centre(labeled: int) -> None:
    state = make_state(80, labeled=labeled)
    values, vectors = values_of(state), state.vectors(state.candidates, "cosine")
    for beside in (True, False):
        fixed = state.vectors(state.labels.labeled, "cosine") if beside else None
        centres, cluster = weighted_k_means(vectors, values, 7, np.random.default_rng(2), 50, fixed)
        order = sorted(range(7), key=lambda c: -values[cluster == c].sum())
        expected = [int(np.linalg.norm(vectors - centres[c], axis=1).argmin()) for c in order]
        params = {"name": "weighted_kmeans", "labeled": beside}
        assert picks_of(params, state, values, 7, 2).tolist() == expected


def test_what_is_labeled_needs_no_other_label_beside_it() -> None:
    """Five blobs, one of them large and with a label at its mean: with it as a centre no pick is made there."""
    state, blob = make_blobs(sizes=(60, 10, 10, 10, 10), labeled_of=0)
    values = np.ones(len(state.candidates))
    for name in ("weighted_kmeans", "kmeans"):
        params = {"name": name} | ({"shortlist": 100} if name == "kmeans" else {})
        crowded = [picks_of({**params, "labeled": False}, state, values, 4, seed) for seed in range(10)]
        apart = [picks_of(params, state, values, 4, seed) for seed in range(10)]
        assert not any((blob[state.candidates[picks]] == 0).any() for picks in apart), name
        assert all((blob[state.candidates[picks]] == 0).any() for picks in crowded), name


def make_blobs(sizes: tuple[int, ...], labeled_of: int) -> tuple[QueryState, IntArray]:
    """Blobs around axes, and the blob of each row; the first row of one blob is its mean, and labeled."""
    rng, blob = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    vectors = (np.eye(8)[blob] + 0.001 * rng.normal(size=(len(blob), 8))).astype(np.float32)
    first = int(np.flatnonzero(blob == labeled_of)[0])
    vectors[first] = np.eye(8)[labeled_of]
    state = replace(
        make_state(),
        labels=LabelStore(len(blob), (Annotation(first, "class", 0, "test", 0),)),
        candidates=np.setdiff1d(np.arange(len(blob)), [first]),
        groups=np.arange(len(blob)),
        embeddings=Embeddings(vectors, "e", "m"),
    )
    return state, blob


@pytest.mark.parametrize("labeled", [0, 6])
def test_cover_represents_the_pool_from_the_shortlist(labeled: int) -> None:
    state = make_state(60, labeled=labeled)
    values = values_of(state)

    def unit(indices: object) -> FloatArray:
        return state.vectors(np.asarray(indices), "cosine").astype(np.float64)

    shortlist = np.argsort(-values)[:18].tolist()
    pool = unit(np.union1d(state.candidates, state.labels.labeled))
    served = (1 + unit(state.labels.labeled) @ pool.T).max(axis=0, initial=0)
    expected = list[int]()
    for _ in range(6):
        alike = {i: 1 + unit([state.candidates[i]])[0] @ pool.T for i in shortlist if i not in expected}
        expected.append(max(alike, key=lambda i: float((alike[i] - served).clip(0).sum())))
        served = np.maximum(served, alike[expected[-1]])
    assert picks_of({"name": "cover", "shortlist": 3}, state, values, 6).tolist() == expected


@pytest.mark.parametrize(("gamma", "sigma"), [(1, 1.0), (2.5, 0.6)])
def test_dpp_raises_the_determinant_most(gamma: float, sigma: float) -> None:
    state = make_state(60)
    values = values_of(state) + 0.1
    shortlist = np.argsort(-values)[:20].tolist()
    vectors = state.vectors(state.candidates, "cosine").astype(np.float64)
    kernel = np.exp(-((full(vectors, vectors) / sigma) ** 2)) * np.outer(values**gamma, values**gamma)
    expected = list[int]()
    for _ in range(5):
        others = [i for i in shortlist if i not in expected]
        expected.append(max(others, key=lambda i: float(np.linalg.det(kernel[np.ix_([*expected, i], [*expected, i])]))))
    params: BatchParams = {"name": "dpp", "shortlist": 4, "gamma": gamma, "sigma": sigma}
    assert picks_of(params, state, values, 5).tolist() == expected


@pytest.mark.parametrize("inner", ["topk", "kmeans", "kcenter", "power"])
@pytest.mark.parametrize("most", [1, 2])
def test_no_group_is_asked_too_often(inner: str, most: int) -> None:
    state = make_state(80)
    state = replace(state, groups=np.arange(len(state.groups)) // 8)
    values = values_of(state)
    picks = picks_of({"name": "per_group", "most": most, "batch": {"name": inner}}, state, values, 9)
    groups = state.groups[state.candidates]
    assert max(Counter(groups[picks].tolist()).values()) <= most
    best = [i for i in range(len(values)) if sum(values[groups == groups[i]] > values[i]) < most]
    assert set(picks.tolist()) <= set(best)
    if inner == "topk":
        assert picks.tolist() == sorted(best, key=lambda i: -values[i])[:9]


def test_where_groups_are_too_few_the_best_of_the_rest_fill_up() -> None:
    state = make_state(40)
    state = replace(state, groups=np.zeros_like(state.groups))
    values = values_of(state)
    picks = picks_of({"name": "per_group", "most": 2, "batch": {"name": "kmeans"}}, state, values, 5)
    assert picks.tolist() == np.argsort(-values)[:5].tolist()


def test_a_recipe_may_hold_a_batch_maker_inside_another() -> None:
    params = {"batch": {"name": "per_group", "most": 2, "batch": {"name": "kmeans", "shortlist": 3}}}
    strategy = TypeAdapter(Hybrid).validate_python(params)
    assert strategy == Hybrid(batch={"name": "per_group", "most": 2, "batch": {"name": "kmeans", "shortlist": 3}})
    assert "embeddings" in strategy.needs
    query = strategy.select(make_state(), 5, np.random.default_rng(0))
    assert query.reasons is not None and query.reasons[0].endswith("one of 5 clusters; at most 2 of a group")


@pytest.mark.parametrize("name", ["power", "kmeanspp", "weighted_kmeans", "dpp"])
@pytest.mark.parametrize("bad", [-0.1, np.nan])
def test_weights_are_not_negative(name: str, bad: float) -> None:
    state = make_state()
    values = values_of(state)
    values[4] = bad
    with pytest.raises(InputError, match=f"batch {name}: expected finite numbers of 0 or more"):
        picks_of({"name": name}, state, values, 3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "power", "beta": 0}, "batch.beta"),
        ({"name": "stochastic", "cuts": 0}, "batch.cuts"),
        ({"name": "kmeanspp", "power": 0}, "batch.power"),
        ({"name": "weighted_kmeans", "iterations": 1.5}, "batch.iterations"),
        ({"name": "cover", "rows": 0}, "batch.rows"),
        ({"name": "dpp", "sigma": -1}, "batch.sigma"),
        ({"name": "dpp", "metric": "l1"}, "batch.metric"),
        ({"name": "cluster_margin", "size": 0}, "batch.size"),
        ({"name": "class_balanced", "strength": 0}, "batch.strength"),
        ({"name": "class_balanced", "solver": "gredy"}, "did you mean 'greedy'"),
        ({"name": "knapsack", "spend": 0}, "batch.spend"),
        ({"name": "two_stage", "keep": 0}, "batch.keep"),
        ({"name": "two_stage", "score": {"margn": 1}}, "did you mean 'margin'"),
        ({"name": "two_stage", "fusion": "sum"}, "fusion"),
        ({"name": "without_outliers", "share": 1}, "batch.share"),
        ({"name": "per_group", "most": 0}, "batch.most"),
        ({"name": "per_group", "batch": {"name": "top"}}, "topk"),
    ],
)
def test_settings_that_make_no_sense_are_refused(params: BatchParams, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_batch(params)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_cluster_margin_goes_round_from_the_smallest_cluster(size: int) -> None:
    from scipy.cluster.hierarchy import fcluster, linkage

    state = make_state(80)
    values, rng = values_of(state), np.random.default_rng(5)
    best = np.argsort(-values)[:24]
    rng.random(len(values))  # what ties are broken with
    shortlist = rng.permutation(best)
    pool = np.union1d(state.candidates, state.labels.labeled)
    tree = linkage(state.vectors(pool, "cosine").astype(np.float64), "average")
    cluster = fcluster(tree, -(-80 // size), "maxclust")[np.searchsorted(pool, state.candidates[shortlist])]
    waiting = {c: shortlist[cluster == c].tolist() for c in np.unique(cluster).tolist()}
    order, expected = sorted(waiting, key=lambda c: (len(waiting[c]), c)), list[int]()
    while len(expected) < 8:
        expected += [waiting[c].pop(0) for c in order if waiting[c]]
    params: BatchParams = {"name": "cluster_margin", "shortlist": 3, "size": size}
    assert picks_of(params, state, values, 8, 5).tolist() == expected[:8]


def test_two_stages_rank_the_best_anew() -> None:
    state, values = make_state(80), values_of(make_state(80))
    shortlist = np.argsort(-values)[:15]
    margins = scores.margin(state.probs())
    picks = picks_of({"name": "two_stage", "keep": 3}, state, values, 5)
    assert picks.tolist() == sorted(shortlist, key=lambda i: -margins[i])[:5]
    both: BatchParams = {"name": "two_stage", "keep": 3, "score": {"consistency": 1}, "batch": {"name": "kmeans"}}
    assert set(picks_of(both, state, values, 5).tolist()) <= set(shortlist.tolist())
    assert build_batch(both).needs == {"consistency", "embeddings"}


def test_a_second_stage_costs_no_second_pass() -> None:
    state, calls = make_state(), list[int]()
    inner = state.predictor
    assert inner is not None

    def counted(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        calls.append(len(indices))
        return inner(indices, samples, views)

    strategy = Hybrid(score={"entropy": 1}, batch={"name": "two_stage", "keep": 2})
    query = strategy.select(replace(state, predictor=counted), 4, np.random.default_rng(0))
    assert calls == [len(state.candidates)]
    assert query.indices.tolist() == strategy.select(state, 4, np.random.default_rng(0)).indices.tolist()


def test_outliers_are_left_out() -> None:
    state, values = make_state(60), values_of(make_state(60))
    familiarity = state.record("confidence", state.candidates) * state.record("variability", state.candidates)
    shortlist = np.argsort(familiarity)[27:]  # half of 54
    picks = picks_of({"name": "without_outliers", "share": 0.5}, state, values, 6)
    assert picks.tolist() == sorted(shortlist, key=lambda i: -values[i])[:6]
    everything = picks_of({"name": "without_outliers", "share": 0.9}, state, values, 50)
    assert len(everything) == 50


def test_outliers_of_a_training_on_labels_are_left_out() -> None:
    """The map of a head by torch, epoch by epoch; what it knew from the start or never learned is left out."""
    state = make_state(60, labeled=9)
    labeled, targets = state.labels.labeled, state.labels.class_targets()
    size = 8**-0.5
    rows, others = (torch.from_numpy(size * scaled_embeddings(state, i)) for i in (labeled, state.candidates))
    head, history = torch.zeros(3, 8, dtype=torch.float64, requires_grad=True), []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(rows @ head.T, torch.from_numpy(targets))
        (slope,) = torch.autograd.grad(loss, head)
        head = (head - 2.0 * slope).detach().requires_grad_()
        history.append((others @ head.T).softmax(dim=1).detach().numpy())
    of_last = np.stack(history)[:, np.arange(len(others)), history[-1].argmax(axis=1)]
    confidence, variability = map_of_labels(state)
    np.testing.assert_allclose(confidence, of_last.mean(axis=0))
    np.testing.assert_allclose(variability, of_last.std(axis=0), atol=1e-9)
    shortlist = np.argsort(confidence * variability)[25:]  # half of 51
    values = values_of(state)
    picks = picks_of({"name": "without_outliers", "share": 0.5, "map": "labels"}, state, values, 6)
    assert picks.tolist() == sorted(shortlist, key=lambda i: -values[i])[:6]
    one_class = make_state(60, one_class=True)
    assert set(map_of_labels(one_class)[0]) == {1.0}
    assert Hybrid(batch={"name": "without_outliers", "map": "labels"}).needs == {
        "predictions",
        "consistency",
        "embeddings",
    }


def test_whole_groups_are_asked_by_their_best() -> None:
    state = make_state(60)
    values, groups = values_of(state), state.groups[state.candidates]
    mean = {g: np.sort(values[groups == g])[-2:].mean() for g in np.unique(groups)}
    expected = sorted(range(len(values)), key=lambda i: (-mean[groups[i]], -values[i]))
    picks = picks_of({"name": "whole_groups", "top": 2}, state, values, 14)
    assert picks.tolist() == expected[:14]


def test_batch_makers_nest_as_deep_as_one_likes() -> None:
    params = {
        "name": "two_stage",
        "batch": {
            "name": "without_outliers",
            "batch": {"name": "per_group", "batch": {"name": "kmeans", "shortlist": 3}},
        },
    }
    strategy = TypeAdapter(Hybrid).validate_python({"batch": params})
    assert strategy.needs == {"predictions", "consistency", "stage0", "embeddings"}
    assert len(strategy.select(make_state(), 5, np.random.default_rng(0)).indices) == 5
