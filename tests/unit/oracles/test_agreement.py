"""Agreement and consensus against published tables, slow references and drawn readers whose errors are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hybrid_al.core.types import IGNORE
from hybrid_al.errors import InputError
from hybrid_al.oracles.agreement import MISSING, cohen, dawid_skene, dice, fleiss, majority, soft, staple, votes

# Fleiss 1971 as in textbooks: 10 samples, 14 raters, 5 classes; kappa 0.210
TABLE = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def drawn_readers(n: int, classes: int, rates: list[float], seed: int = 0) -> tuple[Any, Any]:
    """True classes (N,), and answers (N, R) of readers that are right at these rates."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    wrong = (truth[:, None] + rng.integers(1, classes, (n, len(rates)))) % classes
    return truth, np.where(rng.random((n, len(rates))) < rates, truth[:, None], wrong)


def test_votes_shares_and_majorities() -> None:
    answers = np.asarray([[0, 0, 1], [0, 1, MISSING], [MISSING] * 3, [2, 2, 2]])
    assert votes(answers, 3).tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 3]]
    assert majority(answers, 3).tolist() == [0, MISSING, MISSING, 2]
    shares = soft(answers, 3)
    np.testing.assert_allclose(shares[0], [2 / 3, 1 / 3, 0])
    assert np.isnan(shares[2]).all()
    with pytest.raises(InputError, match="from 0 to 1, or -1, got"):
        votes(answers, 2)


def test_kappa_of_two_readers_is_that_of_the_textbook() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5, so kappa 0.4."""
    a, b = np.repeat([1, 1, 0, 0], [20, 5, 10, 15]), np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    np.testing.assert_allclose(cohen(np.stack([a, b], axis=1), 2), [0.4, 0.4, 0.4])
    more = np.stack([a, b], axis=1)
    more = np.concatenate([more, [[1, MISSING], [MISSING, 0]]])
    np.testing.assert_allclose(cohen(more, 2), [0.4, 0.4, 0.4])
    assert np.isnan(cohen(np.zeros((5, 2), dtype=np.int64), 2)).all()
    assert np.isnan(cohen(np.zeros((5, 1), dtype=np.int64), 2)).all()


def test_kappa_of_many_readers_is_that_of_the_table() -> None:
    answers = np.asarray([np.repeat(np.arange(5), row) for row in TABLE])
    by_class = fleiss(answers, 5)
    assert by_class[-1] == pytest.approx(0.210, abs=5e-4)
    counts = np.asarray(TABLE)
    p = counts.sum(axis=0) / counts.sum()
    slow = 1 - (counts * (14 - counts)).sum(axis=0) / (10 * 14 * 13 * p * (1 - p))  # Fleiss 1971, equation 11
    np.testing.assert_allclose(by_class[:-1], slow)
    assert np.isnan(fleiss(np.asarray([[0, 0], [1, MISSING]]), 2)).all()


def test_dice_of_pairs() -> None:
    a, b, c = (np.zeros((4, 4), dtype=np.uint8) for _ in range(3))
    a[:2], b[:1], c[:2], c[0, 0] = 1, 1, 1, IGNORE
    slow = [2 * 4 / 12, 2 * 7 / 14, 2 * 3 / 10]
    np.testing.assert_allclose(dice([a, b, c], 3)[1], np.mean(slow))
    assert np.isnan(dice([a, b, c], 3)[2]) and np.isnan(dice([a], 2)).all()


def slow_dawid_skene(answers: Any, classes: int, steps: int) -> Any:
    """By loops over samples, readers and classes, as the paper writes it."""
    n, readers = answers.shape
    t = [[sum(x == k for x in row) / sum(x >= 0 for x in row) for k in range(classes)] for row in answers.tolist()]
    for _ in range(steps):
        p = [sum(t[i][k] for i in range(n)) / n for k in range(classes)]
        pi = np.zeros((readers, classes, classes))
        for r in range(readers):
            for k in range(classes):
                for i in range(n):
                    if answers[i, r] >= 0:
                        pi[r, k, answers[i, r]] += t[i][k]
                pi[r, k] /= pi[r, k].sum()
        for i in range(n):
            joint = []
            for k in range(classes):
                value = p[k]
                for r in range(readers):
                    if answers[i, r] >= 0:
                        value *= pi[r, k, answers[i, r]]
                joint.append(value)
            t[i] = [value / sum(joint) for value in joint]
    return np.asarray(t), pi


def test_dawid_skene_against_loops() -> None:
    _, answers = drawn_readers(40, 3, [0.9, 0.7, 0.6, 0.5])
    answers[::7, 0] = MISSING
    found = dawid_skene(answers, 3)
    probs, confusion = slow_dawid_skene(answers, 3, 300)
    np.testing.assert_allclose(found.probs, probs, atol=1e-4)
    np.testing.assert_allclose(found.confusion, confusion, atol=1e-3)


def test_dawid_skene_finds_who_is_right_where_a_majority_is_wrong() -> None:
    truth, answers = drawn_readers(1000, 3, [0.95, 0.6, 0.5, 0.45, 0.45])
    found = dawid_skene(answers, 3)
    right = (found.probs.argmax(axis=1) == truth).mean()
    assert right > (majority(answers, 3) == truth).mean() + 0.1 and right > 0.93
    np.testing.assert_allclose(found.confusion[0].diagonal(), 0.95, atol=0.05)
    np.testing.assert_allclose(found.probs.sum(axis=1), 1)
    with pytest.raises(InputError, match="expected one of each sample at least, got none of sample 1"):
        dawid_skene(np.asarray([[0, 1], [MISSING, MISSING]]), 2)


def test_staple_finds_the_structure_and_how_readers_draw() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((60, 60), dtype=np.bool_)
    truth[15:45, 10:50] = True
    p, q = np.asarray([0.95, 0.9, 0.6, 0.85]), np.asarray([0.98, 0.9, 0.95, 0.7])
    draws = rng.random((4, 60, 60))
    masks = np.where(truth, draws < p[:, None, None], draws >= q[:, None, None])
    found = staple(masks)
    np.testing.assert_allclose(found.sensitivity, p, atol=0.03)
    np.testing.assert_allclose(found.specificity, q, atol=0.03)
    assert ((found.probs > 0.5) == truth).mean() > 0.97
    assert ((found.probs > 0.5) == truth).mean() > ((masks.mean(axis=0) > 0.5) == truth).mean()


def test_staple_where_all_agree() -> None:
    mask = np.zeros((5, 5), dtype=np.bool_)
    mask[1:3] = True
    np.testing.assert_allclose(staple(np.stack([mask] * 3)).probs, mask, atol=1e-6)
    for whole in (np.zeros((2, 3, 3), dtype=np.bool_), np.ones((2, 3, 3), dtype=np.bool_)):
        np.testing.assert_array_equal(staple(whole).probs, whole[0])
    with pytest.raises(InputError, match="readers, height, width"):
        staple(mask)
