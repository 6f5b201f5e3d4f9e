"""The sentence of a comparison: paired, adjusted, turned where less is better, and no more than seeds allow."""

from __future__ import annotations

import numpy as np

from hybrid_al.bench.statistics import compare
from hybrid_al.bench.verdict import Pair, sentence, verdict

RNG = np.random.default_rng(0)
BASE = dict(enumerate((0.8 + RNG.normal(0, 0.02, 8)).tolist()))
BETTER = {seed: area + 0.02 + 0.001 * seed for seed, area in BASE.items()}


def test_a_method_is_compared_with_random_picks_seed_by_seed() -> None:
    text = verdict({"typiclust+hybrid": BETTER, "typiclust+random": BASE}, "test/auroc")
    d = compare([100 * BETTER[s] for s in range(8)], [100 * BASE[s] for s in range(8)])
    numbers = f"95 % interval {d.difference.low:.2f} to {d.difference.high:.2f}, p = {d.p:.2g}, 8 paired seeds"
    expected = f"{d.difference.mean:.2f} points of AUBC (test/auroc) ahead of typiclust+random ({numbers})"
    assert text == f"typiclust+hybrid is {expected}, which is better."


def test_of_a_metric_of_which_less_is_better_less_is_ahead() -> None:
    text = verdict({"entropy": BETTER, "random": BASE}, "test/hd95")
    assert "entropy is 2.35 points of AUBC (test/hd95) behind random" in text and text.endswith("which is worse.")


def test_without_random_picks_the_two_best_are_compared() -> None:
    worse = {seed: area - 0.1 for seed, area in BASE.items()}
    text = verdict({"a": worse, "b": BETTER, "c": BASE}, "test/auroc")
    assert text.startswith("b is ") and "ahead of c" in text


def test_few_seeds_and_none_in_common_decide_nothing() -> None:
    few = verdict({"a": {s: BETTER[s] for s in range(4)}, "random": BASE}, "test/auroc")
    assert "fewer than 6 seeds never reach a p of 0.05" in few and "4 paired seeds" in few
    one = verdict({"a": {0: 0.9}, "random": BASE}, "test/auroc")
    assert one.endswith("in the one seed that they share, which decides nothing.")
    assert "nothing is decided" in verdict({"a": {20: 0.9}, "random": BASE}, "test/auroc")


def test_several_methods_are_counted_and_p_is_adjusted() -> None:
    pairs = [Pair(name, "random", list(BETTER.values()), list(BASE.values())) for name in ("a", "b")]
    pairs.append(Pair("c", "random", list(BASE.values()), list(BASE.values())))
    text = sentence(pairs, "test/auroc")
    assert text.startswith("Of 3 methods beside theirs: 2 better, 1 tie. The one farthest ahead: a is ")
    assert f"p = {3 * compare(pairs[0].areas, pairs[0].others).p:.2g}" in text
