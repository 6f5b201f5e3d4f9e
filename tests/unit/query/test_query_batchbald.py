"""BatchBALD against the enumeration of all joint labels, and lazy greedy against greedy."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.special

from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.errors import InputError
from hybrid_al.kernels.greedy import lazy_greedy
from hybrid_al.kernels.mutual_information import _Batch, batch_bald
from hybrid_al.query.strategies import BatchBald
from hybrid_al.query.synthetic import make_state
from hybrid_al.scores import samples as scores


def passes(m: int, s: int, c: int, seed: int = 0, spread: float = 1.0) -> FloatArray:
    rng = np.random.default_rng(seed)
    probs: FloatArray = scipy.special.softmax(rng.normal(size=(m, 1, c)) + spread * rng.normal(size=(m, s, c)), axis=2)
    return probs


def information(probs_MSC: FloatArray, batch: list[int]) -> float:
    """Joint mutual information in nats, configuration by configuration."""
    joint = 0.0
    for labels in itertools.product(range(probs_MSC.shape[2]), repeat=len(batch)):
        joint_probs = np.prod([probs_MSC[i, :, y] for i, y in zip(batch, labels, strict=True)], axis=0)
        joint += float(scipy.special.entr(joint_probs.mean()))
    return joint - float(sum(scipy.special.entr(probs_MSC[i]).sum(axis=1).mean() for i in batch))


def slow(probs_MSC: FloatArray, budget: int) -> tuple[list[int], list[float]]:
    picks, gains, before = list[int](), list[float](), 0.0
    for _ in range(budget):
        others = [i for i in range(len(probs_MSC)) if i not in picks]
        values = [information(probs_MSC, [*picks, i]) for i in others]
        picks.append(others[int(np.argmax(values))])
        gains.append(max(values) - before)
        before = max(values)
    return picks, gains


@pytest.mark.parametrize(("s", "c", "budget", "spread"), [(2, 2, 6, 1.0), (5, 3, 4, 0.3), (7, 4, 3, 3.0)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_batch_bald_is_the_enumeration(s: int, c: int, budget: int, spread: float, kind: type[np.floating]) -> None:
    probs = passes(12, s, c, spread=spread).astype(kind)
    picks, gains = batch_bald(probs, budget, np.random.default_rng(0))
    expected, values = slow(probs.astype(np.float64), budget)
    assert picks.tolist() == expected
    np.testing.assert_allclose(gains, values, atol=1e-6)


def test_many_candidates_come_in_chunks_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    probs = passes(300, 4, 3)
    whole = batch_bald(probs, 4, np.random.default_rng(0))
    monkeypatch.setattr("hybrid_al.kernels.mutual_information.CELLS", 50)
    parts = batch_bald(probs, 4, np.random.default_rng(0))
    assert whole[0].tolist() == parts[0].tolist() == slow(probs, 4)[0]
    np.testing.assert_allclose(whole[1], parts[1])


def test_a_label_says_no_less_beside_groups_of_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hybrid_al.kernels.mutual_information.ROUGH", 7)
    certain = np.eye(3)[np.random.default_rng(1).integers(3, size=(12, 9))]
    for probs in (passes(12, 9, 3), passes(12, 9, 3, spread=4.0), certain):
        batch, every = _Batch(9, 100, np.random.default_rng(0)), np.arange(12)
        for row in probs[:6]:  # exact, then drawn
            batch.add(row)
            groups = batch.in_groups()
            assert len(groups.weight) <= min(len(batch.weight), 14) and groups.weight.sum() == pytest.approx(1)
            np.testing.assert_allclose(groups.weight @ groups.posterior, batch.weight @ batch.posterior, atol=1e-12)
            more = groups.entropies(probs, every) - batch.entropies(probs, every)
            assert more.min() > -1e-12
        assert len(batch.weight) <= 14 or (len(groups.weight) < 9 and more.max() > 1e-3)


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_groups_leave_the_picks_as_they_are(monkeypatch: pytest.MonkeyPatch, spread: float) -> None:
    """Each candidate again with other tenth digits, and again as it is: of near equals the best."""
    probs = passes(25, 5, 3, spread=spread)
    near = probs + 1e-9 * passes(25, 5, 3, seed=1)
    probs = np.concatenate([probs, near / near.sum(axis=2, keepdims=True), probs[::-1]])
    monkeypatch.setattr("hybrid_al.kernels.mutual_information.ROUGH", 5)
    monkeypatch.setattr("hybrid_al.kernels.mutual_information.FIRST", 2)
    picks, gains = batch_bald(probs, 5, np.random.default_rng(0))
    before = 0.0
    for i, gain in enumerate(gains):
        values = np.array([information(probs, [*picks[:i], j]) for j in range(75)])
        values[picks[:i]] = 0
        assert values[picks[i]] > values.max() - 1e-13
        assert gain == pytest.approx(values.max() - before, abs=1e-12)
        before = values.max()


def test_groups_leave_few_gains_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    probs = passes(400, 10, 4, spread=2.0)
    entropies, computed = _Batch.entropies, dict[int, int]()

    def counted(self: _Batch, probs_MSC: FloatArray, places: IntArray) -> FloatArray:
        computed[rough] = computed.get(rough, 0) + len(places) * (len(self.weight) == 3000)
        return entropies(self, probs_MSC, places)

    monkeypatch.setattr(_Batch, "entropies", counted)
    found = list[list[int]]()
    for rough in (10_000, 256):  # all configurations, then groups of them
        monkeypatch.setattr("hybrid_al.kernels.mutual_information.ROUGH", rough)
        found.append(batch_bald(probs, 9, np.random.default_rng(0), configurations=3000)[0].tolist())
    assert found[0] == found[1] and computed[256] < computed[10_000] / 3


def test_draws_come_near_the_enumeration() -> None:
    probs = passes(40, 6, 3, spread=1.5)
    exact = batch_bald(probs, 5, np.random.default_rng(0))
    draws = [batch_bald(probs, 5, np.random.default_rng(seed), configurations=60) for seed in range(5)]
    for picks, gains in draws:
        assert picks[:4].tolist() == exact[0][:4].tolist()  # 27 configurations hold three of them
        np.testing.assert_allclose(gains[:4], exact[1][:4], atol=1e-12)
        assert information(probs, picks.tolist()) > 0.98 * exact[1].sum()
    assert any(picks.tolist() != draws[0][0].tolist() or (gains != draws[0][1]).any() for picks, gains in draws)
    fine = batch_bald(probs, 6, np.random.default_rng(0), configurations=700)
    np.testing.assert_allclose(fine[1], batch_bald(probs, 6, np.random.default_rng(0))[1], atol=0.01)


def test_a_drawn_class_is_another_in_each_configuration() -> None:
    probs = passes(50, 8, 5)
    entropies = scipy.special.entr(probs).sum(axis=2).mean(axis=1)
    for seed in range(3):
        picks, gains = batch_bald(probs, 8, np.random.default_rng(seed), configurations=1000)
        products = np.ones((1, 8))
        for i in picks:
            products = (products[:, None] * probs[i].T).reshape(-1, 8)
        exact = float(scipy.special.entr(products.mean(axis=1)).sum() - entropies[picks].sum())
        assert abs(gains.sum() / exact - 1) < 0.015


def test_the_first_pick_is_that_of_bald_and_copies_add_less() -> None:
    probs = passes(30, 5, 3)
    twice = np.concatenate([probs, probs[[int(scores.bald(probs).argmax())]]])
    picks, gains = batch_bald(twice, 2, np.random.default_rng(0))
    bald = scores.bald(twice) * np.log(3)
    assert picks[0] == bald.argmax() and gains[0] == pytest.approx(bald.max())
    assert gains[1] < np.sort(bald)[-2]


def test_certain_passes() -> None:
    """One-hot probabilities: 0 log 0 = 0, impossible configurations are left out, and what is known adds nothing."""
    probs: FloatArray = np.eye(2)[np.array([[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]])]
    picks, gains = batch_bald(probs, 4, np.random.default_rng(0))
    assert picks.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(gains, [np.log(2), np.log(2), 0, 0], atol=1e-12)


def test_where_passes_agree_it_is_random() -> None:
    state = make_state()
    inner = state.predictor
    assert inner is not None
    agreed = replace(state, predictor=lambda i, s, v: (replace(b, probs=b.probs.repeat(s, 1)) for b in inner(i, 1, 1)))
    picks = {tuple(BatchBald().select(agreed, 4, np.random.default_rng(s)).indices.tolist()) for s in range(8)}
    assert len(picks) == 8


def test_the_strategy_asks_for_its_passes() -> None:
    state = make_state()
    query = BatchBald(samples=4, configurations=100).select(state, 3, np.random.default_rng(1))
    order = np.random.default_rng(1).permutation(len(state.candidates))
    assert query.indices.tolist() == state.candidates[order[slow(state.probs(4)[order], 3)[0]]].tolist()
    assert query.reasons is not None and query.reasons[0].startswith("its label would add ")


def test_settings_that_make_no_sense() -> None:
    for wrong in ({"samples": 1}, {"configurations": 0}):
        with pytest.raises(InputError, match=f"BatchBald.{next(iter(wrong))}"):
            BatchBald(**wrong)
    with pytest.raises(InputError, match="batch_bald"):
        batch_bald(np.ones((3, 2, 1)), 1, np.random.default_rng(0))


@pytest.mark.parametrize("extra", [None, 0, 1, 50])
@pytest.mark.parametrize("seed", range(4))
def test_lazy_greedy_is_greedy(seed: int, extra: int | None) -> None:
    """Weighted coverage: submodular, with ties; bounds that are the gain itself, near it, far above it, or none."""
    rng = np.random.default_rng(seed)
    holds, weight = rng.random((90, 40)) < 0.1, rng.integers(0, 3, 40)
    covered, asked = np.zeros(40, dtype=bool), list[int]()

    def gains(places: IntArray) -> FloatArray:
        asked.append(len(places))
        found: FloatArray = (holds[places] & ~covered).astype(np.float64) @ weight
        return found

    def take(place: int) -> None:
        covered[:] |= holds[place]

    def at_most(places: IntArray) -> FloatArray:
        found: FloatArray = gains(places) + (extra or 0)
        asked.pop()
        return found

    picks, gained = lazy_greedy(gains, take, 90, 30, chunk=5, at_most=None if extra is None else at_most)
    left, done, expected = list(range(90)), np.zeros(40, dtype=bool), list[int]()
    for _, gain in zip(range(30), gained, strict=True):
        values = [int(((holds[i] & ~done) * weight).sum()) for i in left]
        assert gain == max(values)
        expected.append(left[int(np.argmax(values))])
        if max(values) == 0:
            break
        left.remove(expected[-1])
        done |= holds[expected[-1]]
    assert picks[: len(expected)].tolist() == expected and len(set(picks.tolist())) == 30
    assert sum(asked) < 90 * 30 / (9 if extra == 0 else 3)
    with pytest.raises(InputError, match="1 to 90 picks"):
        lazy_greedy(gains, take, 90, 91)
