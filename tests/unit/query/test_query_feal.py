"""FEAL: its score against torch, its relaxation against the published order of steps, and sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hybrid_al.core.embeddings import unit_rows
from hybrid_al.query.last_layer import features_and_head
from hybrid_al.query.strategies import FEAL
from hybrid_al.query.strategies.feal import calibrated, evidence, relaxed, shares_of
from hybrid_al.query.synthetic import make_state


def test_the_score_is_the_published_one() -> None:
    rng = np.random.default_rng(0)
    alpha, local = evidence(3 * rng.normal(size=(2, 20, 4)))
    data = 0.0
    for parameters in (torch.from_numpy(alpha), torch.from_numpy(local)):
        total = parameters.sum(dim=1, keepdim=True)
        gaps = torch.digamma(total + 1) - torch.digamma(parameters + 1)
        data = data + (parameters / total * gaps).sum(dim=1) / np.log(4)
    dirichlet: Any = torch.distributions.Dirichlet(torch.from_numpy(alpha))
    entropy = dirichlet.entropy()
    expected = (entropy - entropy.min()) / (entropy.max() - entropy.min()) * data
    np.testing.assert_allclose(calibrated(alpha, local), expected.numpy(), atol=1e-9)


def test_near_neighbours_of_picks_are_passed_over() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32))
    order = np.random.default_rng(1).permutation(200)
    cosine, chosen = rows @ rows.T, list[int]()
    for i in order:
        near = np.argsort(-cosine[i], kind="stable")
        near = near[(near != i) & (cosine[i, near] > 0.85)][:5]
        if len(near) < 5 or not np.isin(near, chosen).any():
            chosen.append(int(i))
    passed = [int(i) for i in order if i not in chosen]
    assert 10 < len(chosen) < 150
    for budget in (5, len(chosen), 180):
        assert relaxed(rows, order, budget, 5, 0.85).tolist() == [*chosen, *passed][:budget]


def test_sites_share_the_budget_and_have_heads_of_their_own() -> None:
    state = make_state(90, labeled=20)
    for sites, codes in (("group", state.groups), ("domain", state.extras["source"])):
        query = FEAL(sites=sites, steps=5).select(state, 30, np.random.default_rng(0))  # type: ignore[arg-type]
        wanted = shares_of(30, np.unique(codes[state.candidates], return_counts=True)[1])
        picked = [int((codes[query.indices] == c).sum()) for c in np.unique(codes[state.candidates])]
        assert picked == wanted and sum(wanted) == 30
    features, weight, bias = features_and_head(state)
    no_labels = FEAL()._head(features[:0], np.empty(0, dtype=np.int64), weight, bias)
    assert no_labels[0] is weight
    trained, _ = FEAL()._head(features[:10], np.zeros(10, dtype=np.int64), weight, bias)
    assert (features[:10] @ trained[0]).mean() > (features[:10] @ weight[0]).mean()
