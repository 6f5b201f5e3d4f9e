"""Walks along the gradient of the loss, against torch and loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from hybrid_al.query.last_layer import features_and_head
from hybrid_al.query.strategies.sangal import GradientWalk
from hybrid_al.query.synthetic import make_state


def test_the_candidates_nearest_to_the_walks_are_asked() -> None:
    state = make_state(60, labeled=3)
    labeled, classes = state.labels.labeled, state.labels.class_targets()
    places, weight, bias = features_and_head(replace(state, candidates=labeled))
    rows, _, _ = features_and_head(state)
    length, expected = 0.2 * np.linalg.norm(places, axis=1).mean(), list[int]()
    for _ in range(3):
        z = torch.from_numpy(places).requires_grad_()
        logits = z @ torch.from_numpy(weight).T + torch.from_numpy(bias)
        losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(classes), reduction="none")
        (slope,) = torch.autograd.grad(losses.sum(), z)
        places = places + length * (slope / slope.norm(dim=1, keepdim=True)).numpy()
        for i in losses.argsort(descending=True).tolist():
            near = np.linalg.norm(rows - places[i], axis=1)
            near[expected] = np.inf
            expected.append(int(near.argmin()))
    picks = GradientWalk(step=0.2).select(state, 8, np.random.default_rng(0)).indices
    found = rows[np.searchsorted(state.candidates, picks)]
    np.testing.assert_allclose(found, rows[expected[:8]])  # features of a class are alike


def test_walks_come_back_to_the_manifold() -> None:
    """Features on a line in 8 dimensions: what the autoencoder gives back is near the line."""
    rng = np.random.default_rng(0)
    along = rng.normal(size=8)
    features = 3 * rng.normal(size=(200, 1)) * along / np.linalg.norm(along)
    encode, decode = GradientWalk(latent=2, beta=0.01)._manifold(features, rng)
    off = features[:50] + 0.5 * rng.normal(size=(50, 8))
    back = decode(encode(off))
    line = np.outer(back @ along, along) / (along @ along)
    assert np.linalg.norm(back - line, axis=1).mean() < 0.3 * np.linalg.norm(off - features[:50], axis=1).mean()


def test_the_nearest_in_the_latent_space_is_asked() -> None:
    state = make_state(40, labeled=3)
    query = GradientWalk(latent=4, steps=30).select(state, 9, np.random.default_rng(0))
    assert len(set(query.indices.tolist())) == 9
    again = GradientWalk(latent=4, steps=30).select(state, 9, np.random.default_rng(0))
    assert again.indices.tolist() == query.indices.tolist()
