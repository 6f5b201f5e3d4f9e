"""ALFA-Mix and the virtual adversarial divergence against what their papers do step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import torch

from hybrid_al.core.types import FloatArray, IntArray, PredictionBatch
from hybrid_al.errors import InputError
from hybrid_al.kernels.kmeans import k_means
from hybrid_al.query.base import QueryState
from hybrid_al.query.last_layer import adversarial_divergence, boundary_distance, flipping_share
from hybrid_al.query.strategies import AlfaMix, VirtualAdversarial
from hybrid_al.query.synthetic import make_state


def linear(classes: int, dim: int, m: int, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Features (M, D), weight and bias."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, dim)) + 0.5, rng.normal(size=(classes, dim)), rng.normal(size=classes)


def gradient(z: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Of the loss of the predicted class in the features, by torch."""
    features = torch.from_numpy(z.copy()).requires_grad_()
    logits = torch.from_numpy(weight) @ features + torch.from_numpy(bias)
    torch.nn.functional.cross_entropy(logits[None], logits.argmax()[None]).backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    grad: FloatArray = features.grad.numpy()
    return grad


def published_alpha(share: float, anchor: FloatArray, z: FloatArray, g: FloatArray) -> FloatArray:
    alpha: FloatArray = share * np.linalg.norm(anchor - z) / np.linalg.norm(g) * g / (anchor - z)
    return alpha


def flips(share: float, anchors: FloatArray, z: FloatArray, weight: FloatArray, bias: FloatArray) -> bool:
    """Whether mixing in any anchor changes the class, as the published code finds out."""
    g, before = gradient(z, weight, bias), int((weight @ z + bias).argmax())
    for anchor in anchors:
        alpha = published_alpha(share, anchor, z, g)
        mixed = (1 - alpha) * z + alpha * anchor
        if int((weight @ mixed + bias).argmax()) != before:
            return True
    return False


def test_a_step_of_deepfool_reaches_the_boundary_and_no_shorter_one_does() -> None:
    features, weight, bias = linear(4, 3, 20)
    for z, distance in zip(features, boundary_distance(features, weight, bias), strict=True):
        logits = weight @ z + bias
        first = int(logits.argmax())
        shifts = [
            (logits[first] - logits[c]) * (weight[c] - weight[first]) / np.square(weight[c] - weight[first]).sum()
            for c in range(4)
            if c != first
        ]
        shift = min(shifts, key=lambda s: float(np.linalg.norm(s)))
        assert distance == pytest.approx(np.linalg.norm(shift))
        assert (weight @ (z + 0.999 * shift) + bias).argmax() == first != (weight @ (z + 1.001 * shift) + bias).argmax()
    assert boundary_distance(features, np.ones((3, 3)), np.arange(3.0)).tolist() == [np.inf] * 20


@pytest.mark.parametrize(("classes", "dim"), [(2, 3), (4, 5), (3, 12)])
def test_the_share_at_which_a_class_flips(classes: int, dim: int) -> None:
    features, weight, bias = linear(classes, dim, 25)
    anchors = np.random.default_rng(1).normal(size=(classes, dim))
    shares = flipping_share(features, weight, bias, anchors)
    assert np.isfinite(shares).sum() > 15
    for z, share in zip(features, shares, strict=True):
        if np.isfinite(share):
            assert flips(share * (1 + 1e-9) + 1e-12, anchors, z, weight, bias)
            assert not flips(share * (1 - 1e-9), anchors, z, weight, bias)
        else:
            assert not flips(1.0, anchors, z, weight, bias) and not flips(30.0, anchors, z, weight, bias)


def test_the_closed_form_raises_the_loss_most_to_first_order() -> None:
    """Among all alpha for which alpha (anchor - z) is as long: the claim that equation 5 rests on."""
    features, weight, bias = linear(3, 6, 10)
    rng = np.random.default_rng(2)
    for z in features:
        anchor, g = rng.normal(size=6), gradient(z, weight, bias)
        best = float(published_alpha(0.2, anchor, z, g) * (anchor - z) @ g)
        for _ in range(50):
            alpha = rng.normal(size=6)
            alpha *= 0.2 * np.linalg.norm(anchor - z) / np.linalg.norm(alpha * (anchor - z))
            assert alpha * (anchor - z) @ g <= best + 1e-12


def modelled(state: QueryState, features: FloatArray, weight: FloatArray, bias: FloatArray) -> QueryState:
    """The same state with this linear model of features (N, D) of the whole manifest."""

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        for part in np.array_split(indices, max(len(indices) // 7, 1)):
            probs = scipy.special.softmax(features[part] @ weight.T + bias, axis=1)[:, None]
            yield PredictionBatch(part, probs, features[part].astype(np.float32), (weight, bias))

    return replace(state, predictor=predict)


@pytest.mark.parametrize("labeled", [5, 2])
def test_alfa_mix_is_the_published_search(labeled: int) -> None:
    base = make_state(60, labeled=labeled, classes=4)
    features, weight, bias = linear(4, 6, len(base.groups), seed=3)
    features = features.astype(np.float32).astype(np.float64)
    state, budget = modelled(base, features, weight, bias), 6
    targets, marked = base.labels.class_targets(), features[base.labels.labeled]
    anchors = np.stack(
        [marked[targets == c].mean(axis=0) if (targets == c).any() else marked.mean(axis=0) for c in range(4)]
    )
    cap, changed = 0.0, np.zeros(len(base.candidates), dtype=bool)
    while cap < 1 and changed.sum() <= budget:
        cap += 0.03125
        changed |= np.array([flips(cap / np.sqrt(6), anchors, features[i], weight, bias) for i in base.candidates])
    found = base.candidates[changed]
    assert budget < len(found) < len(base.candidates)
    picks = AlfaMix().select(state, budget, np.random.default_rng(0)).indices
    assert set(picks.tolist()) <= set(found.tolist())
    unit = features[found] / np.linalg.norm(features[found], axis=1, keepdims=True)
    centres, cluster = k_means(unit.astype(np.float32), budget, np.random.default_rng(0))
    nearest = {
        int(found[np.where(cluster == c, np.linalg.norm(unit - centres[c], axis=1), np.inf).argmin()])
        for c in range(budget)
    }
    assert set(picks.tolist()) == nearest


def test_alfa_mix_without_flips_is_random() -> None:
    base = make_state()
    features, weight, _ = linear(3, 4, len(base.groups))
    far = modelled(base, features, weight * 1e-9, np.array([1e3, 0, 0]))  # nothing changes the class
    assert len({tuple(AlfaMix().select(far, 4, np.random.default_rng(s)).indices.tolist()) for s in range(6)}) == 6
    unlabeled = make_state(labeled=0, round=0)
    reasons = AlfaMix().select(unlabeled, 4, np.random.default_rng(0)).reasons
    assert reasons == ("a random one: too few change class",) * 4


def test_a_certain_model_flips_nowhere() -> None:
    """Where the loss has no gradient the closed form is 0 / 0: no direction, no flip."""
    features, weight, bias = linear(3, 4, 8)
    shares = flipping_share(features, weight, bias + np.array([5000.0, 0, 0]), features[:1])
    assert np.isinf(shares).all()
    assert np.isinf(flipping_share(features[:1], weight, bias, features[:1])).all()  # the anchor itself


def kl(p: FloatArray, logits: FloatArray) -> float:
    return float((p * (np.log(p) - scipy.special.log_softmax(logits))).sum())


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_no_perturbation_of_that_length_moves_the_prediction_more(classes: int) -> None:
    features, weight, bias = linear(classes, 2, 12)
    values = adversarial_divergence(features, weight, bias, 1e-3)
    for z, value in zip(features, values, strict=True):
        p = scipy.special.softmax(weight @ z + bias)
        around = [z + 1e-3 * np.array([np.cos(a), np.sin(a)]) for a in np.linspace(0, 2 * np.pi, 721)]
        largest = max(kl(p, weight @ moved + bias) for moved in around)
        assert value == pytest.approx(largest, rel=2e-3)


def test_of_both_signs_the_worse_counts() -> None:
    features, weight, bias = linear(3, 4, 20)
    values = adversarial_divergence(features, weight, bias, 2.0)
    for z, value in zip(features, values, strict=True):
        p = scipy.special.softmax(weight @ z + bias)
        fisher = weight.T @ (np.diag(p) - np.outer(p, p)) @ weight
        r = 2.0 * np.linalg.eigh(fisher)[1][:, -1]
        assert value == pytest.approx(max(kl(p, weight @ (z + r) + bias), kl(p, weight @ (z - r) + bias)), rel=1e-6)


def test_vat_ranks_by_the_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_state()
    features, weight, bias = linear(3, 4, len(base.groups))
    features = features.astype(np.float32).astype(np.float64)
    candidate_features = features[base.candidates]
    expected = adversarial_divergence(
        candidate_features, weight, bias, 0.3 * float(np.linalg.norm(candidate_features, axis=1).mean())
    )
    monkeypatch.setattr("hybrid_al.query.last_layer.CELLS", 45)
    query = VirtualAdversarial(radius=0.3).select(modelled(base, features, weight, bias), 5, np.random.default_rng(0))
    assert query.scores is not None
    np.testing.assert_allclose(query.scores.values, expected, rtol=1e-9)
    assert query.indices.tolist() == base.candidates[np.argsort(-expected)[:5]].tolist()


def test_certain_and_equal_heads_have_no_divergence() -> None:
    features, weight, bias = linear(3, 4, 6)
    assert adversarial_divergence(features, weight, bias + np.array([1e4, 0, 0]), 0.1).max() == 0
    assert adversarial_divergence(features, np.ones((3, 4)), bias, 0.1).max() < 1e-12


@pytest.mark.parametrize("strategy", [AlfaMix(), VirtualAdversarial()])
def test_a_last_layer_is_needed(strategy: AlfaMix | VirtualAdversarial) -> None:
    state = make_state()
    inner = state.predictor
    assert inner is not None
    headless = replace(state, predictor=lambda i, s, v: (replace(b, head=None) for b in inner(i, s, v)))
    with pytest.raises(InputError, match="a finite last layer"):
        strategy.select(headless, 3, np.random.default_rng(0))


def test_settings_that_make_no_sense() -> None:
    for step in (0, 1.5, np.nan):
        with pytest.raises(InputError, match=r"AlfaMix\.step"):
            AlfaMix(step=step)
    with pytest.raises(InputError, match=r"VirtualAdversarial\.radius"):
        VirtualAdversarial(radius=0)
