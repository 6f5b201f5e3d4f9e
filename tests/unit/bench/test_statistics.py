"""The statistics of the benchmark against numbers worked out by hand, SciPy, slow references and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hybrid_al.bench import statistics as bench
from hybrid_al.bench.statistics import (
    Comparison,
    Interval,
    call,
    compare,
    detectable,
    holm,
    interval,
    labels_to,
    penalty_matrix,
    ranks,
    seeds_needed,
    upper_bound,
    worst_deficit,
)
from hybrid_al.core.types import FloatArray
from hybrid_al.errors import InputError

Draw = Callable[[np.random.Generator, int], FloatArray]

# name: (draw n values, their true mean)
KINDS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "exponential": (lambda rng, n: rng.exponential(size=n), 1.0),
}


def flips(d: FloatArray) -> float:
    """Two-sided sign-flip p of the mean, all 2^n patterns one by one."""
    observed = abs(sum(d))
    sums = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in itertools.product([1, -1], repeat=len(d))
    ]
    return float(np.mean([total >= observed - 1e-9 for total in sums]))


def bca(x: FloatArray, level: float) -> tuple[float, float]:
    """BCa limits of the mean step by step: Efron and Tibshirani (1993), equations 14.9 to 14.15."""
    n = len(x)
    quantile = math.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    means = np.random.default_rng(5).choice(x, size=(200_000, n)).mean(axis=1)
    z0 = stats.norm.ppf((np.mean(means < x.mean()) + np.mean(means <= x.mean())) / 2)
    jackknife = np.array([np.delete(x, i).mean() for i in range(n)])
    u = jackknife.mean() - jackknife
    a = (u**3).sum() / (6 * (u**2).sum() ** 1.5)
    shares = [stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in (-quantile, quantile)]
    return float(np.quantile(means, shares[0])), float(np.quantile(means, shares[1]))


# intervals


def test_interval_of_few_values_is_students() -> None:
    result = interval([1.0, 2.0, 3.0])  # sd 1, t(2) at 0.975 = 4.3027, half a width = 4.3027 / sqrt(3)
    assert (result.mean, result.n) == (2.0, 3)
    assert (result.low, result.high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)
    assert interval(np.arange(7)).high == pytest.approx(stats.t.interval(0.95, 6, 3, stats.sem(np.arange(7)))[1])


def test_interval_of_more_values_is_the_widened_bca() -> None:
    x = np.array([0.81, 0.92, 0.88, 0.93, 0.94, 0.90, 0.95, 0.62, 0.91, 0.93, 0.89, 0.94])
    result = interval(x)
    assert (result.low, result.high) == pytest.approx(bca(x, 0.95), abs=0.005)
    n = len(x)
    wide = 2 * stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1)) - 1
    scipys = stats.bootstrap((x,), np.mean, confidence_level=wide, method="BCa", rng=0).confidence_interval
    assert (result.low, result.high) == pytest.approx((scipys.low, scipys.high), abs=1e-4)
    assert result.mean - result.low > result.high - result.mean  # the long tail is below
    assert result == interval(x)


def test_interval_changes_method_at_the_threshold() -> None:
    skewed = np.array([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 3.0])
    few, enough = interval(skewed[1:]), interval(skewed)
    assert len(skewed) == bench.SMALLEST_BOOTSTRAP
    assert few.high - few.mean == pytest.approx(few.mean - few.low)
    assert enough.high - enough.mean > 1.5 * (enough.mean - enough.low)


@pytest.mark.parametrize("n", [2, 7, 8, 20])
def test_interval_of_equal_values_has_no_width(n: int) -> None:
    assert interval([0.1] * n) == Interval(0.1, 0.1, 0.1, n)


def test_interval_of_values_equal_up_to_rounding() -> None:
    x = np.linspace(0.7, 0.9, 20)
    result = compare(x + 0.1, x).difference  # differences 0.1 +- 1e-17
    assert (result.low, result.high) == pytest.approx((0.1, 0.1), abs=1e-12)


def test_interval_of_one_value_knows_nothing() -> None:
    assert interval([0.7]) == Interval(0.7, -math.inf, math.inf, 1)
    assert upper_bound([0.7]) == math.inf


def test_interval_moves_and_stretches_with_its_values() -> None:
    x = np.random.default_rng(0).gamma(2.0, size=15)
    plain, moved = interval(x), interval(1000 + 0.001 * x)
    assert (moved.low, moved.high) == pytest.approx((1000 + 0.001 * plain.low, 1000 + 0.001 * plain.high), abs=1e-9)


# Share of 95 % intervals that hold the mean and of 90 % upper bounds above it, measured with 2,000 samples (standard
# error 0.005 to 0.01); the bounds below leave four standard errors of the samples drawn here.
#                      n = 5    n = 10   n = 20
# normal       95 %    0.96     0.94     0.95
#              90 % up 0.90     0.90     0.89
# exponential  95 %    0.87     0.92     0.95
#              90 % up 0.77     0.85     0.87
LEAST = {
    ("normal", 5): (0.92, 0.86),
    ("normal", 10): (0.90, 0.85),
    ("normal", 20): (0.91, 0.85),
    ("exponential", 5): (0.82, 0.71),
    ("exponential", 10): (0.87, 0.79),
    ("exponential", 20): (0.90, 0.81),
}


@pytest.mark.parametrize(("kind", "n"), list(LEAST))
def test_coverage(kind: str, n: int) -> None:
    draw, mean = KINDS[kind]
    rng, trials = np.random.default_rng(n), 1000 if n < bench.SMALLEST_BOOTSTRAP else 400
    samples = [draw(rng, n) for _ in range(trials)]
    result = [interval(x) for x in samples]
    coverage = np.mean([i.low <= mean <= i.high for i in result])
    above = np.mean([mean <= upper_bound(x) for x in samples])
    assert coverage >= LEAST[kind, n][0], coverage
    assert above >= LEAST[kind, n][1], above
    if kind == "normal":  # neither too wide
        assert coverage <= 0.985, coverage
        assert above <= 0.95, above


def test_upper_bound_is_one_sided() -> None:
    x = [1.0, 2.0, 3.0, 4.0]  # mean 2.5, sd 1.29099, t(3) at 0.9 = 1.63774
    assert upper_bound(x) == pytest.approx(2.5 + 1.63774 * 1.29099 / 2, abs=1e-4)
    assert upper_bound(x, level=0.95) == interval(x, level=0.9).high


# two arms


@pytest.mark.parametrize(
    ("d", "p"),
    [
        ([1, 2, 3], 2 / 8),  # only +++ and --- reach 6
        ([4, 2, -1], 4 / 8),  # sums 7, 5, -5, -7 reach 5
        ([-4, -2, 1], 4 / 8),
        ([1, 2, -3], 1.0),
        ([0, 0, 0], 1.0),
        ([0, 0, 5], 1.0),  # a zero cannot be flipped
        ([5], 1.0),
        ([0.1] * 6, 2 / 64),
        ([0.1, 0.2, -0.3], 1.0),  # a sum of 0 but for rounding
        ([0.3, 0.1, 0.2, -0.1], 6 / 16),  # sums 0.5 twice (one rounded) and 0.7, either sign
    ],
)
def test_sign_flip_by_hand(d: list[float], p: float) -> None:
    result = compare([0.5 + x for x in d], [0.5] * len(d))
    assert result.p == pytest.approx(p)


@pytest.mark.parametrize("n", [2, 5, 10, 11])
def test_sign_flip_against_every_pattern_and_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.4, size=n), rng.normal(size=n).round(1)
    result = compare(a, b)
    scipys = stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=2**n)
    assert result.p == pytest.approx(flips(a - b))
    assert result.p == pytest.approx(float(scipys.pvalue))


def test_sign_flip_of_many_seeds_is_drawn_and_never_zero() -> None:
    n = bench.EXACT_SEEDS + 1
    d = np.random.default_rng(0).normal(0.3, size=n)
    result = compare(d, np.zeros(n))
    sums = np.random.default_rng(1).choice([-1.0, 1.0], size=(100_000, n)) @ d
    assert result.p == pytest.approx(np.mean(np.abs(sums) >= d.sum()), abs=0.01)
    assert 0 < result.p == compare(d, np.zeros(n)).p
    assert compare(np.ones(n), np.zeros(n)).p == pytest.approx(2 / 10_000)
    assert compare(np.ones(n - 1), np.zeros(n - 1)).p == 2.0 ** (2 - n)


def test_paired_counts_and_turns_round() -> None:
    a, b = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.8, 0.8, 0.8, 0.4])
    result, other = compare(a, b), compare(b, a)
    assert (result.wins, result.losses) == (2, 1) == (other.losses, other.wins)
    assert result.difference.mean == pytest.approx(0.05) == -other.difference.mean
    assert result.p == other.p
    assert result.difference == interval(a - b)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 * 0.01; 2 * 0.03; 0.04, but not below it
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])  # 2 * 0.6, cut
    assert holm([0.02]) == pytest.approx([0.02])


def test_holm_against_statsmodels() -> None:
    for m in (2, 5, 91):
        p = np.random.default_rng(m).uniform(0, 1.5 / m, size=m).clip(0, 1).round(2)
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_false_calls_stay_within_the_level() -> None:
    """Three arms, none different from a fourth: without Holm, one is called different in a tenth of the trials."""
    rng, trials, least, adjusted = np.random.default_rng(0), 1500, [], []
    for _ in range(trials):
        base, arms = rng.normal(size=7), rng.normal(size=(3, 7))
        p = [compare(arm, base).p for arm in arms]
        least.append(min(p))
        adjusted.append(holm(p).min())
    assert np.mean(np.array(least) < 0.05) > 0.08
    assert 0.01 < np.mean(np.array(adjusted) < 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def compare_all(arms: FloatArray, base: FloatArray, margin: float) -> list[str]:
    result = [compare(arm, base) for arm in arms]
    adjusted = holm([comparison.p for comparison in result])
    return [call(comparison, float(p), margin=margin) for comparison, p in zip(result, adjusted, strict=True)]


def test_planted_calls_are_found() -> None:
    """Seeds differ by 0.1; only pairing shows +0.02 and -0.02 under noise of 0.01, a tie, and one drowned in noise."""
    rng = np.random.default_rng(3)
    seeds = 0.8 + 0.1 * rng.normal(size=20)
    noise = rng.normal(size=(5, 20)) * np.array([0.01, 0.01, 0.003, 0.05, 0.003])[:, None]
    noise -= noise.mean(axis=1, keepdims=True)
    arms = seeds + noise + np.array([0.02, -0.02, 0.0, 0.012, 0.003])[:, None]
    assert compare_all(arms, seeds, margin=0.005) == ["better", "worse", "tie", "undecided", "tie"]
    assert stats.ttest_ind(arms[0], seeds).pvalue > 0.5
    assert compare(arms[4], seeds).p < 0.005  # surely there, and surely too small to matter
    assert compare_all(arms, seeds, margin=0.0)[4] == "better"


def test_call_by_hand() -> None:
    def one(low: float, mean: float, high: float, p: float, margin: float) -> str:
        return call(Comparison(Interval(mean, low, high, 20), p, 0, 0), p, margin=margin)

    assert one(0.01, 0.02, 0.03, 0.01, 0.005) == "better"
    assert one(-0.03, -0.02, -0.01, 0.01, 0.005) == "worse"
    assert one(-0.01, 0.00, 0.01, 0.9, 0.01) == "tie"
    assert one(0.001, 0.002, 0.003, 0.001, 0.005) == "tie"
    assert one(-0.02, 0.00, 0.01, 0.9, 0.01) == "undecided"
    assert one(-0.01, 0.00, 0.02, 0.9, 0.01) == "undecided"
    assert one(0.01, 0.02, 0.03, 0.05, 0.005) == "undecided"
    assert one(-math.inf, 0.00, math.inf, 1.0, 0.5) == "undecided"
    assert one(0.0, 0.0, 0.0, 1.0, 0.0) == "tie"


# many arms


def test_penalty_matrix_by_hand() -> None:
    """Five seeds, threshold 2.776; the four rounds: t = 3.16; t = 1.58; the same in each seed; no difference."""
    d_RS = np.array([[0, 1, 1, 1, 2], [-1, 1, 1, 1, 3], [0.1, 0.1, 0.1, 0.1, 0.1], [0, 0, 0, 0, 0]], dtype=float)
    b_SR = np.random.default_rng(0).normal(size=(5, 1)).repeat(4, axis=1)
    b_SR[:, 2] = 0.7
    values = np.stack([b_SR + d_RS.T, b_SR])
    assert penalty_matrix(values).tolist() == [[0, 0.5], [0, 0]]
    assert penalty_matrix(values[::-1]).tolist() == [[0, 0], [0.5, 0]]
    assert penalty_matrix(values[:, :1]).tolist() == [[0, 0], [0, 0]]  # one seed
    assert penalty_matrix(values, level=0.5).tolist() == [[0, 0.75], [0, 0]]


def test_penalty_matrix_takes_the_t_of_differences() -> None:
    d = np.array([-1, 0, 0, 0, 1]) + 2.5 * math.sqrt(0.5 / 5)  # t = 2.5: over 2.306, the threshold of two samples
    assert penalty_matrix(np.stack([d, np.zeros(5)])[:, :, None]).tolist() == [[0, 0], [0, 0]]


def test_penalty_matrix_against_scipy() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 6, 9)) + np.array([0, 0.5, 1, 1.5])[:, None, None]
    expected = np.zeros((4, 4))
    for i, j, r in itertools.product(range(4), range(4), range(9)):
        if i != j:
            t = stats.ttest_rel(values[i, :, r], values[j, :, r])
            expected[i, j] += (t.pvalue < 0.05 and t.statistic > 0) / 9
    result = penalty_matrix(values)
    assert result == pytest.approx(expected)
    assert 0 < result.sum() < 6


def test_ranks_by_hand() -> None:
    """Seed 1 ranks the arms 1, 2, 3; seed 2 ranks them 2, 1, 3; a resample has both seeds half of the time."""
    first, second, third = ranks(np.array([[1.0, 0.0], [0.0, 0.5], [-1.0, -1.0]]))
    assert (first.mean.mean, second.mean.mean, third.mean.mean) == (1.5, 1.5, 3.0)
    assert (first.mean.low, first.mean.high, first.mean.n) == (1.0, 2.0, 2)
    assert third.mean == Interval(3.0, 3.0, 3.0, 2)
    assert first.first == pytest.approx(0.75, abs=0.02)  # 1 and 0.5 beat 0 and 0.25; 0 loses to 0.5
    assert second.first == pytest.approx(0.25, abs=0.02)
    assert third.first == 0


def test_ranks_share_ties() -> None:
    x = np.random.default_rng(0).normal(size=10)
    result = ranks(np.stack([x, x, x - 1]))
    assert [rank.mean.mean for rank in result] == [1.5, 1.5, 3.0]
    assert [rank.first for rank in result] == [0.5, 0.5, 0.0]
    assert result[0].mean == Interval(1.5, 1.5, 1.5, 10)


def test_ranks_of_one_seed_know_nothing() -> None:
    assert [rank.mean for rank in ranks(np.array([[0.1], [0.3]]))] == [Interval(2, 1, 2, 1), Interval(1, 1, 2, 1)]


def test_ranks_against_a_slow_bootstrap() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(3, 9)) + np.array([0.0, 0.3, 0.6])[:, None]
    result = ranks(values)
    places = np.array([[1 + sum(values[:, s] > values[k, s]) for s in range(9)] for k in range(3)])
    draws = rng.integers(9, size=(20_000, 9))
    tail = stats.norm.cdf(-math.sqrt(9 / 8) * stats.t.ppf(0.975, 8))
    largest = values[:, draws].mean(axis=2).argmax(axis=0)
    for k in range(3):
        low, high = np.quantile(places[k][draws].mean(axis=1), [tail, 1 - tail])
        assert result[k].mean.mean == pytest.approx(places[k].mean())
        assert (result[k].mean.low, result[k].mean.high) == pytest.approx((low, high), abs=0.12)  # a ninth is one place
        assert result[k].first == pytest.approx(np.mean(largest == k), abs=0.02)
    assert sum(rank.first for rank in result) == pytest.approx(1)


def test_coverage_of_ranks() -> None:
    rng, shift = np.random.default_rng(0), np.array([0.0, 0.2, 0.2, 1.0])[:, None]
    truth = stats.rankdata(-(rng.normal(size=(4, 200_000)) + shift), axis=0).mean(axis=1)
    coverage = [
        [rank.mean.low <= true <= rank.mean.high for rank, true in zip(ranks(x + shift), truth, strict=True)]
        for x in rng.normal(size=(300, 4, 10))
    ]
    assert np.mean(coverage, axis=0).min() > 0.89  # measured 0.93 to 0.96; the plain percentile interval 0.87 to 0.91


# labels, deficits


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (0.5, 10.0),  # there at the start
        (0.6, 10.0),
        (0.65, 15.0),  # half of the way from 0.6 to 0.7
        (0.7, 20.0),
        (0.75, 35.0),  # over the dip: 0.68 at 30 to 0.82 at 40, half of the way
        (0.82, 40.0),
        (0.83, math.inf),
    ],
)
def test_labels_to_by_hand(target: float, labels: float) -> None:
    assert labels_to([10, 20, 30, 40], [0.6, 0.7, 0.68, 0.82], target) == pytest.approx(labels)


def test_labels_to_of_one_round() -> None:
    assert labels_to([10], [0.6], 0.6) == 10
    assert labels_to([10], [0.6], 0.61) == math.inf


def test_worst_deficit_by_hand() -> None:
    """Deficits: -2 +- none, 1 (sd 1), 0 (sd 4): the mean is worst in the second, the bound in the third."""
    result = worst_deficit({"good": [2, 2, 2], "behind": [-2, -1, 0], "noisy": [-4, 0, 4]})
    t = 1.88562  # t(2) at 0.9
    assert (result.where, result.mean) == ("behind", 1.0)
    assert result.upper == pytest.approx(max(-2, 1 + t / math.sqrt(3), 4 * t / math.sqrt(3)), abs=1e-4)
    assert worst_deficit({"behind": [-2, -1, 0]}).upper == pytest.approx(upper_bound([0, 1, 2]))
    assert worst_deficit({"good": [2, 2, 2], "one": [1.0]}).upper == math.inf
    assert worst_deficit({"a": [-1.0, -1.0], "b": [-1.0, -1.0]}).where == "a"


def test_coverage_of_the_worst_deficit() -> None:
    """One setting is truly worst: its bound alone must hold; with several as bad the largest bound only errs less."""
    rng = np.random.default_rng(0)
    for true, most in ([0.0, -9.0, -9.0], 0.93), ([0.0, 0.0, 0.0], 1.0):
        draws = rng.normal(size=(1000, 3, 5)) - np.array(true)[:, None]
        coverage = np.mean([worst_deficit(dict(zip("abc", draw, strict=True))).upper >= 0 for draw in draws])
        assert 0.87 <= coverage <= most, coverage


# power


def scaled(deviation: float, n: int = 12) -> FloatArray:
    """Values of exactly this standard deviation."""
    x = np.random.default_rng(0).normal(size=n)
    values: FloatArray = x / x.std(ddof=1) * deviation
    return values


def test_seeds_needed_by_the_table() -> None:
    """An effect of 0.5 takes 34 pairs for a power of 0.8 and 44 for 0.9; of 0.2, 199; of 0.8, 15."""
    assert [seeds_needed(scaled(0.02), d) for d in (0.01, -0.01, 0.004, 0.016)] == [34, 34, 199, 15]
    assert seeds_needed(scaled(0.02), 0.01, power=0.9) == 44
    assert seeds_needed(scaled(1.0), 1e6) == 2
    assert seeds_needed([0.3, 0.3, 0.3], 0.001) == 2
    assert seeds_needed(scaled(1.0), 1e-5) == pytest.approx(7.849e10, rel=1e-3)  # (1.960 + 0.8416)^2 / 1e-10


@pytest.mark.parametrize("effect", [0.5, 1.2])
def test_power_is_as_promised(effect: float) -> None:
    n = seeds_needed(scaled(2.0), 2.0 * effect)
    draws = np.random.default_rng(0).normal(effect, size=(20_000, n))
    power = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05)
    by_two_fewer = np.mean(stats.ttest_1samp(draws[:, :-2], 0, axis=1).pvalue < 0.05)
    assert by_two_fewer < 0.795 < power < 0.86


@pytest.mark.parametrize("n", [2, 3, 5, 20, 200])
def test_detectable_is_seeds_needed_turned_round(n: int) -> None:
    x = scaled(0.03, n)
    d = detectable(x)
    assert seeds_needed(x, 1.0001 * d) == n
    assert seeds_needed(x, 0.9999 * d) == n + 1
    assert detectable(x, power=0.9) > d > detectable(x, level=0.1)


def test_detectable_by_the_table() -> None:
    assert detectable(scaled(0.02, 34)) == pytest.approx(0.01, rel=0.01)
    assert detectable([0.5, 0.5, 0.5]) == 0
    for n in (1_500, 5_000):  # 1,500: where statsmodels' power is nan at the effect of 1 that the search starts from
        assert detectable(scaled(1.0, n)) == pytest.approx((1.95996 + 0.84162) / math.sqrt(n), rel=1e-3)


# what is refused

NAN = [0.1, math.nan, 0.3]
TWO = [0.1, 0.2]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: interval([]), r"interval: expected values of shape \(n\), no axis empty, got shape \(0,\)"),
        (lambda: interval(NAN), "interval: expected finite values, got nan"),
        (lambda: interval(np.zeros((2, 2))), "interval: .*shape"),
        (lambda: interval(TWO, level=1.0), "interval: expected a level"),
        (lambda: interval(TWO, level=0.0), "interval: expected a level"),
        (lambda: upper_bound(TWO, level=0.5), "upper_bound: expected a level"),
        (lambda: compare(TWO, [0.1]), "compare: expected as many seeds in both arms, got 2 and 1"),
        (lambda: compare(NAN, NAN), "compare: expected finite"),
        (lambda: compare([], []), "compare: .*empty"),
        (lambda: holm([]), "holm: .*empty"),
        (lambda: holm([0.1, 1.1]), "holm: expected p values"),
        (lambda: holm([-0.1, 0.1]), "holm: expected p values"),
        (lambda: call(compare(TWO, TWO), 1.0, margin=-0.1), "call: expected a margin"),
        (lambda: call(compare(TWO, TWO), 1.0, margin=math.nan), "call: expected a margin"),
        (lambda: call(compare(TWO, TWO), 1.5, margin=0.1), "call: expected a p"),
        (lambda: penalty_matrix(np.zeros((2, 3))), "penalty_matrix: .*K, S, R"),
        (lambda: penalty_matrix(np.zeros((2, 0, 3))), "penalty_matrix: .*empty"),
        (lambda: penalty_matrix(np.full((2, 3, 1), np.inf)), "penalty_matrix: expected finite values, got inf"),
        (lambda: penalty_matrix(np.zeros((2, 3, 1)), level=0), "penalty_matrix: expected a level"),
        (lambda: ranks(np.zeros(3)), "ranks: .*K, S"),
        (lambda: ranks(np.array([[math.nan]])), "ranks: expected finite"),
        (lambda: labels_to([1, 2], [0.5], 0.5), "labels_to: expected one value per number of labels, got 1 for 2"),
        (lambda: labels_to([2, 2], TWO, 0.5), "labels_to: expected growing"),
        (lambda: labels_to([0, 2], TWO, 0.5), "labels_to: expected growing"),
        (lambda: labels_to([1, 2], TWO, math.nan), "labels_to: expected a finite target"),
        (lambda: worst_deficit({}), "worst_deficit: expected at least one setting"),
        (lambda: worst_deficit({"a": TWO, "b": NAN}), "worst_deficit of b: expected finite"),
        (lambda: seeds_needed([0.1], 0.1), "seeds_needed: expected the differences of at least 2 seeds, got 1"),
        (lambda: seeds_needed(TWO, 0.0), "seeds_needed: expected a difference"),
        (lambda: seeds_needed([0.1, 0.1], 0.0), "seeds_needed: expected a difference"),
        (lambda: seeds_needed(TWO, math.inf), "seeds_needed: expected a difference"),
        (lambda: seeds_needed(TWO, 1e-12), "seeds_needed: expected a difference"),
        (lambda: seeds_needed(TWO, 0.1, power=0.01), "seeds_needed: expected 0 < level < power < 1"),
        (lambda: detectable(TWO, power=1.0), "detectable: expected 0 < level < power < 1"),
        (lambda: detectable([0.1]), "detectable: expected the differences"),
    ],
)
def test_bad_input_is_refused(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        wrong()
    assert "\n" not in str(caught.value)
