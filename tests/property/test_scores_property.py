"""What must hold of ranks, fusion and the budget curve whatever the numbers are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybrid_al.core.types import FloatArray
from hybrid_al.metrics.classification import aubc
from hybrid_al.scores.ranks import fuse, mid_ranks
from hybrid_al.scores.samples import entropy, least_confidence, margin

quick = settings(max_examples=50, deadline=None)

finite = st.floats(-1e6, 1e6)
terms = arrays(np.float64, st.integers(1, 30), elements=finite)
whole = arrays(np.int64, st.integers(1, 30), elements=st.integers(-5, 5))


@quick
@given(terms)
def test_mid_ranks_stay_inside_and_average_one_half(values: FloatArray) -> None:
    ranks = mid_ranks(values)
    assert ((ranks > 0) & (ranks < 1)).all()
    assert abs(ranks.mean() - 0.5) < 1e-9


@quick
@given(whole)
def test_mid_ranks_know_only_the_order(values: FloatArray) -> None:
    np.testing.assert_array_equal(mid_ranks(values), mid_ranks(np.exp(values) * 7 - 3))
    np.testing.assert_allclose(mid_ranks(-values), 1 - mid_ranks(values), atol=1e-12)
    np.testing.assert_array_equal(mid_ranks(mid_ranks(values)), mid_ranks(values))


@quick
@given(whole, st.integers(0, 99))
def test_mid_ranks_follow_a_permutation(values: FloatArray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(values))
    np.testing.assert_array_equal(mid_ranks(values)[order], mid_ranks(values[order]))


@quick
@given(
    arrays(np.float64, st.tuples(st.just(3), st.integers(1, 20)), elements=finite),
    st.lists(st.floats(0, 10), min_size=3, max_size=3),
)
def test_fuse_stays_inside_and_ignores_scale(values: FloatArray, weights: list[float]) -> None:
    named = dict(zip("abc", weights, strict=True))
    if not any(weights) or sum(weights) < 1e-300:
        return
    fused = fuse(dict(zip("abc", values, strict=True)), named)
    assert ((fused > 0) & (fused < 1)).all()
    np.testing.assert_allclose(fused, fuse(dict(zip("abc", values, strict=True)), {k: 3 * w for k, w in named.items()}))


@quick
@given(terms)
def test_a_constant_term_moves_nothing(values: FloatArray) -> None:
    fused = fuse({"a": values, "b": np.ones_like(values)}, {"a": 1, "b": 1})
    np.testing.assert_array_equal(np.argsort(fused, kind="stable"), np.argsort(mid_ranks(values), kind="stable"))


@quick
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_acquisition_functions_stay_in_the_unit_interval(c: int, s: int, seed: int) -> None:
    probs = np.random.default_rng(seed).dirichlet(np.full(c, 0.05), size=(8, s))
    for score in (entropy, margin, least_confidence):
        values = score(probs)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()


@quick
@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1)), min_size=1, max_size=12), st.booleans())
def test_aubc_lies_between_the_extremes(steps: list[tuple[int, float]], log2: bool) -> None:
    labels = np.cumsum([s for s, _ in steps]).tolist()
    values = [v for _, v in steps]
    area = aubc(labels, values, log2=log2)
    assert min(values) - 1e-9 <= area <= max(values) + 1e-9


@quick
@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.floats(0, 1), st.booleans())
def test_aubc_of_a_flat_curve_is_its_height(steps: list[int], height: float, log2: bool) -> None:
    labels = np.cumsum(steps).tolist()
    assert abs(aubc(labels, [height] * len(labels), log2=log2) - height) < 1e-9
