"""`TorchModel`: learns anew from the same weights in each fit, and compares passes only where it is told to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import hybrid_al as hal
from hybrid_al.errors import InputError
from hybrid_al.testing import unchanged_random_state

RNG = np.random.default_rng(0)
Y = RNG.integers(2, size=60)
X = RNG.normal(size=(60, 4)) + 4 * np.eye(4)[Y]


def net(dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))


def test_it_learns_and_starts_anew_in_each_fit() -> None:
    with unchanged_random_state():
        model = hal.TorchModel(net(), epochs=30, lr=1e-2)
        first = model.fit(X, Y).predict_proba(X)
        assert (first.argmax(axis=1) == Y).mean() > 0.9 and np.allclose(first.sum(axis=1), 1)
        assert not np.allclose(model.fit(X[:6], 1 - Y[:6]).predict_proba(X), first)
        assert np.array_equal(model.fit(X, Y).predict_proba(X), first)
        assert np.array_equal(hal.TorchModel(net(), epochs=30, lr=1e-2).fit(X, Y).predict_proba(X), first)


def test_passes_differ_by_dropout_alone() -> None:
    model = hal.TorchModel(net(0.5), epochs=5, passes=3).fit(X, Y)
    probs = model.predict_proba(X)
    assert probs.shape == (60, 3, 2) and probs.std(axis=1).max() > 0
    assert np.array_equal(model.predict_proba(X), probs)
    plain = hal.TorchModel(net(0.0), epochs=5, passes=3).fit(X, Y).predict_proba(X)
    assert np.allclose(plain.std(axis=1), 0)


def test_a_batch_of_one_is_left_out_where_there_are_more() -> None:
    hal.TorchModel(net(), epochs=1, batch=4).fit(X[:5], Y[:5])


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="TorchModel: epochs: expected 1 or more, got 0"):
        hal.TorchModel(net(), epochs=0)
    with pytest.raises(InputError, match=r"TorchModel: expected logits \(5, C\), got \(5, 1, 2\)"):
        hal.TorchModel(nn.Sequential(nn.Linear(4, 2), nn.Unflatten(1, (1, 2)))).fit(X[:5], Y[:5])
    with pytest.raises(InputError, match=r"TorchModel\.fit: expected a finite loss, got nan"):
        hal.TorchModel(net()).fit(np.full((5, 4), np.nan), Y[:5])
    with pytest.raises(InputError, match=r"device: expected a device of this machine, got nowhere"):
        hal.TorchModel(net(), device="nowhere")
