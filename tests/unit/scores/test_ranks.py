import numpy as np
import pytest
import scipy.stats

from hybrid_al.errors import InputError, UnknownName
from hybrid_al.scores.ranks import fuse, mid_ranks


def test_mid_ranks_average_ties() -> None:
    values = np.array([3.0, 1, 3, 2, 3, 1])
    expected = (scipy.stats.rankdata(values, method="average") - 0.5) / 6
    np.testing.assert_allclose(mid_ranks(values), expected)


def test_mid_ranks_of_a_constant_of_one_and_of_nothing() -> None:
    np.testing.assert_array_equal(mid_ranks(np.full(7, 3.2)), 0.5)
    np.testing.assert_array_equal(mid_ranks(np.array([-4.0])), 0.5)
    assert mid_ranks(np.empty(0)).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_mid_ranks_refuse_what_cannot_be_ranked(bad: float) -> None:
    with pytest.raises(InputError, match="at 1"):
        mid_ranks(np.array([0.0, bad]))


def test_fuse_is_the_weighted_mean_of_mid_ranks() -> None:
    rng = np.random.default_rng(0)
    parts = {"a": rng.normal(size=9), "b": 1e6 * rng.random(9)}
    expected = (2 * mid_ranks(parts["a"]) + 0.5 * mid_ranks(parts["b"])) / 2.5
    np.testing.assert_allclose(fuse(parts, {"a": 2, "b": 0.5}), expected)


def test_fuse_wants_weights_for_exactly_its_terms() -> None:
    with pytest.raises(UnknownName, match="b"):
        fuse({"a": np.arange(3.0), "b": np.arange(3.0)}, {"a": 1})
    with pytest.raises(UnknownName, match="b"):
        fuse({"a": np.arange(3.0)}, {"a": 1, "b": 1})


@pytest.mark.parametrize("weights", [{"a": -1.0}, {"a": np.nan}, {"a": 0.0}])
def test_fuse_refuses_senseless_weights(weights: dict[str, float]) -> None:
    with pytest.raises(InputError, match="weight"):
        fuse({"a": np.arange(3.0)}, weights)
