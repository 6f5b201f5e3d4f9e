"""Gated attention by hand, in blocks as at once, and in bags of one row or a hundred thousand."""

from __future__ import annotations

import copy
import resource

import numpy as np
import pytest
import torch

from hybrid_al.data import bags as bags_module
from hybrid_al.data.bags import Bags
from hybrid_al.learners import attention
from hybrid_al.learners.attention import AttentionPool, BagInputs, Instances
from hybrid_al.models.classifier import Standardize

OF_ROW = np.asarray([0, 1, 0, 2, 1, 0, 0, 0, 1])
VECTORS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def instances(of_row: np.ndarray = OF_ROW, vectors: np.ndarray = VECTORS) -> Instances:
    return Instances(vectors, Bags(of_row), torch.device("cpu"))


def pool(source: Instances) -> AttentionPool:
    torch.manual_seed(0)
    dim = source.vectors.shape[1]
    return AttentionPool(source, Standardize(torch.full((dim,), 0.1), torch.full((dim,), 2.0)), dim, 5)


def test_features_are_the_mean_by_gated_attention() -> None:
    network = pool(instances())
    v, u, w = network.content, network.gate, network.weight
    for sample, rows in ((0, [0, 2, 5, 6, 7]), (1, [1, 4, 8]), (3, [3])):
        h = (torch.from_numpy(VECTORS[rows]) - 0.1) / 2
        logits = torch.stack(
            [w.weight[0] @ (torch.tanh(v.weight @ x + v.bias) * torch.sigmoid(u.weight @ x + u.bias)) for x in h]
        )
        expected = logits.softmax(0) @ h
        torch.testing.assert_close(network(torch.tensor([sample]))[0], expected)
        np.testing.assert_allclose(network.attention(sample), logits.softmax(0).detach().numpy(), rtol=1e-5)


def test_blocks_and_padded_rows_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    source = instances()
    network, inputs, bags = pool(source), BagInputs(source, 5), torch.tensor([0, 1, 3])
    at_once = network(bags)
    monkeypatch.setattr(attention, "BLOCK", 2)
    torch.testing.assert_close(network(bags), at_once)
    padded = inputs.weak(bags.numpy(), torch.Generator().manual_seed(0))
    assert padded.shape == (3, 5, 5) and padded[..., -1].sum(dim=1).tolist() == [5, 3, 1]
    torch.testing.assert_close(network(padded), at_once)
    strong = inputs.strong(bags.numpy(), torch.Generator().manual_seed(0))
    assert strong[..., -1].sum(dim=1).tolist() == [3, 2, 1]
    assert copy.deepcopy(network).instances is source


def test_views_are_other_rows_of_the_same_bag() -> None:
    source = instances()
    inputs, generator = BagInputs(source, 2), torch.Generator().manual_seed(1)
    drawn = set()
    for view in inputs.views(np.asarray([0]), 12, generator):
        rows = [int(np.flatnonzero((row == VECTORS).all(axis=1))[0]) for row in view[0, :, :-1].numpy()]
        assert len(set(rows)) == 2 and set(rows) <= {0, 2, 5, 6, 7}
        drawn |= set(rows)
    assert drawn == {0, 2, 5, 6, 7}


def test_a_bag_of_a_hundred_thousand_rows_takes_a_block_of_memory() -> None:
    count, dim = 100_000, 64
    vectors = np.broadcast_to(np.linspace(-1, 1, dim, dtype=np.float32), (count + 1, dim))
    source = instances(np.append(np.zeros(count, dtype=np.int64), 1), vectors)
    network, before = pool(source), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        features = network(torch.tensor([0, count]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 * 1024  # all rows: 25 MB, and scores beside
    torch.testing.assert_close(features[0], features[1], rtol=1e-4, atol=1e-5)
    assert BagInputs(source, 16).weak(np.asarray([0, count]), torch.Generator()).shape == (2, 16, dim + 1)
    assert bags_module.BLOCK == 8192
