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
