"""Batch makers under constraints, against the enumeration of all batches; and what answers cost, from a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize

from hybrid_al.components import check_components
from hybrid_al.core.manifest import Manifest
from hybrid_al.core.types import FloatArray, IntArray, PredictionBatch
from hybrid_al.data.costs import read_costs
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.batches import build_batch
from hybrid_al.query.batches.constrained import knapsack
from hybrid_al.query.synthetic import make_state
from hybrid_al.recipe import parse


def predicted(state: QueryState, probs_MC: FloatArray) -> QueryState:
    """The same state with a model that says this of the candidates."""

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        yield PredictionBatch(indices, probs_MC[np.searchsorted(state.candidates, indices), None])

    return replace(state, predictor=predict)


def objective(values: FloatArray, probs: FloatArray, short: FloatArray, batch: list[int], strength: float) -> float:
    return float(values[batch].sum() - strength * np.abs(probs[batch].sum(axis=0) - short).sum())


def shortage(state: QueryState, budget: int, classes: int) -> FloatArray:
    counts = np.bincount(state.labels.class_targets(), minlength=classes)
    short: FloatArray = ((counts.sum() + budget) / classes - counts).clip(0)
    return short


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("solver", "loss"), [("program", 0.25), ("greedy", 0.6)])
def test_class_balance_comes_near_the_best_batch(seed: int, solver: str, loss: float) -> None:
    rng = np.random.default_rng(seed)
    state = make_state(22, labeled=8, seed=seed)
    probs, values = rng.dirichlet(np.full(3, 0.3), size=14), rng.random(14)
    short = shortage(state, 4, 3)
    every = [list(batch) for batch in itertools.combinations(range(14), 4)]
    best = max(objective(values, probs, short, batch, 0.6) for batch in every)
    batch = build_batch({"name": "class_balanced", "solver": solver}).make(predicted(state, probs), values, 4, rng)
    picks = batch.picks.tolist()
    assert objective(values, probs, short, picks, 0.6) > best - loss
    assert picks == sorted(picks, key=lambda i: -values[i])
    middle = np.median([objective(values, probs, short, batch, 0.6) for batch in every])
    assert objective(values, probs, short, picks, 0.6) > middle


def test_the_program_takes_what_it_can_as_a_whole() -> None:
    """The bound of the relaxed program: whole picks lose little of it on a pool that is not tiny."""
    rng, budget = np.random.default_rng(0), 30
    state = make_state(406, labeled=6)
    probs, values = rng.dirichlet(np.full(3, 0.3), size=400), rng.random(400)
    short = shortage(state, budget, 3)
    bound = scipy.optimize.linprog(
        np.concatenate([-values, np.full(3, 0.6)]),
        A_ub=np.block([[probs.T, -np.eye(3)], [-probs.T, -np.eye(3)]]),
        b_ub=np.concatenate([short, -short]),
        A_eq=np.concatenate([np.ones(400), np.zeros(3)])[None],
        b_eq=[budget],
        bounds=[(0, 1)] * 400 + [(0, None)] * 3,
    ).fun
    found = {}
    for solver in ("program", "greedy"):
        batch = build_batch({"name": "class_balanced", "solver": solver}).make(
            predicted(state, probs), values, budget, rng
        )
        found[solver] = objective(values, probs, short, batch.picks.tolist(), 0.6)
    assert bound is not None
    assert -bound >= found["program"] > -bound - 0.5
    assert found["program"] >= found["greedy"] - 0.3 > -bound - 2


def test_rare_classes_are_reached_in_a_long_tailed_pool() -> None:
    """Of 100 candidates 5 are of a class without labels: top-k by score misses them, balance does not."""
    state = make_state(106, labeled=6, classes=2, one_class=True)
    probs = np.repeat([[0.95, 0.05]], 100, axis=0)
    probs[40:45] = [0.1, 0.9]
    values = np.linspace(0.5, 1, 100)
    values[40:45] = 0.45
    rng = np.random.default_rng(0)
    for solver in ("program", "greedy"):
        batch = build_batch({"name": "class_balanced", "solver": solver, "strength": 1.0})
        assert set(range(40, 45)) <= set(batch.make(predicted(state, probs), values, 10, rng).picks.tolist())
    assert not set(range(40, 45)) & set(build_batch({"name": "topk"}).make(state, values, 10, rng).picks.tolist())


@pytest.mark.parametrize("seed", range(6))
def test_the_knapsack_is_within_one_place_of_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, costs, budget = rng.random(13), rng.uniform(0.2, 3, 13), 4
    for spend in (0.3, 0.6, 0.9, 1.0, 3.0):
        limit = spend * budget * float(costs.mean())
        every = [list(batch) for batch in itertools.combinations(range(13), budget)]
        allowed = [batch for batch in every if costs[batch].sum() <= limit]
        picks = knapsack(values, costs, limit, budget).tolist()
        assert len(set(picks)) == budget
        if not allowed:
            assert sorted(picks) == sorted(np.argsort(costs)[:budget].tolist())
            continue
        assert costs[picks].sum() <= limit
        assert values[picks].sum() > max(values[batch].sum() for batch in allowed) - values.max()
    assert sorted(knapsack(values, costs, 1e9, budget).tolist()) == sorted(np.argsort(-values)[:budget].tolist())


def test_on_a_larger_pool_the_knapsack_loses_next_to_nothing() -> None:
    rng = np.random.default_rng(1)
    values, costs, budget = rng.random(500), rng.lognormal(size=500), 40
    limit = 0.5 * budget * float(costs.mean())
    bound = scipy.optimize.linprog(
        -values, A_ub=costs[None], b_ub=[limit], A_eq=np.ones((1, 500)), b_eq=[budget], bounds=[(0, 1)] * 500
    ).fun
    picks = knapsack(values, costs, limit, budget)
    assert bound is not None
    assert costs[picks].sum() <= limit and -bound >= values[picks].sum() > -bound - 0.2


def test_the_batch_says_what_it_costs_and_refuses_free_answers() -> None:
    state = make_state()
    values = np.random.default_rng(0).random(len(state.candidates))
    maker = build_batch({"name": "knapsack", "spend": 0.8})
    batch = maker.make(state, values, 5, np.random.default_rng(0))
    cost = state.extra("cost", state.candidates)
    assert batch.note == f"cost {cost[batch.picks].sum():.3g} of {0.8 * 5 * cost.mean():.3g} together"
    costs = np.asarray(state.extras["cost"]).copy()
    costs[state.candidates[3]] = 0
    with pytest.raises(InputError, match=f"cost of sample {state.candidates[3]}: expected a number above 0"):
        maker.make(replace(state, extras={"cost": costs}), values, 5, np.random.default_rng(0))


def table(folder: Path, text: str) -> Path:
    file = folder / "costs.csv"
    file.write_text(text)
    return file


MANIFEST = Manifest(("a", "b", "c"), ("a", "b", "c"), ("a", "b", "c"), ("pool", "pool", "test"), ("1", "2", "3"))


def test_costs_are_read_by_id(tmp_path: Path) -> None:
    found = read_costs(table(tmp_path, "id,cost,note\nb,2.5,\na,1,x\n"), MANIFEST)
    np.testing.assert_array_equal(found, [1, 2.5, np.nan])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,price\na,1\n", "line 1: expected the columns id and cost"),
        ("id,cost\na,1\nz,1\n", "line 3: expected an id of the data, got 'z'"),
        ("id,cost\na,1\na,1\n", "line 3: expected each id once"),
        ("id,cost\na,-1\nb,1\n", "line 2: expected a cost above 0, got '-1'"),
        ("id,cost\na,much\nb,1\n", "line 2: expected a cost above 0, got 'much'"),
        ("id,cost\na,1\n", "expected a cost of every sample of the pool, got none of 'b'"),
    ],
)
def test_files_of_costs_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_costs(table(tmp_path, text), MANIFEST)
    with pytest.raises(InputError, match=r"oracle\.costs: .*expected a table \(CSV"):
        read_costs(tmp_path / "none.csv", MANIFEST)


@pytest.mark.parametrize(
    ("oracle", "message"),
    [
        ({"name": "simulated", "costs": "costs.csv"}, None),
        ({"name": "simulated"}, "query: expected what an answer costs"),
        ({"name": "simulated", "cost": "costs.csv"}, r"oracle \(simulated\): .*did you mean 'costs'"),
    ],
)
def test_a_recipe_says_where_costs_are(oracle: Mapping[str, str], message: str | None) -> None:
    recipe = parse({"name": "x", "query": {"name": "hybrid", "batch": {"name": "knapsack"}}, "oracle": oracle}, "test")
    if message is None:
        check_components(recipe)
    else:
        with pytest.raises(InputError, match=message):
            check_components(recipe)
