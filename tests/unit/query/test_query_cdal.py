"""CDAL: distances and picks against loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.query.strategies.badge import Badge
from hybrid_al.query.strategies.cdal import ContextualDiversity, context_distance
from hybrid_al.query.synthetic import make_state
from hybrid_al.scores import samples as scores

CLASSES, SIDE = 3, 2


def contexts(n: int, seed: int = 0) -> np.ndarray:
    """Of n images of random probabilities, some without a pixel of a class."""
    sharp = np.random.default_rng(seed).dirichlet(np.full(CLASSES, 0.3), size=(n, 1, SIDE, SIDE))
    return scores.contexts(np.moveaxis(sharp, -1, 2)).reshape(n, -1)


def slow_distance(p: np.ndarray, q: np.ndarray) -> float:
    total = 0.0
    for own, other in zip(p.reshape(CLASSES, CLASSES), q.reshape(CLASSES, CLASSES), strict=True):
        if own.any() and other.any():
            for a, b in ((own, other), (other, own)):
                total += 0.5 * sum(x * (math.log(max(x, 1e-12)) - math.log(max(y, 1e-12))) for x, y in zip(a, b))  # noqa: B905
    return total


def test_distances_equal_the_slow_reference() -> None:
    rows = contexts(30).reshape(-1, CLASSES, CLASSES)
    assert (rows.sum(axis=2) == 0).any()  # some lack a class
    found = context_distance(rows, rows[4])
    np.testing.assert_allclose(found, [slow_distance(row, rows[4]) for row in rows], atol=1e-12)
    assert found[4] == 0 and found.min() >= 0


@pytest.mark.parametrize("labeled", [0, 6])
def test_picks_are_the_farthest_from_all_labeled_and_picked(labeled: int) -> None:
    state = make_state(labeled=labeled, round=1)
    rows = contexts(state.labels.n)

    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        assert (name, samples, views) == ("contexts", 1, 1)
        return rows[indices]

    query = ContextualDiversity().select(replace(state, scorer=scorer), 9, np.random.default_rng(0))
    reference = state.labels.labeled.tolist()
    for pick in query.indices.tolist():
        reach = {
            i: min((slow_distance(rows[i], rows[j]) for j in reference), default=0) for i in state.candidates.tolist()
        }
        assert reach[pick] == pytest.approx(max(reach.values())) and pick not in reference
        reference.append(pick)
    assert query.reasons is not None and query.reasons[0].startswith("contexts" if labeled else "a random start")


@pytest.mark.parametrize("labeled", [0, 6])
def test_samples_without_pixels_are_apart_by_their_probabilities(labeled: int) -> None:
    """Labels of several predicted classes too: there is a farthest candidate, and it is not by chance."""
    state = make_state(labeled=labeled, round=1)
    rows = np.sort(np.concatenate([state.labels.labeled, state.candidates]))
    probs = dict(zip(rows.tolist(), replace(state, candidates=rows).probs()[:, 0], strict=True))
    assert not labeled or len({int(probs[i].argmax()) for i in state.labels.labeled.tolist()}) > 1
    picks = ContextualDiversity().select(state, 5, np.random.default_rng(0)).indices.tolist()
    reference = [*state.labels.labeled.tolist(), *([] if labeled else picks[:1])]
    for pick in picks if labeled else picks[1:]:
        reach = {
            i: min(float(((probs[i] - probs[j]) * np.log(probs[i] / probs[j])).sum() / 2) for j in reference)
            for i in state.candidates.tolist()
        }
        assert reach[pick] == pytest.approx(max(reach.values())) and reach[pick] > 0
        reference.append(pick)


def test_badge_draws_from_gradients_that_the_learner_makes() -> None:
    """The same picks as of candidates whose gradients, of rank one, come in two factors."""
    state = make_state(classes=2)
    probs = state.probs().mean(axis=1)
    errors = probs - np.eye(2)[probs.argmax(axis=1)]
    features = np.concatenate([batch.features for batch in state.predictions() if batch.features is not None])
    dense = np.zeros((state.labels.n, 2 * features.shape[1]))
    dense[state.candidates] = (errors[:, :, None] * features[:, None]).reshape(len(probs), -1)
    asked = replace(state, scorer=lambda name, rows, *_: dense[rows] if name == "gradients" else dense[:, 0])
    ours, factored = (Badge().select(s, 9, np.random.default_rng(3)).indices.tolist() for s in (asked, state))
    assert ours == factored
