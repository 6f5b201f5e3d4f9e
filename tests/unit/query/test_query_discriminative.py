"""Discriminative active learning and expected gradient length against references that take their time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError
from hybrid_al.query.last_layer import expected_gradient_length
from hybrid_al.query.strategies import Discriminative, ExpectedGradientLength
from hybrid_al.query.synthetic import make_state


def slow_log_odds(reference: FloatArray, pool: FloatArray, strength: float) -> FloatArray:
    """Log odds of the pool's rows by a minimum of the balanced loss, found by a general optimiser."""
    rows = np.concatenate([reference, pool]).astype(np.float64)
    sign = np.repeat([-1.0, 1.0], [len(reference), len(pool)])
    weight = len(rows) / 2 / np.repeat([len(reference), len(pool)], [len(reference), len(pool)])

    def loss(x: FloatArray) -> float:
        odds = rows @ x[:-1] + x[-1]
        return float((weight * np.logaddexp(0, -sign * odds)).sum() + x[:-1] @ x[:-1] / 2 / strength)

    fit = scipy.optimize.minimize(loss, np.zeros(rows.shape[1] + 1), method="BFGS", options={"gtol": 1e-4})
    odds: FloatArray = pool @ fit.x[:-1] + fit.x[-1]
    return odds


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_discriminative(queries: int, seed: int) -> None:
    state = make_state(50, labeled=5, dim=3, seed=seed)
    query = Discriminative(queries=queries).select(state, 7, np.random.default_rng(seed))
    vectors = state.vectors(state.candidates, "cosine").astype(np.float64)
    scale = vectors.std(axis=0)
    labeled, picks = state.vectors(state.labels.labeled, "cosine") / scale, list[int]()
    for size in {1: [7], 3: [3, 2, 2]}[queries]:
        others = [i for i in range(len(vectors)) if i not in picks]
        odds = slow_log_odds(np.concatenate([labeled, vectors[picks] / scale]), vectors[others] / scale, 1.0)
        picks += [others[i] for i in np.argsort(-odds)[:size]]
    assert query.indices.tolist() == state.candidates[picks].tolist()


def test_discriminative_starts_at_random_and_then_moves_away() -> None:
    state = make_state(60, labeled=0)
    query = Discriminative(queries=4).select(state, 8, np.random.default_rng(0))
    assert query.reasons is not None
    assert [reason == "random" for reason in query.reasons] == [True] * 2 + [False] * 6
    assert (
        len({tuple(Discriminative().select(state, 3, np.random.default_rng(s)).indices.tolist()) for s in range(5)}) > 1
    )


def test_of_a_large_pool_a_sample_is_told_apart() -> None:
    picks = [
        Discriminative(rows=20).select(make_state(90), 5, np.random.default_rng(s)).indices.tolist() for s in (0, 0, 1)
    ]
    assert picks[0] == picks[1] != picks[2]


@pytest.mark.parametrize("name", ["queries", "strength", "rows"])
def test_values_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"Discriminative.{name}"):
        Discriminative(**{name: 0})  # type: ignore[arg-type]


def test_expected_gradient_length_is_that_of_gradients_written_out() -> None:
    rng = np.random.default_rng(0)
    probs, features = rng.dirichlet(np.full(4, 0.4), size=12), rng.normal(size=(12, 5))
    probs[0], probs[1] = np.eye(4)[2], 0.25
    expected = np.zeros(12)
    for i, (p, z) in enumerate(zip(probs, features, strict=True)):
        for c in range(4):
            weight = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
            logits = weight @ torch.from_numpy(z) + torch.from_numpy(np.log(np.maximum(p, 1e-300)))
            torch.nn.functional.cross_entropy(logits[None], torch.tensor([c])).backward()  # type: ignore[no-untyped-call]
            assert weight.grad is not None
            expected[i] += p[c] * float(weight.grad.norm())
    np.testing.assert_allclose(expected_gradient_length(probs, features), expected, atol=1e-12)


def test_egl_takes_the_top() -> None:
    state = make_state()
    query = ExpectedGradientLength().select(state, 6, np.random.default_rng(0))
    features = np.concatenate([b.features for b in state.predictions() if b.features is not None])
    values = expected_gradient_length(state.probs()[:, 0], features)
    assert query.indices.tolist() == state.candidates[np.argsort(-values)[:6]].tolist()
    assert query.scores is not None
    np.testing.assert_allclose(query.scores.values, values)
