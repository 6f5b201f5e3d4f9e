"""The guard and the head that it judges scores with, against references."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.special import entr, softmax

from hybrid_al.embeddings import Embeddings
from hybrid_al.errors import InputError
from hybrid_al.labels import LabelStore
from hybrid_al.query import Entropy, Guarded, QueryState, TypiClust
from hybrid_al.query.cover import coverage
from hybrid_al.query.linear_head import cross_fitted, fit_head
from hybrid_al.testing import make_state
from hybrid_al.types import Annotation, FloatArray

LATE = {"name": "entropy"}


def with_labels(state: QueryState, target: dict[int, int]) -> QueryState:
    """The same state with other classes of the labeled samples."""
    given = (Annotation(i, "class", target[i], "synthetic", 0) for i in state.labels.labeled.tolist())
    return replace(state, labels=LabelStore(state.labels.n, tuple(given)))


def line(n: int, *, noise: float = 0.0, gap: float = 0.0, seed: int = 0) -> QueryState:
    """A pool on a line in which n of 60 samples are labeled by the side they lie on; near the middle at random."""
    rng = np.random.default_rng(seed)
    state = make_state(60, labeled=n, held_out=0, classes=2)
    x = rng.permutation(np.linspace(-1, 1, 60)).astype(np.float32)
    side = np.where(rng.random(60) < noise * (1 - abs(x)), rng.integers(2, size=60), x > 0)
    vectors = np.stack([x + gap * np.sign(x), np.ones(60, dtype=np.float32)], axis=1)
    state = replace(state, embeddings=Embeddings(vectors, "e", "m"))
    return with_labels(state, {i: int(side[i]) for i in range(60)})


def loss(weight: FloatArray, bias: FloatArray, x: FloatArray, y: list[int], strength: float) -> float:
    """The objective of the head, sample by sample."""
    total = (weight**2).sum() / (2 * strength) + (bias**2).sum() / 2000
    for row, target in zip(x, y, strict=True):
        total -= np.log(softmax(weight @ row + bias)[target])
    return float(total)


def test_the_head_minimises_its_loss() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(15, 3)), [0, 1, 2, 1, 0] * 3
    weight, bias = fit_head(x, np.asarray(y), 4, 0.5)  # the loss is convex: no slope, no better answer
    for at in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[at] = 1e-4
        slope = (loss(weight + step, bias, x, y, 0.5) - loss(weight - step, bias, x, y, 0.5)) / 2e-4
        assert abs(slope) < 1e-4
    for c in range(4):
        step = 1e-4 * np.eye(4)[c]
        assert abs(loss(weight, bias + step, x, y, 0.5) - loss(weight, bias - step, x, y, 0.5)) / 2e-4 < 1e-4
    assert softmax(x @ weight.T + bias, axis=1)[:, 3].max() < 0.01  # it never saw that class


def test_each_sample_is_judged_by_a_head_that_did_not_see_it() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 2)), np.asarray([0, 1, 2, 0, 1, 0, 1, 0, 0])
    probs = cross_fitted(x, y, 20, 1.0, rng)
    for i in range(9):
        others = np.arange(9) != i
        weight, bias = fit_head(x[others], y[others], 3, 1.0)
        np.testing.assert_allclose(probs[i], softmax(weight @ x[i] + bias), atol=1e-6)


def test_folds_hold_as_much_of_each_class_as_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[list[int]]()

    def fit(x: FloatArray, y: np.ndarray, classes: int, strength: float) -> tuple[FloatArray, FloatArray]:
        seen.append(np.bincount(y, minlength=classes).tolist())
        return np.zeros((classes, x.shape[1])), np.zeros(classes)

    monkeypatch.setattr("hybrid_al.query.linear_head.fit_head", fit)
    cross_fitted(np.zeros((15, 1)), np.repeat([0, 1], [10, 5]), 5, 1.0, np.random.default_rng(0))
    assert seen == [[8, 4]] * 5


def test_trust_is_how_unlikely_the_order_of_errors_is_by_chance() -> None:
    state, guard = line(16, noise=1.5, seed=4), Guarded(late=LATE)
    labeled = state.labels.labeled
    pool = state.vectors(np.arange(60)).astype(np.float64)
    scaled = (pool[labeled] - pool.mean(axis=0)) / np.maximum(pool.std(axis=0), 1e-6)
    targets = state.labels.class_targets()
    probs = cross_fitted(scaled, targets, 5, 0.01, np.random.default_rng(7))
    score, wrong = entr(probs).sum(axis=1), probs.argmax(axis=1) != targets
    k = int(wrong.sum())
    assert 2 <= k <= 8

    def pairs(errors: set[int]) -> float:
        rest = set(range(16)) - errors
        return float(sum((score[e] > score[r]) + (score[e] == score[r]) / 2 for e in errors for r in rest))

    found = pairs(set(np.flatnonzero(wrong).tolist()))
    by_chance = [pairs(set(errors)) for errors in combinations(range(16), k)]
    p = np.mean(np.asarray(by_chance) >= found)
    trust, words = guard.trust(state, np.random.default_rng(7))
    assert trust == pytest.approx(max(0, 1 - 2 * p), abs=1e-9)
    assert words == f"scores find the {k} errors at 16 labels with AUROC {found / (k * (16 - k)):.2f}"


def test_the_late_strategy_gets_its_share_and_the_early_one_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state(60, labeled=9)
    monkeypatch.setattr(Guarded, "trust", lambda *_: (0.8, "found"))
    covered = coverage(state, 0.3, "cosine", np.random.default_rng(0))
    count = round(0.8 * covered * 10)
    assert 0 < count < 10
    query = Guarded(late=LATE, share=0.3).select(state, 10, np.random.default_rng(0))
    values = Entropy().select(state, count, np.random.default_rng(0))
    assert query.indices[:count].tolist() == values.indices.tolist()
    rng = np.random.default_rng(0)
    coverage(state, 0.3, "cosine", rng)
    Entropy().select(state, count, rng)
    left = replace(state, candidates=np.setdiff1d(state.candidates, values.indices))
    assert query.indices[count:].tolist() == TypiClust().select(left, 10 - count, rng).indices.tolist()
    assert query.reasons is not None
    said = f"found; labels cover {100 * covered:.0f} %: {count} of 10 by entropy; "
    assert all(reason.startswith(said) for reason in query.reasons)
    assert "entropy in the top" in query.reasons[0] and "entropy in the top" not in query.reasons[-1]


def test_random_labels_earn_no_trust_and_a_noisy_border_does() -> None:
    by_chance, earned = list[float](), list[float]()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        state = line(50, noise=1.2, seed=seed)
        earned.append(Guarded().trust(state, rng)[0])
        by_chance.append(
            Guarded().trust(with_labels(state, dict(enumerate(rng.integers(2, size=60).tolist()))), rng)[0]
        )
    assert np.mean(by_chance) < 0.45 and np.mean(earned) > 0.75


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (make_state(labeled=0), "too few labels to judge scores by"),
        (make_state(labeled=1), "too few labels to judge scores by"),
        (make_state(one_class=True), "0 errors at 6 labels, so scores cannot be judged"),
        (line(30, gap=4), "0 errors at 30 labels, so scores cannot be judged"),
    ],
    ids=["no labels", "one label", "one class", "no errors"],
)
def test_without_anything_to_judge_by_the_early_strategy_asks(state: QueryState, words: str) -> None:
    guard = Guarded(late=LATE, strength=100.0)
    assert guard.trust(state, np.random.default_rng(0)) == (0.0, words)
    query = guard.select(state, 4, np.random.default_rng(0))
    assert query.reasons is not None
    assert all(reason.startswith(words) and ": 0 of 4 by entropy" in reason for reason in query.reasons)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"early": {"name": "entropy"}}, "guarded.early: expected a strategy that needs no model"),
        ({"late": {"name": "entropie"}}, "guarded.late.name: .*entropie"),
        ({"late": {"name": "bald", "sample": 3}}, r"guarded\.late \(bald\): .*sample"),
        ({"late": {"name": "bald", "samples": "many"}}, r"guarded\.late\.samples: "),
        ({"share": 1.0}, "guarded.share: expected a share in"),
        ({"folds": 1}, "guarded.folds: expected a whole number of 2 or more"),
        ({"strength": 0.0}, "guarded.strength: expected a number above 0"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Guarded(**settings)  # type: ignore[arg-type]
