"""Fisher information of the last layer, and what strategies do with it, against dense matrices and differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import torch

from hybrid_al.core.types import FloatArray
from hybrid_al.query.fisher import Design, information, labeled_and_candidates, roots
from hybrid_al.query.last_layer import probs_and_features
from hybrid_al.query.strategies.bait import BAIT
from hybrid_al.query.strategies.fisher_information import FisherInformation, optimal_design
from hybrid_al.query.strategies.gradnorm import GradNorm, entropy_gradient_length
from hybrid_al.query.strategies.isal import influence
from hybrid_al.query.synthetic import make_state


def drawn(n: int, seed: int = 0, classes: int = 3, dim: int = 4) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), size=n), rng.normal(size=(n, dim))


def slow_information(p: FloatArray, z: FloatArray) -> FloatArray:
    """Mean over the classes, by their probabilities, of the outer product of the gradient."""
    total = np.zeros((p.size * z.size, p.size * z.size))
    for c in range(p.size):
        gradient = np.outer(p - np.eye(p.size)[c], z).reshape(-1)
        total += p[c] * np.outer(gradient, gradient)
    return total


def test_information_is_that_of_the_gradients() -> None:
    probs, features = drawn(6)
    expected = sum(slow_information(p, z) for p, z in zip(probs, features, strict=True))
    np.testing.assert_allclose(information(probs, features), expected, atol=1e-12)
    np.testing.assert_allclose(roots(probs)[0] @ roots(probs)[0].T, np.diag(probs[0]) - np.outer(probs[0], probs[0]))


def test_moves_of_a_design_are_those_of_dense_matrices() -> None:
    probs, features = drawn(8)
    each = [slow_information(p, z) for p, z in zip(probs, features, strict=True)]
    total, matrix = sum(each, np.zeros_like(each[0])), np.eye(12) + each[0]
    design = Design(roots(probs), features, np.linalg.inv(matrix), total)

    def trace(m: FloatArray) -> float:
        return float(np.trace(np.linalg.solve(m, total)))

    for place, sign in ((3, 1), (5, 1), (1, 1), (5, -1), (3, -1)):
        expected = [sign * (trace(matrix) - trace(matrix + sign * each[i])) for i in (3, 5, 1)]
        if sign == 1 or place == 5:
            np.testing.assert_allclose(design.change([3, 5, 1], sign), expected, rtol=1e-8)
        design.move(place, sign)
        matrix = matrix + sign * each[place]
        np.testing.assert_allclose(design.inverse, np.linalg.inv(matrix), atol=1e-10)


@pytest.mark.parametrize("labeled", [0, 5])
def test_bait_picks_greedily_and_drops_what_is_missed_least(labeled: int) -> None:
    state = make_state(25, labeled=labeled, round=1)
    samples = np.concatenate([state.labels.labeled, state.candidates])
    probs, features = probs_and_features(replace(state, candidates=samples))
    each = [slow_information(p, z) for p, z in zip(probs, features, strict=True)]
    total = sum(each, np.zeros_like(each[0])) / len(each)

    def trace(rows: list[int]) -> float:
        matrix = 0.5 * np.eye(len(total)) + sum((each[i] for i in [*range(labeled), *rows]), np.zeros_like(total))
        return float(np.trace(np.linalg.solve(matrix, total)))

    picks = list[int]()
    for _ in range(6):
        others = [i for i in range(labeled, len(each)) if i not in picks]
        picks.append(min(others, key=lambda i: trace([*picks, i])))
    while len(picks) > 3:
        picks.remove(min(picks, key=lambda i: trace([j for j in picks if j != i])))
    found = BAIT(ridge=0.5).select(state, 3, np.random.default_rng(0)).indices
    assert found.tolist() == samples[picks].tolist()


def test_features_are_projected_where_they_are_many() -> None:
    state = make_state()
    probs, features = labeled_and_candidates(state, 6)
    _, whole = labeled_and_candidates(state, 10_000)
    assert features.shape == (len(probs), 2) and whole.shape[1] == 8
    left = np.linalg.svd(whole, full_matrices=False)[1]
    assert np.square(features).sum() == pytest.approx(np.square(left[:2]).sum())


def test_the_design_is_the_best_of_many() -> None:
    probs, features = drawn(6, dim=2)
    total, ridge = information(*drawn(50, 1, dim=2)), 1e-3

    def trace(q: FloatArray) -> float:
        parts = (w * slow_information(p, z) for w, p, z in zip(q, probs, features, strict=True))
        matrix = sum(parts, ridge * np.eye(6))
        return float(np.trace(np.linalg.solve(matrix, total)))

    best = trace(optimal_design(probs, features, total, ridge, 300))
    assert best <= min(trace(q) for q in np.random.default_rng(2).dirichlet(np.ones(6), size=500))


def test_the_distribution_is_drawn_from() -> None:
    state = make_state(60)
    found = {tuple(FisherInformation(shortlist=3).select(state, 4, np.random.default_rng(s)).indices) for s in range(4)}
    assert len(found) > 1


def test_gradients_of_the_entropy_are_those_of_torch() -> None:
    logits, features = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=(5, 4))
    values = entropy_gradient_length(scipy.special.softmax(logits, axis=1), features)
    for value, z, row in zip(values, features, logits, strict=True):
        layer = torch.nn.Linear(4, 3).double()
        with torch.no_grad():
            layer.bias.copy_(torch.from_numpy(row) - layer.weight @ torch.from_numpy(z))
        torch.special.entr(layer(torch.from_numpy(z)).softmax(dim=0)).sum().backward()
        gradients = (layer.weight.grad, layer.bias.grad)
        assert value == pytest.approx(sum(g.norm().item() for g in gradients if g is not None))


def test_the_expected_gradient_has_a_bias_too() -> None:
    state = make_state()
    probs, features = probs_and_features(state)
    query = GradNorm("expected").select(state, 3, np.random.default_rng(0))
    assert query.scores is not None
    lengths = [[np.linalg.norm(p - np.eye(3)[c]) for c in range(3)] for p in probs]
    expected = (probs * lengths).sum(axis=1) * (1 + np.linalg.norm(features, axis=1))
    np.testing.assert_allclose(query.scores.values, expected)


def test_influence_is_the_product_of_gradients_and_inverse_curvature() -> None:
    probs, features = drawn(9)
    classes = np.random.default_rng(0).integers(3, size=9)
    gradients = [np.outer(p - np.eye(3)[c], z).reshape(-1) for p, z, c in zip(probs, features, classes, strict=True)]
    curvature = sum((slow_information(p, z) for p, z in zip(probs, features, strict=True)), np.zeros((12, 12))) / 9
    reference = np.mean(gradients[:4], axis=0)
    expected = [reference @ np.linalg.inv(curvature + 0.1 * np.eye(12)) @ g for g in gradients[4:]]
    np.testing.assert_allclose(influence(probs, features, classes, 4, 0.1), expected)
