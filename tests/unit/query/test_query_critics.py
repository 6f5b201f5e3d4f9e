"""Strategies with a critic of their own: what is unlike the labeled set is asked; losses against slow ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybrid_al.core.embeddings import Embeddings, unit_rows
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, IntArray, PredictionBatch
from hybrid_al.query.base import QueryState
from hybrid_al.query.critic import negative_bound, perceptron
from hybrid_al.query.strategies import GCN, USLT, VAAL, WAAL
from hybrid_al.query.strategies.gcn import neighbour_graph
from hybrid_al.query.strategies.uslt import global_loss, local_loss
from hybrid_al.query.strategies.vaal import indicator
from hybrid_al.query.synthetic import make_state
from hybrid_al.testing import check_strategy

NEW = 80
"""Rows from here on are of a cloud that no label is from."""


def one_sided() -> QueryState:
    state, rng = make_state(120, labeled=20, held_out=0), np.random.default_rng(0)
    vectors = rng.normal(size=(120, 8)).astype(np.float32)
    vectors[NEW:, 0] += 6
    annotations = tuple(Annotation(i, "class", i % 3, "t", 0) for i in range(20))
    labels = LabelStore(120, annotations)

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        """Certain but for the rows that are new."""
        probs = np.where(indices[:, None] < NEW, [0.98, 0.01, 0.01], [0.4, 0.3, 0.3])
        yield PredictionBatch(indices, probs[:, None], vectors[indices], (np.ones((3, 8)), np.zeros(3)))

    return replace(
        state, labels=labels, candidates=np.arange(20, 120), embeddings=Embeddings(vectors, "e", "m"), predictor=predict
    )


@pytest.mark.parametrize("variant", ["plain", "ranked", "state"])
def test_vaal_asks_what_is_unlike_the_labels(variant: str) -> None:
    strategy = VAAL(variant)  # type: ignore[arg-type]
    picks = strategy.select(one_sided(), 20, np.random.default_rng(0)).indices
    assert (picks >= NEW).mean() > 0.7


def test_waal_asks_what_is_unlike_the_labels_and_by_uncertainty_without_any() -> None:
    state = one_sided()
    picks = WAAL().select(state, 20, np.random.default_rng(0)).indices
    assert (picks >= NEW).mean() > 0.9
    sure = replace(state, predictor=lambda rows, *_: iter([PredictionBatch(rows, np.full((len(rows), 1, 3), 1 / 3))]))
    picks = WAAL(steps=200).select(sure, 20, np.random.default_rng(0)).indices
    assert (picks >= NEW).mean() > 0.6  # of the candidates two fifths are
    probs = make_state(labeled=0).probs().mean(axis=1)
    query = WAAL().select(make_state(labeled=0), 3, np.random.default_rng(0))
    assert query.scores is not None
    expected = [-(np.linalg.norm(np.log(p)) - np.log(p).sum()) / 2 for p in probs]
    np.testing.assert_allclose(query.scores.values, expected)


def test_the_graph_is_that_of_the_nearest() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(12, 3))).astype(np.float32)
    dense = neighbour_graph(rows, 4).to_dense().numpy()
    cosine = (1 + rows @ rows.T) / 2
    np.fill_diagonal(cosine, -1)
    for i in range(12):
        near = np.argsort(-cosine[i])[:4]
        expected = np.eye(12)[i] / 2
        expected[near] += cosine[i, near] / cosine[i, near].sum() / 2
        np.testing.assert_allclose(dense[i], expected, atol=1e-5)


def test_the_graph_network_tells_labeled_from_others() -> None:
    state = one_sided()
    picks = GCN("uncertain", margin=0.0).select(state, 20, np.random.default_rng(0)).indices
    assert (picks >= NEW).mean() > 0.6
    assert (GCN().select(state, 4, np.random.default_rng(0)).indices >= NEW).any()
    check_strategy(GCN("uncertain", steps=2))
    first = GCN(steps=2).select(make_state(9, labeled=0), 2, np.random.default_rng(0)).reasons
    assert first is not None and first[0] == "nearest to the mean in the graph" and first[1].startswith("distance")


def test_learned_clusters_are_asked_one_by_one() -> None:
    state, rng = make_state(120, labeled=0, held_out=0), np.random.default_rng(0)
    blob = np.arange(120) % 4
    vectors = (10 * np.eye(4, 8)[blob] + rng.normal(size=(120, 8))).astype(np.float32)
    state = replace(state, embeddings=Embeddings(vectors, "e", "m"))
    found = [set(blob[USLT().select(state, 6, np.random.default_rng(s)).indices].tolist()) for s in range(4)]
    assert sum(map(len, found)) >= 14, found


def test_the_variant_that_relabels_keeps_the_contract() -> None:
    check_strategy(VAAL("state", steps=2))


def test_the_bound_has_the_divergence_from_the_prior() -> None:
    rng = np.random.default_rng(0)
    x, decoded, mean, log_variance = (torch.from_numpy(rng.normal(size=(5, 3))) for _ in range(4))
    latent = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.kl_divergence(latent, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    likelihood = -(x - decoded).square().sum(dim=1) / 2
    expected = (0.5 * prior - likelihood).mean().item()
    assert negative_bound(x, decoded, mean, log_variance, 0.5).item() == pytest.approx(expected, rel=1e-6)


def test_the_indicator_is_least_where_the_model_is_certain() -> None:
    values = indicator(np.array([[1.0, 0, 0], [0.8, 0.1, 0.1], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]))
    least = float(np.var([0.5, 0.25, 0.25]) / np.var([0.5, 0.5, 0]))
    assert values.tolist() == pytest.approx([0, 0.2, 1 - 0.5 * least, 2 / 3])


def test_weights_are_those_of_torch_in_law() -> None:
    network = perceptron((400, 50, 1), np.random.default_rng(0))
    weight = network[0].weight
    assert isinstance(weight, torch.Tensor) and weight.abs().max().item() == pytest.approx(0.05, rel=1e-2)
    assert [tuple(p.shape) for p in network.parameters()] == [(50, 400), (50,), (1, 50), (1,)]


def test_the_losses_of_uslt_are_the_published_ones() -> None:
    rng = np.random.default_rng(0)
    logits, near = rng.normal(size=(2, 2, 4, 3))
    mean = rng.dirichlet(np.ones(3), size=2)
    local, total = 0.0, 0.0
    for head in range(2):
        for row in range(4):
            adjusted = np.exp(near[head, row]) / mean[head] ** 2.5
            sharp = (adjusted / adjusted.sum()) ** 2
            sharp /= sharp.sum()
            share = np.exp(logits[head, row]) / np.exp(logits[head, row]).sum()
            local += (sharp * np.log(sharp / share)).sum() / 4
            total -= np.log(share.max()) / 4 if share.max() > 0.6 else 0
    mean_tensor = torch.from_numpy(mean)[:, None]
    found = local_loss(torch.from_numpy(logits), torch.from_numpy(near), mean_tensor, 2.5, 0.5)
    assert found.item() == pytest.approx(local)
    assert global_loss(torch.from_numpy(logits), 0.6).item() == pytest.approx(total) and total > 0


def test_of_a_cluster_of_uslt_the_densest_is_asked() -> None:
    """One cloud and one pick: the sample of the least mean distance to its neighbours, itself among them."""
    state = make_state(50, labeled=0, classes=2, rare=0)
    query = USLT(neighbours=5).select(state, 1, np.random.default_rng(0))
    rows = state.vectors(state.candidates, "cosine").astype(np.float64)
    distance = np.sort(np.linalg.norm(rows[:, None] - rows[None], axis=2), axis=1)[:, :5].mean(axis=1)
    assert query.indices[0] == state.candidates[distance.argmin()]
