"""Queries in an open set, and what is rare or cheap, on pools of which one knows what is what."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation
from hybrid_al.query.base import QueryState, QueryStrategy
from hybrid_al.query.strategies.learning_loss import LearningLoss
from hybrid_al.query.strategies.open_set import LfOSA, OpenAL, open_distance, upper_of_two
from hybrid_al.query.strategies.tqs import TQS
from hybrid_al.query.synthetic import make_state
from hybrid_al.query.terms import TERMS
from hybrid_al.testing import check_strategy

CLASS = np.arange(120) % 4  # 3 is unwanted


def open_set(labeled: int = 24) -> QueryState:
    vectors = (6 * np.eye(4, 6)[CLASS] + np.random.default_rng(0).normal(size=(120, 6))).astype(np.float32)
    labels = LabelStore(120, tuple(Annotation(i, "class", int(CLASS[i]), "t", 0) for i in range(labeled)))
    state = make_state(120, labeled=0, held_out=0, classes=4)
    return replace(state, labels=labels, candidates=np.arange(labeled, 120), embeddings=Embeddings(vectors, "e", "m"))


@pytest.mark.parametrize("strategy", [LfOSA((3,)), OpenAL((3,), share=0.3)])
def test_what_is_asked_is_wanted(strategy: LfOSA | OpenAL) -> None:
    picks = strategy.select(open_set(), 20, np.random.default_rng(0)).indices
    assert (CLASS[picks] == 3).sum() <= 1
    check_strategy(strategy)


@pytest.mark.parametrize("strategy", [LfOSA(), TQS(members=2, steps=1), LearningLoss()])
def test_few_labels_of_many_classes_are_no_warning(strategy: QueryStrategy) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strategy.select(make_state(40, labeled=12, classes=20), 5, np.random.default_rng(0))


def test_openal_asks_the_most_uncertain_of_those_that_are_most_like_what_is_wanted() -> None:
    state = make_state(80, labeled=12)
    query = OpenAL(share=0.25).select(state, 5, np.random.default_rng(0))
    assert query.scores is not None and len(query.scores.indices) == 17  # of 68
    order = np.argsort(-query.scores.values)[:5]
    assert set(query.indices.tolist()) == set(query.scores.indices[order].tolist())


def test_the_distance_is_mahalanobis_to_the_nearest_of_either_side() -> None:
    rng = np.random.default_rng(0)
    rows, labeled, targets = rng.normal(size=(5, 3)), rng.normal(size=(9, 3)), np.arange(9) % 3
    means = np.stack([labeled[targets == c].mean(axis=0) for c in range(3)])
    within = labeled - means[targets]
    inverse = np.linalg.inv(within.T @ within / 9 + 0.1 * np.eye(3))
    for row, value in zip(rows, open_distance(rows, labeled, targets, (2,), 0.1), strict=True):
        a, b, c = (float(np.sqrt((row - mean) @ inverse @ (row - mean))) for mean in means)
        assert value == pytest.approx(min(a, b) - c)
    assert open_distance(rows, labeled[:0], targets[:0], (), 0.1).tolist() == [0] * 5


def test_the_upper_gaussian_has_the_large_values() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(m, 0.3, 30) for m in (0, 5)])
    upper = upper_of_two(values, np.zeros(60, dtype=np.int64), 0)
    assert upper[:30].max() < 0.1 and upper[30:].min() > 0.9
    assert upper_of_two(np.ones(3), np.zeros(3, dtype=np.int64), 0).tolist() == [0.5] * 3


def test_energies_and_classes_that_are_not_learned() -> None:
    state = make_state(60, labeled=12)
    batches = list(state.predictions())
    logits = np.concatenate(
        [b.features @ b.head[0].T for b in batches if b.features is not None and b.head is not None]
    )
    energy, margin = (TERMS[name].score(state) for name in ("free_energy", "logit_margin"))
    np.testing.assert_allclose(energy, [-np.log(np.exp(row).sum()) for row in logits])
    np.testing.assert_allclose(margin, [sorted(row)[-2] - max(row) for row in logits])
    probs = state.probs()[:, 0]
    doubt = [1 - np.mean([p.max() for p in probs if p.argmax() == c]) for c in range(3)]
    np.testing.assert_allclose(TERMS["unlearned"].score(state), probs @ doubt)


def test_minority_and_cheapness() -> None:
    state = make_state(60, labeled=12)
    counts = np.bincount(state.labels.class_targets(), minlength=3)
    expected = state.probs()[:, 0] @ ((counts.min() + 1) / (counts + 1))
    np.testing.assert_allclose(TERMS["minority"].score(state), expected)
    np.testing.assert_array_equal(TERMS["cheapness"].score(state), -state.extras["cost"][state.candidates])
