"""`pick`: every strategy picks what it picks in the loop, and what is wrong with its arrays is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import hybrid_al as hal
from hybrid_al.core.rng import derive
from hybrid_al.core.types import IntArray, Need, PredictionBatch, Query
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.query.synthetic import make_state, restrict

PASSES = 4


def arrays(state: QueryState) -> dict[str, Any]:
    """All that `pick` takes, of a state whose every row is in the pool."""
    assert state.predictor is not None and state.embeddings is not None
    batches = list(state.predictor(np.arange(state.labels.n), PASSES, 1))
    features = np.concatenate([b.features for b in batches if b.features is not None])
    return {
        "embeddings": state.embeddings.vectors,
        "labeled": state.labels.labeled,
        "labels": state.labels.class_targets(),
        "probs": np.concatenate([b.probs for b in batches]),
        "features": features,
        "head": batches[0].head,
        "groups": [f"patient {g}" for g in state.groups],
        "consistency": state.consistency,
        "extras": state.extras,
    }


def reference(name: str, state: QueryState, arguments: dict[str, Any], k: int) -> Query:
    """What the loop's own call of a strategy picks of the same numbers."""

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for i in indices.tolist():
            yield PredictionBatch(
                np.asarray([i]), arguments["probs"][[i]], arguments["features"][[i]], arguments["head"]
            )

    strategy = STRATEGIES[name]()
    restricted = restrict(replace(state, predictor=predict), strategy.needs | {"samples", "views"})
    return strategy.select(restricted, k, derive(3, "query", 1))


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_picks_as_in_the_loop(name: str) -> None:
    state = make_state(held_out=0)
    codes: dict[int, int] = {}
    state = replace(state, groups=np.asarray([codes.setdefault(g, len(codes)) for g in state.groups.tolist()]))
    arguments = arrays(state)
    picks = hal.pick(k=5, strategy=name, seed=3, **arguments)
    query = reference(name, state, arguments, 5)
    assert picks.indices.tolist() == query.indices.tolist()
    assert len(picks.reasons) == 5 and all(picks.reasons)
    if query.scores is not None and picks.scores is not None:
        by_index = dict(zip(query.scores.indices.tolist(), query.scores.values.tolist(), strict=True))
        assert picks.scores.tolist() == [by_index[i] for i in picks.indices.tolist()]
    else:
        assert query.scores is None and picks.scores is None


BY_ARGUMENT: dict[Need, tuple[str, ...]] = {
    "embeddings": ("embeddings",),
    "predictions": ("probs",),
    "features": ("features", "probs"),
    "samples": ("probs",),
    "views": ("probs",),
    "consistency": ("consistency",),
    "stage0": ("extras",),
    "history": ("extras",),
    "costs": ("extras",),
    "tissue": ("extras",),
    "domains": ("extras",),
    "clicks": ("extras",),
    "proxy": ("extras",),
    "patterns": ("extras",),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_need_that_was_not_met_is_named_by_its_argument(name: str) -> None:
    arguments = arrays(make_state(held_out=0))
    for need in STRATEGIES[name]().needs:
        for argument in BY_ARGUMENT[need]:
            less = {**arguments, argument: {} if argument == "extras" else None}
            with pytest.raises(InputError, match=rf"strategy {name}: .*{argument}") as caught:
                hal.pick(k=3, strategy=name, **less)
            assert "\n" not in str(caught.value)


def test_one_pass_does_not_do_for_strategies_of_several() -> None:
    arguments = arrays(make_state(held_out=0))
    arguments["probs"] = arguments["probs"].mean(axis=1)
    with pytest.raises(InputError, match=r"strategy bald: expected probs \(N, S, C\) .*, got \(N, C\)"):
        hal.pick(k=3, strategy="bald", **arguments)
    assert len(hal.pick(k=3, strategy="margin", **arguments).indices) == 3


@pytest.mark.parametrize(
    ("name", "argument"), [("alfamix", "labels"), ("alfamix", "head"), ("learning_loss", "labels")]
)
def test_what_is_no_need_is_named_too(name: str, argument: str) -> None:
    arguments = arrays(make_state(held_out=0))
    with pytest.raises(InputError, match=rf"strategy {name}: expected {argument}\b.*, got none"):
        hal.pick(k=3, strategy=name, **{**arguments, argument: None})


X = np.random.default_rng(0).normal(size=(30, 4))


def test_labeled_may_be_positions_a_mask_or_a_mapping() -> None:
    mask = np.zeros(30, dtype=bool)
    mask[[2, 7]] = True
    several = ([2, 7], np.asarray([2, 7]), mask, {2: 0, 7: 1})
    picks = [hal.pick(X, 4, labeled=labeled).indices.tolist() for labeled in several]
    assert picks[0] == picks[1] == picks[2] == picks[3] and not {2, 7} & set(picks[0])
    assert hal.pick(X, 4).indices.tolist() == hal.pick(X, 4, labeled=[]).indices.tolist()


def test_a_strategy_may_be_a_mapping_or_an_object() -> None:
    by_mapping = hal.pick(X, 4, {"name": "typiclust", "max_clusters": 2})
    assert by_mapping.indices.tolist() == hal.pick(X, 4, STRATEGIES["typiclust"](max_clusters=2)).indices.tolist()  # type: ignore[call-arg]
    assert hal.pick(X, 4, f"{__name__}:Last").indices.tolist() == [26, 27, 28, 29]


@dataclass(frozen=True)
class Last:
    needs: frozenset[Need] = frozenset()

    def select(self, state: QueryState, budget: int, rng: np.random.Generator) -> Query:
        return Query(state.candidates[-budget:])


def test_groups_may_be_all_there_is() -> None:
    groups = ["a"] * 10 + ["b"] * 10
    assert sorted(groups[i] for i in hal.pick(None, 4, "random_per_group", groups=groups).indices) == list("aabb")


def _broken() -> np.ndarray[Any, Any]:
    broken = X.copy()
    broken[3, 1] = np.nan
    return broken


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "not finite": (lambda: hal.pick(_broken(), 3), r"embedding of sample 3: expected finite numbers"),
    "too many": (lambda: hal.pick(X, 31), r"k: expected 1 to 30, the rows without a label, got 31"),
    "more than are left": (lambda: hal.pick(X, 29, labeled=[0, 1]), r"k: expected 1 to 28"),
    "none is left": (lambda: hal.pick(X, 3, labeled=range(30)), r"labeled: expected rows .* left .* got all 30 rows"),
    "no picks": (lambda: hal.pick(X, 0), r"k: expected 1 to 30"),
    "half a pick": (lambda: hal.pick(X, 1.5), r"k: expected 1 to 30"),  # type: ignore[arg-type]
    "labels of another length": (lambda: hal.pick(X, 3, labeled=[0, 1], labels=[1]), r"labels: expected 2 classes"),
    "labels twice": (lambda: hal.pick(X, 3, labeled={0: 1}, labels=[1]), r"labels: expected nothing beside a mapping"),
    "a mask of another length": (lambda: hal.pick(X, 3, labeled=[True, False]), r"labeled: expected a mask of 30 rows"),
    "outside": (lambda: hal.pick(X, 3, labeled=[30]), r"labeled: expected positions from 0 to 29, got 30"),
    "twice": (lambda: hal.pick(X, 3, labeled=[1, 1]), r"labeled: expected each position once"),
    "names": (lambda: hal.pick(X, 3, labeled=["a"]), r"labeled: expected whole numbers"),
    "probs of another length": (
        lambda: hal.pick(X, 3, "margin", probs=np.full((29, 2), 0.5)),
        r"probs: expected 30 rows, as embeddings has, got 29",
    ),
    "no probabilities": (
        lambda: hal.pick(X, 3, "margin", probs=np.ones((30, 2))),
        r"sample 0: expected probabilities that sum to one",
    ),
    "groups of another length": (lambda: hal.pick(X, 3, groups=["a"]), r"groups: expected 30 rows"),
    "one axis": (lambda: hal.pick(X[0], 3), r"embeddings: expected an array \(N, D\)"),
    "ragged": (lambda: hal.pick([[1.0], [1.0, 2.0]], 1), r"embeddings: .*rows of unlike lengths"),
    "nothing": (lambda: hal.pick(None, 3, "random"), r"embeddings: expected an array \(N, D\), or probs or groups"),
    "unknown strategy": (lambda: hal.pick(X, 3, "typiclus"), r"strategy\.name: .*did you mean 'typiclust'"),
    "unknown parameter": (lambda: hal.pick(X, 3, {"name": "typiclust", "neighbors": 3}), r"did you mean 'neighbours'"),
    "no name": (lambda: hal.pick(X, 3, {"neighbours": 3}), r"strategy\.name: expected the name of a strategy"),
    "no strategy": (lambda: hal.pick(X, 3, 7), r"strategy: expected a strategy, which has needs and select"),  # type: ignore[arg-type]
    "unknown extra": (lambda: hal.pick(X, 3, extras={"costs": X[:, 0]}), r"extras: .*did you mean 'cost'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(case: str) -> None:
    call, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros((6, 0))}, r"embeddings: expected .* at least one column, got \(6, 0\)"),
        ({"extras": np.zeros(6)}, r"extras: expected a mapping of names .*, got ndarray"),
        ({"consistency": np.zeros(6)}, r"consistency: expected .*Consistency, the record of a training, got ndarray"),
        ({"labeled": [0, 1, 1]}, r"labeled: expected each position once, or a mask .*, got position 1 2 times"),
        ({"labeled": [0, 1], "labels": [0, 3], "probs": np.full((6, 3), 1 / 3)}, r"labels: expected classes 0 to 2"),
        ({"seed": -1}, r"seed: expected a whole number of 0 or more, got -1"),
        ({"seed": "a"}, r"seed: expected a whole number of 0 or more, got 'a'"),
    ],
)
def test_what_newcomers_gave_is_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hal.pick(**{"embeddings": np.eye(6), "k": 2, **arguments})
