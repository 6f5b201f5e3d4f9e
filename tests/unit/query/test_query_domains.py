"""Queries of domain shift against slow references and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import torch
import torch.nn.functional as F

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, FloatArray, IntArray, PredictionBatch
from hybrid_al.errors import InputError
from hybrid_al.query.base import QueryState, QueryStrategy
from hybrid_al.query.domains import Discriminator, class_vectors
from hybrid_al.query.strategies import AADA, D2ADA, EADA, LAMDA, MADA, S3VAADA, STDR, TQS
from hybrid_al.query.strategies.d2ada import _weighted_turns
from hybrid_al.query.strategies.diana import nearest_class, uncertain_inconsistent
from hybrid_al.query.strategies.s3vaada import vulnerability
from hybrid_al.query.strategies.sdm import loss_slopes, margin_slopes
from hybrid_al.query.synthetic import make_state
from hybrid_al.testing import check_strategy


def state_of(vectors: FloatArray, labels: dict[int, int], source: list[int]) -> QueryState:
    """A state over some embeddings with labels, of which some samples are of the source."""
    base, n = make_state(len(vectors), labeled=0, held_out=0), len(vectors)
    store = LabelStore(n, tuple(Annotation(i, "class", c, "test", 0) for i, c in labels.items()))
    return replace(
        base,
        labels=store,
        candidates=np.setdiff1d(np.arange(n), list(labels)),
        embeddings=Embeddings(vectors.astype(np.float32), "test", "test"),
        extras={**base.extras, "source": np.isin(np.arange(n), source).astype(np.float64)},
    )


def pairs(n: int = 40) -> tuple[FloatArray, QueryState]:
    """A source around 0, labeled, and a target of which a half is like it and a half far away."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, 4))
    vectors[3 * n // 4 :] += 8
    half = n // 2
    return vectors, state_of(vectors, {i: i % 2 for i in range(half)}, list(range(half)))


def test_a_discriminator_tells_what_is_unlike() -> None:
    vectors, state = pairs()
    odds = Discriminator().log_odds(vectors[:20], vectors[20:], vectors[20:], np.random.default_rng(0))
    assert odds[10:].min() > odds[:10].max()
    assert (Discriminator().log_odds(vectors[:0], vectors, vectors, np.random.default_rng(0)) == 0).all()
    picks = AADA().select(state, 5, np.random.default_rng(0)).indices
    assert (picks >= 30).all()


def test_anchors_far_and_near() -> None:
    _, state = pairs()
    assert (MADA().select(state, 10, np.random.default_rng(0)).indices >= 30).all()
    both = STDR(anchors=5).select(state, 5, np.random.default_rng(0)).indices
    assert (both[:3] >= 30).all() and (both[3:] < 30).all()


def test_anchors_of_classes_are_far_where_a_class_looks_otherwise() -> None:
    """As in masks, where the model gives the vectors, and of samples with one class each, whose others are 0."""
    _, state = pairs()
    vectors = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    vectors[25] += 9
    asked = list[str]()

    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        asked.append(name)
        return vectors[indices]

    drawn = replace(state, scorer=scorer, embeddings=None)
    assert MADA(by="classes").select(drawn, 1, np.random.default_rng(0)).indices.tolist() == [25]
    assert set(asked) == {"class_features"}
    vectors[30] = np.nan
    with pytest.raises(InputError, match=r"class features of round 1: expected finite numbers"):
        STDR(by="classes").select(drawn, 2, np.random.default_rng(0))

    rows = np.asarray([7, 2, 11])
    for i, vector in zip(rows, class_vectors(state, rows).reshape(3, 3, -1), strict=True):
        (batch,) = state.predictor(np.asarray([i]), 1, 1) if state.predictor else []
        assert batch.features is not None
        predicted = int(batch.probs[0, 0].argmax())
        np.testing.assert_allclose(vector[predicted], batch.features[0], rtol=1e-6)
        assert not np.delete(vector, predicted, axis=0).any()


@pytest.mark.parametrize("strategy", [MADA(by="classes"), STDR(by="classes")])
def test_strategies_of_classes_keep_the_contract(strategy: QueryStrategy) -> None:
    check_strategy(strategy)


def test_tqs_draws_among_those_that_are_probably_wrong() -> None:
    state = make_state(200, labeled=20)
    probs = state.probs().mean(axis=1)
    wrong = round((1 - probs.max(axis=1).mean()) * len(probs))
    strategy = TQS(steps=5, members=2)
    query = strategy.select(state, 10, np.random.default_rng(0))
    assert query.scores is not None
    best = state.candidates[np.argsort(-query.scores.values)[:wrong]]
    assert np.isin(query.indices, best).all() and wrong < len(probs)
    assert set(query.indices) != set(best[:10])


def test_eada_takes_the_smallest_gap_of_the_upper_half() -> None:
    state, weight = make_state(31, labeled=6), np.random.default_rng(1).normal(size=(3, 8))
    features = np.random.default_rng(0).normal(size=(36, 8))

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        probs = scipy.special.softmax(features[indices] @ weight.T, axis=1)[:, None]
        yield PredictionBatch(indices, probs, features[indices], (weight, np.zeros(3)))

    logits = features[state.candidates] @ weight.T
    free, top = -scipy.special.logsumexp(logits, axis=1), np.sort(logits, axis=1)
    kept = sorted(np.argsort(-free)[:13].tolist(), key=lambda i: top[i, -1] - top[i, -2])
    picks = EADA().select(replace(state, predictor=predict), 4, np.random.default_rng(0)).indices
    assert picks.tolist() == state.candidates[kept[:4]].tolist()


@pytest.mark.parametrize("classes", [2, 5])
def test_slopes_of_margin_and_loss_are_those_of_autograd(classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits = torch.from_numpy(rng.normal(size=(6, classes))).requires_grad_()
    first, second = np.arange(6) % classes, (np.arange(6) + 1) % classes
    rows, p = torch.arange(6), logits.softmax(dim=1)
    margin = (p[rows, torch.from_numpy(first)] - p[rows, torch.from_numpy(second)]).sum()
    expected = torch.autograd.grad(margin, logits, retain_graph=True)[0].numpy()
    assert np.allclose(margin_slopes(p.detach().numpy(), first, second), expected)
    y, unit = torch.from_numpy(first), F.normalize(logits)
    loss = F.cross_entropy(logits, y, reduction="sum") + F.multi_margin_loss(unit, y, reduction="sum")
    expected = torch.autograd.grad(loss - unit[rows, y].sum(), logits)[0].numpy()
    assert np.allclose(loss_slopes(logits.detach().numpy(), first), expected)


def test_lamda_equals_the_slow_reference() -> None:
    state = make_state(60, labeled=12)
    assert state.embeddings is not None
    pool = np.sort(np.concatenate([state.candidates, state.labels.labeled]))
    rows = state.embeddings.vectors[pool].astype(np.float64)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    of = {int(i): row for i, row in zip(pool, rows, strict=True)}
    source = state.extras["source"] > 0.5
    asked = [int(i) for i in state.labels.labeled if not source[i]]
    target = [*state.candidates.tolist(), *asked]

    def kernel(i: int, j: int) -> float:
        return float(np.exp(-((of[i] - of[j]) ** 2).sum() / rows.shape[1]))

    probs = np.sort(state.probs().mean(axis=1), axis=1)
    sure = dict(zip(state.candidates.tolist(), probs[:, -1] - probs[:, -2] > 0.8, strict=True))
    chosen, free, picks = list(asked), list[int](), list[int]()
    while len(picks) < 6:
        left = [i for i in state.candidates.tolist() if i not in chosen]
        gain = [
            np.mean([kernel(i, j) for j in target]) - sum(kernel(i, j) for j in chosen) / (len(chosen) + 1)
            for i in left
        ]
        best = left[int(np.argmax(gain))]
        chosen.append(best)
        if sure[best]:
            free.append(best)
        if not sure[best] or len(free) > 2 * 6:
            picks.append(free.pop(0) if sure[best] else best)
    assert any(sure.values())
    assert LAMDA().select(state, 6, np.random.default_rng(0)).indices.tolist() == picks


def test_s3vaada_begins_at_the_most_vulnerable_and_spreads() -> None:
    state = make_state(60, labeled=6)
    picks = S3VAADA(alpha=0.0, beta=1.0).select(state, 3, np.random.default_rng(0)).indices
    probs = dict(zip(state.candidates.tolist(), state.probs().mean(axis=1), strict=True))
    assert len({int(probs[i].argmax()) for i in picks.tolist()}) == 3
    with pytest.raises(InputError, match=r"alpha \+ beta: expected 1 at most, got 1\.2"):
        S3VAADA(alpha=0.7, beta=0.5)


def test_vulnerability_is_that_of_the_gradient_of_the_divergence() -> None:
    rng = np.random.default_rng(0)
    z, w, b = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=4)
    start = np.random.default_rng(1).normal(size=z.shape)
    d = torch.from_numpy(1e-4 * start / np.linalg.norm(start, axis=1, keepdims=True)).requires_grad_()
    clean = torch.from_numpy(z @ w.T + b).log_softmax(dim=1)
    moved = ((torch.from_numpy(z) + d) @ torch.from_numpy(w).T + torch.from_numpy(b)).log_softmax(dim=1)
    gradient = torch.autograd.grad((clean.exp() * (clean - moved)).sum(), d)[0].numpy()
    step = 0.3 * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    after = scipy.special.log_softmax((z + step) @ w.T + b, axis=1)
    expected = (clean.exp().numpy() * (clean.numpy() - after)).sum(axis=1)
    assert vulnerability(z, w, b, 0.3, 1, np.random.default_rng(1)) == pytest.approx(expected, rel=1e-3)


def test_diana_finds_the_loss_of_labels_that_were_unsure_and_wrong() -> None:
    own, quarter = np.repeat([0.1, 0.6, 2.0], 20) + np.linspace(0, 0.05, 60), np.repeat([3, 1, 0], 20)
    posterior = uncertain_inconsistent(own, quarter, np.asarray([0.1, 0.62, 2.0, 1.9]), 0.5, 20)
    assert (posterior[2:] > 0.9).all() and (posterior[:2] < 0.1).all()
    features = np.asarray([[1.0, 0.1], [0.1, 1.0]])
    assert nearest_class(features, np.eye(2)[[1, 0]], np.asarray([7, 3])).tolist() == [3, 7]


def test_d2ada_asks_where_the_target_is_dense_and_classes_take_turns() -> None:
    assert _weighted_turns([np.asarray([1, 2, 3]), np.asarray([7, 8])], [2, 1]).tolist() == [1, 2, 7, 3, 8]
    _, state = pairs(80)
    picks = D2ADA().select(replace(state, round=1), 6, np.random.default_rng(0)).indices
    assert (picks >= 60).mean() > 0.5
    check_strategy(D2ADA(by="features"))


def test_d2ada_of_masks_reads_features_and_the_class_of_most_pixels() -> None:
    """Of two predicted classes one is as in the source, the other has moved away; 4 picks of the density, then 4."""
    vectors, state = pairs(80)
    shares = np.where((np.arange(80) % 2 == 0)[:, None], [0.9, 0.1], [0.2, 0.8])
    uncertain, asked = np.zeros(80), set[tuple[str, int]]()
    uncertain[40:44] = 1

    def scorer(name: str, indices: IntArray, samples: int, views: int) -> FloatArray:
        asked.add((name, len(indices)))
        return {"shares": shares, "features": vectors, "entropy": uncertain}[name][indices]

    drawn = replace(state, scorer=scorer, embeddings=None, round=2)
    query = D2ADA(by="features").select(drawn, 8, np.random.default_rng(0))
    assert asked == {("shares", 80), ("features", 80), ("entropy", 40)}
    assert (query.indices[:4] >= 60).all() and (query.indices[:4] % 2).sum() == 2
    assert set(query.indices[4:]) == {40, 41, 42, 43} and query.reasons is not None and query.reasons[4] == "uncertain"
    with pytest.raises(InputError, match=r"^by: expected features, where samples have masks, got embeddings$"):
        D2ADA().select(drawn, 8, np.random.default_rng(0))
    vectors[3] = np.inf
    with pytest.raises(InputError, match=r"^features of round 2: expected finite numbers"):
        D2ADA(by="features").select(drawn, 8, np.random.default_rng(0))


def test_aada_sees_the_features_of_the_model_where_it_is_told_to() -> None:
    vectors, state = pairs()

    def predict(indices: IntArray, samples: int, views: int) -> Iterator[PredictionBatch]:
        yield PredictionBatch(indices, np.full((len(indices), 1, 2), 0.5), vectors[indices])

    flat = Embeddings(np.zeros_like(vectors, dtype=np.float32), "test", "test")  # where nothing is unlike
    state = replace(state, embeddings=flat, predictor=predict)
    assert AADA(by="features").needs == {"features"}
    assert (AADA(by="features").select(state, 5, np.random.default_rng(0)).indices >= 30).all()
    none = state_of(vectors, {}, [])
    assert len(AADA(by="features").select(replace(none, predictor=predict), 5, np.random.default_rng(0)).indices) == 5
