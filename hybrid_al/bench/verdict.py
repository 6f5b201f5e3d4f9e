"""What paired seeds allow to say of several methods, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..report.comparison import Areas
from .compared import RANDOM
from .statistics import Call, Comparison, call, compare, holm
from .tables import LOWER_IS_BETTER

POINTS = 100.0
MARGIN = 0.005  # differences that do not matter, in units of the metric, as in the tables
LEAST_SEEDS = 6  # below, the smallest p of a sign-flip test is above 0.05
IN_WORDS: Mapping[Call, str] = {
    "better": "which is better",
    "worse": "which is worse",
    "tie": "which is a tie",
    "undecided": "which decides nothing",
}


@dataclass(frozen=True)
class Pair:
    """A method and the one that it is compared with, and their areas (S,) by shared seed."""

    name: str
    against: str
    areas: Sequence[float]
    others: Sequence[float]


def verdict(areas: Areas, metric: str) -> str:
    """The verdict on runs: each method against random picks where one of them picks so, else the two best.

    areas  method -> seed -> AUBC of the metric
    """
    names = list(areas)
    against = next((name for name in names if RANDOM in name.replace("+", " ").replace("·", " ").split()), None)
    if against is None:
        sign = -1 if lower_is_better(metric) else 1
        names.sort(key=lambda name: -sign * sum(areas[name].values()) / len(areas[name]))
        names, against = names[:2], names[1]
    pairs = []
    for name in names:
        if name != against and (seeds := sorted(areas[name].keys() & areas[against].keys())):
            pairs.append(Pair(name, against, *([areas[each][s] for s in seeds] for each in (name, against))))
    if not pairs:
        return "No two of these methods share a seed, so nothing can be paired and nothing is decided."
    return sentence(pairs, metric)


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better."""
    return not set(metric.split("/")).isdisjoint(LOWER_IS_BETTER)


def sentence(pairs: Sequence[Pair], metric: str, margin: float = MARGIN) -> str:
    """One sentence about pairs: how many are better, and the largest difference with its interval and p.

    Differences are in points of AUBC, turned so that more is better; p is of a sign-flip test, adjusted for the number
    of pairs (Holm); margin: differences within it are a tie, in units of the metric.
    """
    factor = -POINTS if lower_is_better(metric) else POINTS
    comparisons = [compare([factor * v for v in pair.areas], [factor * v for v in pair.others]) for pair in pairs]
    adjusted = holm([c.p for c in comparisons]).tolist()
    calls = [call(c, p, margin=POINTS * margin) for c, p in zip(comparisons, adjusted, strict=True)]
    best = max(range(len(pairs)), key=lambda k: comparisons[k].difference.mean)
    text = _one(pairs[best], comparisons[best], adjusted[best], calls[best], metric)
    if len(pairs) > 1:
        counts = ", ".join(f"{calls.count(c)} {c}" for c in IN_WORDS if c in calls)
        text = f"Of {len(pairs)} methods beside theirs: {counts}. The one farthest ahead: {text}"
    return text


def _one(pair: Pair, comparison: Comparison, p: float, word: Call, metric: str) -> str:
    d = comparison.difference
    ahead = f"{abs(d.mean):.2f} points of AUBC ({metric}) {'ahead of' if d.mean >= 0 else 'behind'} {pair.against}"
    if d.n == 1:
        return f"{pair.name} is {ahead} in the one seed that they share, which decides nothing."
    few = f"; fewer than {LEAST_SEEDS} seeds never reach a p of 0.05" * (d.n < LEAST_SEEDS and word == "undecided")
    numbers = f"95 % interval {d.low:.2f} to {d.high:.2f}, p = {p:.2g}, {d.n} paired seeds"
    return f"{pair.name} is {ahead} ({numbers}), {IN_WORDS[word]}{few}."
