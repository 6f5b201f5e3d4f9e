"""Queries by perturbation and by Borda counts (BIM, AL-BSQ) against what their papers do step by step."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from hybrid_al.core.types import FloatArray
from hybrid_al.query.last_layer import boundary_distance, expected_gradient_length, sign_steps
from hybrid_al.query.linear_head import scaled_embeddings
from hybrid_al.query.strategies import BSQ
from hybrid_al.query.strategies.bsq import discrepancy, gains, nearness
from hybrid_al.query.strategies.isda import expected_change
from hybrid_al.query.synthetic import make_state
from hybrid_al.scores.ranks import mid_ranks
from hybrid_al.scores.samples import predicted_error, student_divergence


@pytest.mark.parametrize("classes", [2, 4])
def test_steps_of_bim_are_those_of_gradients_by_torch(classes: int) -> None:
    """Step by step with automatic gradients until the class changes; the last step's share by bisection."""
    rng = np.random.default_rng(0)
    features, weight, bias = rng.normal(size=(12, 5)), rng.normal(size=(classes, 5)), rng.normal(size=classes)
    steps, (w, b) = sign_steps(features, weight, bias, 0.1, 30), (torch.from_numpy(a) for a in (weight, bias))
    for row, count in zip(features, steps, strict=True):
        z = torch.from_numpy(row.copy())
        first, k = int((w @ z + b).argmax()), 0
        while k < 30:
            moving = z.clone().requires_grad_()
            loss = torch.nn.functional.cross_entropy((w @ moving + b)[None], torch.tensor([first]))
            (slope,) = torch.autograd.grad(loss, moving)
            shares = np.linspace(0, 1, 2001)
            path = (w @ (z[:, None] + 0.1 * slope.sign()[:, None] * torch.from_numpy(shares)) + b[:, None]).argmax(
                dim=0
            )
            if (path != first).any():
                assert count == pytest.approx(k + shares[int((path != first).int().argmax())], abs=1e-3)
                break
            z, k = z + 0.1 * slope.sign(), k + 1
        else:
            assert count == 30
    assert (steps < 30).any()


def test_bim_ranks_as_deepfool_with_two_classes_and_not_with_more() -> None:
    rng, orders = np.random.default_rng(1), {}
    for classes in (2, 5):
        features, weight, bias = rng.normal(size=(80, 6)), rng.normal(size=(classes, 6)), rng.normal(size=classes)
        steps = sign_steps(features, weight, bias, 0.01, 10_000)
        orders[classes] = (np.argsort(steps), np.argsort(boundary_distance(features, weight, bias)))
    assert orders[2][0].tolist() == orders[2][1].tolist()
    assert orders[5][0].tolist() != orders[5][1].tolist()


def test_a_head_that_tells_nothing_apart_is_never_left() -> None:
    assert sign_steps(np.ones((3, 2)), np.zeros((4, 2)), np.zeros(4), 0.1, 7).tolist() == [7, 7, 7]


def test_bsq_asks_one_by_one_for_the_largest_sum_of_ranks() -> None:
    """Without the network's noise: latents are those of the strategy, the greedy choice is done anew by loops."""
    state = make_state(40, labeled=3)
    strategy = BSQ(samples=3, steps=3, rows=1000, latent=4)
    picks = strategy.select(state, 6, np.random.default_rng(5)).indices.tolist()
    rng = np.random.default_rng(5)
    labeled, candidates = state.labels.labeled, state.candidates
    latents = strategy._latents(scaled_embeddings(state, np.concatenate([labeled, candidates])), rng)
    squared = ((latents[:, None].astype(float) - latents[None]) ** 2).sum(axis=2)
    near = np.exp(-squared / np.median(squared[~np.eye(len(squared), dtype=bool)]))
    variance = state.probs(3).var(axis=1, dtype=np.float64).sum(axis=1)
    chosen, expected = list(range(len(labeled))), []
    for _ in range(6):
        rest = [i for i in range(len(candidates)) if candidates[i] not in expected]
        added = [np.maximum(near[len(labeled) + i] - near[chosen].max(axis=0), 0).sum() for i in rest]
        total = mid_ranks(variance[rest]) + mid_ranks(np.asarray(added))
        best = rest[int(total.argmax())]
        expected.append(int(candidates[best]))
        chosen.append(len(labeled) + best)
    assert picks == expected


def test_discrepancy_is_the_mean_over_pairs_and_small_between_draws_of_one_law() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 3)), rng.normal(size=(5, 3))

    def kernel(x: FloatArray, y: FloatArray) -> float:
        return float(np.mean([np.exp(-((p - q) ** 2).sum() / 3) for p in x for q in y]))

    expected = kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
    assert discrepancy(*map(torch.from_numpy, (a, b))).item() == pytest.approx(expected, rel=1e-9)
    far = torch.from_numpy(b + 4)
    assert discrepancy(torch.from_numpy(a), far) > discrepancy(*map(torch.from_numpy, (a, b)))


def test_what_is_represented_adds_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 2))
    near = nearness(rows, rows)
    np.testing.assert_allclose(gains(near, near.max(axis=0)), 0, atol=1e-6)


def test_divergence_of_teacher_and_student_is_that_of_kullback_and_leibler() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 2))
    expected = [sum(p * np.log(p / q) for p, q in zip(*pair, strict=True)) for pair in probs]
    np.testing.assert_allclose(student_divergence(probs), expected)
    assert student_divergence(probs[:, :1]).tolist() == [0] * 4 and predicted_error(probs).tolist() == [0] * 4


@pytest.mark.parametrize("top", [2, 9])
def test_isda_is_the_gradient_of_the_augmented_loss_by_torch(top: int) -> None:
    """The bound's loss of each class, differentiated in the weights, with the covariance written out."""
    rng = np.random.default_rng(0)
    features, weight, bias = rng.normal(size=(6, 5)), rng.normal(size=(4, 5)), rng.normal(size=4)
    roots = rng.normal(size=(4, 5, 5))
    covariances = np.einsum("cij,ckj->cik", roots, roots)
    pulls = np.stack([0.3 * (weight - weight[c]) @ covariances[c] for c in range(4)])
    expected = []
    for z in features:
        probs, total = np.exp(weight @ z + bias), 0.0
        probs /= probs.sum()
        for c in np.argsort(-probs)[:top]:
            w = torch.from_numpy(weight.copy()).requires_grad_()
            across = w - w[c]
            bent = w @ torch.from_numpy(z) + torch.from_numpy(bias)
            bent = bent + 0.15 * torch.einsum("jd,de,je->j", across, torch.from_numpy(covariances[c]), across)
            (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(bent[None], torch.tensor([int(c)])), w)
            total += probs[c] * slope.norm().item()
        expected.append(total)
    np.testing.assert_allclose(expected_change(features, weight, bias, pulls, top), expected)


def test_isda_without_covariance_is_the_expected_gradient_length() -> None:
    rng = np.random.default_rng(2)
    features, weight, bias = rng.normal(size=(9, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    probs = scipy.special.softmax(features @ weight.T + bias, axis=1)
    plain = expected_change(features, weight, bias, np.zeros((3, 3, 4)), 3)
    np.testing.assert_allclose(plain, expected_gradient_length(probs, features))
