"""Statistics that decide between arms: intervals, paired tests, ranks, label savings, deficits and power."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import optimize, stats

from ..core.types import FloatArray, IntArray
from ..errors import InputError

SMALLEST_BOOTSTRAP = 8  # measured: below, the widened BCa covers less than Student's t on normal values; see `interval`
RESAMPLES = 9_999
EXACT_SEEDS = 28
ROUNDING = 1e-12  # two sums closer than this share of their terms are the same number

Numbers = FloatArray | IntArray | Sequence[float]
Call = Literal["better", "worse", "tie", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` values and its two-sided confidence limits."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """One arm minus another over paired seeds: interval of the mean difference, its p in (0, 1], seeds won and lost."""

    difference: Interval
    p: float
    wins: int
    losses: int


@dataclass(frozen=True)
class Rank:
    """Mean rank of an arm over seeds (1 = best), and the share of resamples in which its mean value is the largest."""

    mean: Interval
    first: float


@dataclass(frozen=True)
class Deficit:
    """How far an arm falls behind at worst: the setting, the mean deficit there, and an upper bound for all settings.

    Positive = behind.
    """

    where: str
    mean: float
    upper: float


def interval(values: Numbers, *, level: float = 0.95) -> Interval:
    """Mean of values (n,) with a two-sided confidence interval of `level` in (0, 0.99].

    From 8 values on: BCa bootstrap (Efron, JASA 1987, section 3; Efron and Tibshirani 1993, section 14.3), taken at
    the level that makes up for a bootstrap's narrowness at small n (Hesterberg, arXiv 1411.5279, section 5.3, who does
    it for percentile intervals). Below: Student's t. Same values, same interval: the resampling seed is fixed.
    Share of 95 % intervals that hold the mean, of 2,000 simulated samples:

               normal               exponential          Beta(9, 1)           Student's t, 4 degrees
        n      5    8    10   20    5    8    10   20    5    8    10   20    5    8    10   20
        t      0.96 0.95 0.95 0.95  0.87 0.89 0.90 0.92  0.90 0.90 0.92 0.93  0.95 0.96 0.96 0.96
        BCa    0.85 0.90 0.91 0.92  0.79 0.86 0.88 0.93  0.81 0.86 0.89 0.92  0.82 0.85 0.89 0.90
        here   as t 0.95 0.94 0.95  as t 0.92 0.92 0.95  as t 0.92 0.93 0.95  as t 0.92 0.94 0.92

    Equal values give zero width. One value says nothing of the spread: its limits are -inf and inf.
    Raises InputError on a wrong shape, no values, values that are not finite, or a level outside the range.
    """
    x = _array("interval", values, "n")
    if not 0 < level <= 0.99:
        raise InputError("interval", "a level in (0, 0.99]", str(level))
    n, start, spread = len(x), float(x.min()), float(np.ptp(x))
    if n == 1:
        return Interval(start, -math.inf, math.inf, 1)
    if spread == 0:
        return Interval(start, start, start, n)
    # on the unit scale, so that values which differ by rounding alone resample cleanly
    low, high = (_bca if n >= SMALLEST_BOOTSTRAP else _student)((x - start) / spread, level)
    return Interval(float(x.mean()), start + spread * low, start + spread * high, n)


def _student(x: FloatArray, level: float) -> tuple[float, float]:
    limits = stats.t.interval(level, len(x) - 1, loc=x.mean(), scale=x.std(ddof=1) / math.sqrt(len(x)))
    return float(limits[0]), float(limits[1])


def _bca(x: FloatArray, level: float) -> tuple[float, float]:
    limits = stats.bootstrap(
        (x,), np.mean, confidence_level=_bootstrap_level(level, len(x)), n_resamples=RESAMPLES, method="BCa", rng=0
    ).confidence_interval
    return float(limits.low), float(limits.high)


def _bootstrap_level(level: float, n: int) -> float:
    """The level at which a bootstrap of n normal values is as wide as Student's t at `level`."""
    quantile = math.sqrt(n / (n - 1)) * float(stats.t.ppf((1 + level) / 2, n - 1))
    return 1 - 2 * float(stats.norm.sf(quantile))


def upper_bound(values: Numbers, *, level: float = 0.9) -> float:
    """One-sided upper confidence bound of the mean of values (n,), `level` in (0.5, 0.995]; inf for one value.

    The upper limit of the two-sided `interval` of level 2 * level - 1, whose errors above and below are equal.
    Measured at 0.9: 0.89 to 0.90 on normal values; with a long upper tail less (exponential: 0.77, 0.84, 0.85, 0.87
    for n = 5, 8, 10, 20), with a long lower tail more (Beta(9, 1): 0.96, 0.94, 0.92, 0.91).
    Raises InputError as `interval` does.
    """
    if not 0.5 < level <= 0.995:
        raise InputError("upper_bound", "a level in (0.5, 0.995]", str(level))
    return interval(values, level=2 * level - 1).high


def compare(a: Numbers, b: Numbers) -> Comparison:
    """Compare arm a (S,) with arm b (S,), paired by position: a - b with its 95 % interval, p, and seeds won and lost.

    p is two-sided, of the sign-flip permutation test of the mean difference (Fisher 1935, section 21): the share of
    all 2^S sign patterns that move the mean at least as far from 0. It is exact up to 28 seeds, above that from 9,999
    random patterns with the observed one counted in (Phipson and Smyth, SAGMB 2010), so never 0. The smallest p
    possible is 2^(1-S): fewer than 6 seeds can never reach 0.05, and after `holm` over m comparisons 2^(1-S) has to be
    below 0.05 / m. Equal arms give p = 1. Raises InputError on shapes that differ, no seeds, or values not finite.
    """
    x, y = _array("compare", a, "S"), _array("compare", b, "S")
    if x.shape != y.shape:
        raise InputError("compare", "as many seeds in both arms", f"{len(x)} and {len(y)}")
    d = x - y
    return Comparison(interval(d), _sign_flip(d), int((d > 0).sum()), int((d < 0).sum()))


def _sign_flip(d: FloatArray) -> float:
    total, slack = abs(float(d.sum())), ROUNDING * float(np.abs(d).sum())
    if total <= slack:
        return 1.0
    if len(d) > EXACT_SEEDS:
        test = stats.permutation_test(
            (d,), np.mean, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=0
        )
        return float(test.pvalue)
    # every sum is one sum of the first half plus one of the second: sort one side, look up the other
    half = len(d) // 2
    left, right = _signs(half) @ d[:half], np.sort(_signs(len(d) - half) @ d[half:])
    beyond = len(right) - np.searchsorted(right, total - slack - left)
    return 2 * int(beyond.sum()) / int(2 ** len(d))


@lru_cache
def _signs(n: int) -> FloatArray:
    """All patterns of n signs, (2^n, n)."""
    signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    signs.setflags(write=False)
    return signs


def holm(p_values: Numbers) -> FloatArray:
    """p values (M,) adjusted for asking M questions at once, in their order (Holm, 1979, section 3).

    Calling those below a level significant keeps the chance of even one false call at that level, whatever the
    dependence between them. Raises InputError on a wrong shape, no p values, or one outside [0, 1].
    """
    p = _array("holm", p_values, "M")
    if p.min() < 0 or p.max() > 1:
        raise InputError("holm", "p values in [0, 1]", f"{p.min()} to {p.max()}")
    # not statsmodels' multipletests: it collects garbage on every call, up to 250 ms in a process with torch loaded
    order = p.argsort()
    adjusted_p = np.empty_like(p)
    adjusted_p[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted_p


def call(comparison: Comparison, adjusted_p: float, *, margin: float, level: float = 0.05) -> Call:
    """Put a comparison into one word; `margin` >= 0 is the largest difference that does not matter.

    tie        the 95 % interval of the difference lies within -margin to margin, edges included
    better     else, the adjusted p is below `level` and the mean difference above 0; worse: below 0
    undecided  else: more seeds could still make it any of the three (`seeds_needed`)

    A tie goes first: a difference can be surely not 0 and surely too small to matter, and then the second decides
    what to use; p stays in the table for the first. Two one-sided tests at 0.05 (Schuirmann, 1987) ask for a 90 %
    interval only, so a tie here is the stricter. Ties are not adjusted for how many are sought.
    Raises InputError on a margin or level out of range, or a p outside [0, 1].
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise InputError("call", "a margin of 0 or more", str(margin))
    if not (0 <= adjusted_p <= 1 and 0 < level < 1):
        raise InputError("call", "a p in [0, 1] and a level in (0, 1)", f"{adjusted_p} and {level}")
    difference = comparison.difference
    if -margin <= difference.low and difference.high <= margin:
        return "tie"
    if adjusted_p < level:
        return "better" if difference.mean > 0 else "worse"
    return "undecided"


def penalty_matrix(values_KSR: FloatArray, *, level: float = 0.05) -> FloatArray:
    """Pairwise penalty matrix (K, K) of K arms over S paired seeds and R rounds, each entry a share in [0, 1].

    Entry [i, j] is the share of rounds in which arm i has the larger mean and a two-sided paired t-test at `level`
    says so; i and j may both be 0. The mean of column j is how often j is beaten: lower is better. Sum the matrices of
    several settings, so that each counts the same. Not adjusted for multiplicity.
    Ash et al. (BADGE, ICLR 2020), section 4, "pairwise comparisons", whose t over five repetitions is of differences
    too (threshold 2.776); they keep rounds at doubling distances until random sampling has 99 % of its last accuracy,
    and it is the caller who chooses the rounds here.
    The same difference other than 0 in every seed is significant from 2 seeds on (t is infinite); with one seed
    nothing is. Raises InputError on a wrong shape, an empty axis, values not finite, or a level outside (0, 1).
    """
    values = _array("penalty_matrix", values_KSR, "KSR")
    _inside("penalty_matrix", "level", level)
    arms, seeds, _ = values.shape
    if seeds == 1:
        return np.zeros((arms, arms))
    d_KKSR = values[:, None] - values[None, :]
    error_KKR = d_KKSR.std(axis=2, ddof=1) / math.sqrt(seeds)
    # t > threshold without the division, which has no answer where the differences have no spread
    beats_KKR = d_KKSR.mean(axis=2) > float(stats.t.ppf(1 - level / 2, seeds - 1)) * error_KKR
    shares: FloatArray = beats_KKR.mean(axis=2)
    return shares


def ranks(values_KS: FloatArray) -> list[Rank]:
    """Rank of each of K arms by values (K, S) over S paired seeds: rank 1 = largest value, equal values share theirs.

    `mean` is the mean rank over seeds with a 95 % percentile bootstrap interval that resamples seeds for all arms at
    once, at the level that makes up for its narrowness (as in `interval`); measured with six arms it covers 0.81 to
    0.93 at 5 seeds, 0.90 to 0.95 at 10 and 0.94 to 0.95 at 20. `first` is the share of those resamples in which the
    arm's mean value is the largest, equal ones sharing it; it sums to 1 over the arms. The same rank in every seed
    gives zero width; one seed says nothing, so its interval is 1 to K.
    Raises InputError on a wrong shape, an empty axis or values not finite.
    """
    values = _array("ranks", values_KS, "KS")
    arms, seeds = values.shape
    ranks_KS = stats.rankdata(-values, axis=0)
    counts_SB = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES).T.astype(float)
    if seeds > 1:
        tail = (1 - _bootstrap_level(0.95, seeds)) / 2
        low_K, high_K = np.quantile(ranks_KS @ counts_SB / seeds, [tail, 1 - tail], axis=1)
    else:
        low_K, high_K = np.ones(arms), np.full(arms, float(arms))
    sums_KB = values @ counts_SB
    largest_KB = sums_KB >= sums_KB.max(axis=0) - ROUNDING * seeds * np.abs(values).max()
    first_K = (largest_KB / largest_KB.sum(axis=0)).mean(axis=1)
    columns = zip(ranks_KS.mean(axis=1), low_K, high_K, first_K, strict=True)
    return [Rank(Interval(float(mean), float(low), float(high), seeds), float(f)) for mean, low, high, f in columns]


def labels_to(labels_R: Numbers, values_R: Numbers, target: float) -> float:
    """First number of labels at which the curve values_R (R,) over labels_R (R,) reaches `target`.

    Straight lines between rounds; the first number of labels where the start is there already; inf where no round is.
    A curve that reaches the target and falls again has reached it.
    Raises InputError on shapes that differ, values not finite, or labels that do not grow from above 0.
    """
    labels, values = _array("labels_to", labels_R, "R"), _array("labels_to", values_R, "R")
    if labels.shape != values.shape:
        raise InputError("labels_to", "one value per number of labels", f"{len(values)} for {len(labels)}")
    if labels[0] <= 0 or (np.diff(labels) <= 0).any():
        raise InputError("labels_to", "growing numbers of labels above 0", str(labels.tolist()))
    if not math.isfinite(target):
        raise InputError("labels_to", "a finite target", str(target))
    there = np.flatnonzero(values >= target)
    if not there.size:
        return math.inf
    r = int(there[0])
    if r == 0:
        return float(labels[0])
    share = (target - values[r - 1]) / (values[r] - values[r - 1])
    return float(labels[r - 1] + share * (labels[r] - labels[r - 1]))


def worst_deficit(differences: Mapping[str, Numbers], *, level: float = 0.9) -> Deficit:
    """The setting in which an arm falls farthest behind random, given arm minus random per seed (n,) in each setting.

    `mean` is the deficit (minus the mean difference) in that setting, the first of equals; as the largest of several
    noisy means it is biased upward. `upper` is the largest of the settings' one-sided upper bounds, at `level` each.
    With that confidence the true deficit is below `upper` in every setting, without correction for their number
    (intersection-union: Berger, Technometrics 1982): to err, `upper` must lie below the largest true deficit, hence
    so must the bound of the setting that has it, and that one bound errs with probability 1 - level at most. A setting
    with one seed makes it inf. Raises InputError on no settings, and for each as `upper_bound` does.
    """
    if not differences:
        raise InputError("worst_deficit", "at least one setting", "none")
    deficits = {name: -_array(f"worst_deficit of {name}", d, "n") for name, d in differences.items()}
    means = {name: float(deficit.mean()) for name, deficit in deficits.items()}
    where = max(means, key=lambda name: means[name])
    return Deficit(where, means[where], max(upper_bound(d, level=level) for d in deficits.values()))


def seeds_needed(differences: Numbers, d: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """How many paired seeds a two-sided paired t-test needs to see a true difference of d with this power; at least 2.

    The spread is that of the differences (n,), n >= 2, between the two arms in the seeds at hand, and as uncertain as
    n makes it. Noncentral t (Cohen 1988, section 2.3). No spread: 2.
    Raises InputError on a wrong shape, values not finite, a d of less than a millionth of the spread, or not
    0 < level < power < 1.
    """
    deviation = _deviation("seeds_needed", differences, power, level)
    if not math.isfinite(d) or d == 0 or abs(d) < 1e-6 * deviation:
        raise InputError("seeds_needed", f"a difference of at least {1e-6 * deviation:g}, not 0", str(d))
    if deviation == 0:
        return 2
    effect, enough = abs(d) / deviation, 2
    while _power(effect, enough, level) < power:
        enough *= 2
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if _power(effect, middle, level) >= power else (middle, enough)
    return enough


def detectable(differences: Numbers, *, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest true |d| that as many seeds as there are differences (n,) would see: `seeds_needed` turned round.

    0 where the differences have no spread. Raises InputError as `seeds_needed` does.
    """
    deviation = _deviation("detectable", differences, power, level)
    n, far = len(differences), 1.0
    while _power(far, n, level) < power:
        far *= 2
    return deviation * float(optimize.brentq(lambda effect: _power(effect, n, level) - power, 0.0, far, xtol=1e-9))


def _power(effect: float, n: int, level: float) -> float:
    """Power of a two-sided paired t-test to see the effect on its true side.

    Only that side is counted, and `solve_power` is not used to invert it: statsmodels gives nan for the far side and
    for the inverse at few seeds, and on the true side only where noncentrality passes 38 and the power is 1.
    """
    from statsmodels.stats.power import TTestPower

    power = float(TTestPower().power(effect, n, level / 2, alternative="larger"))
    return 1.0 if math.isnan(power) else power


def _deviation(where: str, differences: Numbers, power: float, level: float) -> float:
    x = _array(where, differences, "n")
    if len(x) < 2:
        raise InputError(where, "the differences of at least 2 seeds", str(len(x)))
    if not 0 < level < power < 1:
        raise InputError(where, "0 < level < power < 1", f"level {level}, power {power}")
    return 0.0 if np.ptp(x) == 0 else float(x.std(ddof=1))


def _array(where: str, values: Numbers, axes: str) -> FloatArray:
    """Values as float64 with one dimension per letter of `axes`, none empty, all finite."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != len(axes) or not x.size:
        raise InputError(where, f"values of shape ({', '.join(axes)}), no axis empty", f"shape {x.shape}")
    if not np.isfinite(x).all():
        raise InputError(where, "finite values", f"{x[~np.isfinite(x)][0]}")
    return x


def _inside(where: str, name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(where, f"a {name} in (0, 1)", str(value))
