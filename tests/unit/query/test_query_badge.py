"""BADGE against gradients written out, and where gradients repeat or vanish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybrid_al.core.types import FloatArray, IntArray, PredictionBatch, Query
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import Badge
from hybrid_al.query.synthetic import make_state


def predicted(state: QueryState, probs_MC: FloatArray, features_MD: FloatArray | None) -> QueryState:
    """The same state with a model that says this of the candidates, in blocks of ten, and nothing of other samples."""

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        assert samples == views == 1
        place = np.searchsorted(state.candidates, indices)
        np.testing.assert_array_equal(state.candidates[place], indices)
        for part in np.split(place, range(10, len(place), 10)):
            features = None if features_MD is None else features_MD[part]
            yield PredictionBatch(state.candidates[part], probs_MC[part, None], features)

    return replace(state, predictor=predict)


def outputs(m: int, classes: int, dim: int = 5, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.3), size=m), rng.normal(size=(m, dim)).astype(np.float32) + 1


def gradient(probs: FloatArray, features: FloatArray) -> FloatArray:
    """Of the cross-entropy in the last layer's weights (C, D), for the class predicted: by torch."""
    z = torch.from_numpy(features.astype(np.float64))
    weight = torch.zeros(len(probs), len(z), dtype=torch.float64, requires_grad=True)
    logits = torch.from_numpy(np.log(probs.astype(np.float64)))
    torch.nn.functional.cross_entropy((weight @ z + logits)[None], logits.argmax()[None]).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    dense: FloatArray = weight.grad.numpy().ravel()
    return dense


def slow(probs: FloatArray, features: FloatArray, budget: int, rng: np.random.Generator) -> list[int]:
    """Algorithm 1 with dense gradients, the largest first."""
    g = np.stack([gradient(p, z) for p, z in zip(probs, features, strict=True)])
    rng.random(len(g))  # what ties are broken with
    picks = [int(np.argmax(np.linalg.norm(g, axis=1)))]
    while len(picks) < budget:
        reach = np.min([np.square(g - g[p]).sum(axis=1) for p in picks], axis=0)
        picks.append(int(rng.choice(len(reach), p=reach / reach.sum())))
    return picks


def select(state: QueryState, budget: int, seed: int = 0) -> Query:
    return Badge().select(state, budget, np.random.default_rng(seed))


@pytest.mark.parametrize(("classes", "budget"), [(2, 1), (2, 9), (4, 12), (9, 34)])
@pytest.mark.parametrize("seed", range(5))
def test_the_picks_of_dense_gradients(classes: int, budget: int, seed: int) -> None:
    state = make_state()
    probs, features = outputs(len(state.candidates), classes, seed=seed)
    query = select(predicted(state, probs, features), budget, seed)
    expected = slow(probs, features, budget, np.random.default_rng(seed))
    assert query.indices.tolist() == state.candidates[expected].tolist()


def test_it_says_why() -> None:
    state = make_state()
    probs, features = outputs(len(state.candidates), 3)
    query = select(predicted(state, probs, features), 3)
    norm = {int(i): np.linalg.norm(gradient(p, z)) for i, p, z in zip(state.candidates, probs, features, strict=True)}
    first, *others = query.indices.tolist()
    assert query.reasons == (
        f"largest gradient, norm {norm[first]:.3g}",
        *(f"gradient of norm {norm[i]:.3g}, drawn for its distance to those picked" for i in others),
    )


def test_where_gradients_repeat_random_others_fill_up() -> None:
    state = make_state()
    m = len(state.candidates)
    which = np.arange(m) % 4
    probs, features = (values[which] for values in outputs(4, 3))
    queries = [select(predicted(state, probs, features), 9, seed) for seed in range(5)]
    for query in queries:
        kinds = which[np.searchsorted(state.candidates, query.indices)]
        assert sorted(kinds[:4].tolist()) == [0, 1, 2, 3]
        assert len(set(query.indices.tolist())) == 9
        assert query.reasons is not None
        assert [r.startswith("a random one") for r in query.reasons] == [False] * 4 + [True] * 5
    assert len({tuple(q.indices[4:].tolist()) for q in queries}) == 5


@pytest.mark.parametrize("budget", [1, 8, 34])
def test_gradients_that_are_all_zero_leave_chance(budget: int) -> None:
    state = make_state()
    m = len(state.candidates)
    certain = predicted(state, np.eye(3)[np.arange(m) % 3], outputs(m, 3)[1])
    picks = [select(certain, budget, seed).indices.tolist() for seed in (0, 0, 1)]
    assert picks[0] == picks[1] != picks[2]
    assert len(set(picks[0])) == budget


def test_of_certain_candidates_one_is_drawn_and_others_only_fill_up() -> None:
    state = make_state()
    probs, features = outputs(len(state.candidates), 3)
    probs[10:] = [0, 1, 0]
    query = select(predicted(state, probs, features), 14)
    uncertain = np.isin(query.indices, state.candidates[:10])
    assert uncertain[:11].sum() == 10 and uncertain[0]


@pytest.mark.parametrize("spoil", ["missing", "nan"])
def test_it_needs_features(spoil: str) -> None:
    state = make_state()
    probs, features = outputs(len(state.candidates), 3)
    features[3, 2] = np.nan
    with pytest.raises(InputError, match="finite features of every candidate"):
        select(predicted(state, probs, None if spoil == "missing" else features), 3)
