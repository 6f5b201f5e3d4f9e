"""The tables of a bench: curves, comparisons with the baselines, penalties, worst cases, power, balance and time."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .compared import (
    LINEAR,
    LINEAR_NAME,
    RANDOM,
    Bench,
    Variant,
    baseline,
    in_order,
    most_complete,
    names,
    paired,
    settings_of,
    work_out,
)
from .results import END, FULL, Arm, Curves, Results
from .statistics import (
    Comparison,
    Rank,
    call,
    detectable,
    holm,
    interval,
    labels_to,
    penalty_matrix,
    ranks,
    seeds_needed,
    worst_deficit,
)
from .text import in_points, interval_text, p_text, percent, plural, spread_text

LOWER_IS_BETTER = ("nll", "ece", "classwise_ece", "brier", "hd95")
WIDEST = 8
"""Tables of more columns than this number them, and say what the numbers stand for."""
CLASS = "labels/"
"""How the metrics start that count the labels of a class."""
POOL = "whole pool"


@dataclass(frozen=True)
class Table:
    """Finished text: a heading, a paragraph, and cells without markup. A table without rows is only its note."""

    title: str
    note: str
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def tables(
    variants: Mapping[str, Results],
    *,
    metric: str,
    margin: float = 0.005,
    share: float = 0.95,
    beside: Sequence[str] = (),
) -> list[Table]:
    """All tables but the times, from the finished cells of each variant.

    metric   higher is better; `test/auroc`
    margin   differences of AUBC within it are a tie, in units of the metric
    share    of full supervision, in (0, 1], that counts as reached
    beside   metrics of which the numbers are shown alone, such as `test/hd95`
    Arms and seeds that are missing are left out and named, so that as many cells as possible are compared; the order
    of cells and rows changes nothing. InputError where a cell lacks the metric or has other numbers of labels.
    """
    if not 0 < share <= 1:
        raise InputError("bench tables", "a share in (0, 1]", str(share))
    if not set(metric.split("/")).isdisjoint(LOWER_IS_BETTER):
        raise InputError("bench tables", "a metric where higher is better", metric)
    bench = Bench(metric, names(variants), margin, share)
    views = [work_out(name, results, metric) for name, results in variants.items()]
    pages = [table(bench, variant) for variant in views for table in (_curves, _comparison)]
    pages += [_curves(replace(bench, metric=m), work_out(n, r, m)) for m in beside for n, r in variants.items()]
    across = [table(bench, views) for table in (_training, _penalties, _worst, _power, _classes)]
    return [_reading(bench), *(table for table in (*pages, *across) if table)]


def _reading(bench: Bench) -> Table:
    note = (
        f"The metric is {bench.metric}. AUBC is the area under its curve over the number of labels, divided by the "
        "range; AUBC log2 counts each doubling of the labels the same. AUBC and differences are in points, 100 times "
        "the metric, with 95 % intervals in brackets. Seeds are paired: minus random is the mean difference to random "
        "with the same objective and learner, over the seeds that both have; wins are the seeds in which the arm is "
        "ahead; p is of a two-sided sign-flip test, in brackets adjusted by Holm over the arms of the table. The call "
        f"is tie where the interval lies within {in_points(bench.margin)} points of 0, else better or worse where the "
        "adjusted p is below 0.05, else undecided. rank is the mean rank over seeds, 1 the best; first is how often "
        f"the arm has the largest mean when seeds are redrawn. labels to {percent(bench.share)} is where the curve "
        "reaches that share of full supervision: the median over seeds, and how many of them reach it; of random's is "
        "its ratio to random's median. Arms marked (cheating) read the truth."
    )
    if bench.linear:
        note += (
            f" {LINEAR_NAME} has the labels of random, seed by seed, and is a logistic regression on their embeddings. "
            "The column over names the arm that a difference is over."
        )
    for attribute, values in zip(("Objective", "Learner"), settings_of(bench.names), strict=True):
        note += f" {attribute}: {', '.join(values)}." if len(values) == 1 else ""
    return Table("How to read the tables", note)


def _curves(bench: Bench, v: Variant) -> Table:
    """Mean and spread of the metric of each arm at each number of labels, and with all labels."""
    title = f"{v.name}: {bench.metric} by number of labels"
    if v.joint is None:
        return Table(title, "No arm has a finished cell.")
    rows = [
        (bench.names[arm], *(spread_text(at_labels) for at_labels in values_SR.T))
        for arm, values_SR in zip(v.joint.arms, v.joint.values, strict=True)
    ]
    blank = ("",) * (len(v.joint.labels) - 1)
    for arm in in_order(arm for arm, _ in v.results.cells if arm.strategy == FULL):
        pool = {max(r.labels for r in rows) for (a, _), rows in v.results.cells.items() if a == arm}
        size = str(*pool) if len(pool) == 1 else f"{min(pool)} to {max(pool)}"
        rows.append((bench.names[arm], *blank, f"{spread_text(v.full(bench.metric, arm))} ({size} labels)"))
    headers = ("arm", *(f"{n} labels" for n in v.joint.labels))
    return Table(title, f"Mean ± standard deviation over seeds. {_seeds(bench, v)}", headers, tuple(rows))


def _seeds(bench: Bench, v: Variant) -> str:
    """How many seeds a variant's tables have, and which arms they leave out."""
    parts = [f"{plural(len(v.joint.seeds), 'seed')} that {plural(len(v.joint_arms), 'arm')} share." if v.joint else ""]
    if short := [arm for arm in v.arms if arm not in v.joint_arms]:
        few = ", ".join(f"{bench.names[arm]} ({plural(len(v.areas[arm]), 'seed')})" for arm in short)
        parts.append(f"Left out, for want of seeds: {few}.")
    learners = {arm.learner for arm in (*v.arms, bench.linear) if arm}
    if absent := [a for a in bench.names if a not in v.arms and a.strategy != FULL and a.learner in learners]:
        parts.append(f"Without a finished cell: {bench.listing(absent)}.")
    return " ".join(parts)


def _comparison(bench: Bench, v: Variant) -> Table | None:
    """AUBC, paired differences to random with their call, ranks, and labels to a share of full supervision."""
    if v.joint is None:
        return None
    target = f"labels to {percent(bench.share)}"
    over = ("over",) if bench.linear else ()
    headers = ("arm", "AUBC", "AUBC log2", *over, "minus random", "wins", "p (Holm)", "call", "rank", "first", target)
    adjusted = (
        dict(zip(v.comparisons, holm([c.p for c in v.comparisons.values()]), strict=True)) if v.comparisons else {}
    )
    areas = v.joint.areas(), v.joint.areas(log2=True)
    area_cells = {
        arm: [interval_text(interval(areas_KS[k])) for areas_KS in areas] for k, arm in enumerate(v.joint_arms)
    }
    rank_of = dict(zip(v.joint_arms, ranks(areas[0]), strict=True))
    labels_of = {arm: _reaching(bench, v, arm) for arm in v.joint_arms}
    rows = tuple(
        (
            bench.names[arm],
            *area_cells.get(arm, ("", "")),
            *(bench.names[baseline(arm)] if arm in v.comparisons else "" for _ in over),
            *difference_cells(bench, v.comparisons.get(arm), adjusted.get(arm, 1.0)),
            *_rank_cells(rank_of.get(arm)),
            *_label_cells(v.joint, labels_of.get(arm, []), labels_of.get(baseline(arm), [])),
        )
        for arm in v.arms
    )
    title = f"{v.name}: AUBC and comparison with random"
    return Table(title, _comparison_note(bench, v), (*headers, "of random's"), rows)


def _comparison_note(bench: Bench, v: Variant) -> str:
    parts = [_seeds(bench, v)]
    alone = [arm for arm in v.arms if arm.strategy != RANDOM and arm not in v.comparisons]
    if alone:
        parts.append(f"No seed of random to compare with: {bench.listing(alone)}.")
    several = len({(arm.objective, arm.learner) for arm in bench.names if arm != bench.linear}) > 1
    for example in dict.fromkeys(baseline(arm) for arm in v.joint_arms if arm != bench.linear):
        of = f" of {example.objective} / {example.learner}" if several else ""
        full = v.full(bench.metric, example)
        goal = f"{bench.share * np.mean(full):.3f} ({plural(len(full), 'seed')})" if full else "not run"
        parts.append(f"{percent(bench.share)} of full supervision{of}: {goal}.")
    return " ".join(parts)


def _training(bench: Bench, variants: Sequence[Variant]) -> Table | None:
    """What training adds on the same random picks: each random arm over logistic regression on the embeddings."""
    rows: list[tuple[str, ...]] = []
    for v in variants:
        adjusted = holm([c.p for c in v.over_linear.values()]) if v.over_linear else ()
        for (arm, c), p in zip(v.over_linear.items(), adjusted, strict=True):
            areas = [interval_text(interval(side)) for side in paired(v.areas, arm, LINEAR)]
            rows.append((v.name, bench.names[arm], LINEAR_NAME, *areas, *difference_cells(bench, c, float(p))))
    if not rows:
        return None
    note = (
        f"What training adds on the same picks: AUBC of each random arm minus that of {LINEAR_NAME}, in points, paired "
        "over the seeds that both have. p is adjusted by Holm over the arms of a variant."
    )
    headers = ("variant", "arm", "over", "AUBC", "AUBC of the other", "difference", "wins", "p (Holm)", "call")
    return Table(f"Random picks: training over {LINEAR_NAME}", note, headers, tuple(rows))


def difference_cells(bench: Bench, c: Comparison | None, adjusted_p: float) -> tuple[str, str, str, str]:
    """Difference, wins, p with its adjusted value, and call; empty without a comparison."""
    if c is None:
        return "", "", "", ""
    word = call(c, adjusted_p, margin=bench.margin)
    return (
        interval_text(c.difference, sign="+"),
        f"{c.wins}/{c.difference.n}",
        f"{p_text(c.p)} ({p_text(adjusted_p)})",
        word,
    )


def _rank_cells(rank: Rank | None) -> tuple[str, str]:
    return (interval_text(rank.mean, scale=1, digits=1), percent(round(rank.first, 2))) if rank else ("", "")


def _reaching(bench: Bench, v: Variant, arm: Arm) -> list[float]:
    """Labels at which each seed of an arm reaches the share of full supervision; empty where that was not run."""
    full = v.full(bench.metric, arm)
    if not full or v.joint is None:
        return []
    return [labels_to(v.joint.labels, curve, bench.share * float(np.mean(full))) for curve in v.joint.of(arm)]


def _label_cells(curves: Curves, needed: Sequence[float], base: Sequence[float]) -> tuple[str, str]:
    """The median over all seeds, those that never reach it counted as beyond the last number of labels."""
    if not needed:
        return "", ""
    first, last, median = int(curves.labels[0]), int(curves.labels[-1]), plain.median(needed)
    reach_count = sum(map(math.isfinite, needed))
    if not reach_count:
        return "not reached", ""
    where = f"> {last}" if median == math.inf else f"≤ {first}" if median <= first else f"{median:.0f}"
    base_median = plain.median(base) if base else math.inf
    comparable = math.isfinite(median) and math.isfinite(base_median) and max(median, base_median) > first
    bound = "≤ " if median <= first else "≥ " if base_median <= first else ""
    return f"{where} ({reach_count}/{len(needed)})", f"{bound}{median / base_median:.2f}" if comparable else ""


def _penalties(bench: Bench, variants: Sequence[Variant]) -> Table:
    """How often each arm beats each other one, summed over variants."""
    title = "Pairwise penalty matrix"
    blocks = {v.name: v.joint for v in variants if v.joint and len(v.joint.seeds) > 1}
    arms_with_block = [arm for arm in bench.names if any(arm in block.arms for block in blocks.values())]
    variants_of = {arm: {name for name, block in blocks.items() if arm in block.arms} for arm in arms_with_block}
    arms, where = most_complete(variants_of)
    if len(arms) < 2:
        return Table(title, "No two arms share two seeds.")
    joint = [blocks[v.name] for v in variants if v.name in where]
    total = np.sum([penalty_matrix(np.stack([block.of(arm) for arm in arms])) for block in joint], axis=0)
    headers, legend = _numbered([bench.names[arm] for arm in arms])
    rows = [
        (
            f"{header} {bench.names[arm]}" if legend else header,
            *("" if i == j else f"{x:.2f}" for j, x in enumerate(total[i])),
        )
        for i, (header, arm) in enumerate(zip(headers, arms, strict=True))
    ]
    rows.append(("mean of column", *(f"{x:.2f}" for x in total.sum(axis=0) / (len(arms) - 1))))
    note = (
        f"How often the arm of the row beats that of the column (paired t-test at 0.05 at each number of labels), as a "
        f"share of the numbers of labels, summed over {plural(len(joint), 'variant')}: the highest possible entry is "
        f"{len(joint)}. Last row: how often an arm is beaten, lower is better."
    )
    if other_arms := [arm for arm in arms_with_block if arm not in arms]:
        note += f" Left out, not in all these variants: {bench.listing(other_arms)}."
    if other_variants := [v.name for v in variants if v.name not in where]:
        note += f" Variants left out, without two seeds of all these arms: {', '.join(other_variants)}."
    return Table(title, note, ("", *headers), tuple(rows))


def _numbered(columns: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Headers, and what they stand for where they are so many that they are numbers."""
    if len(columns) <= WIDEST:
        return tuple(columns), ""
    numbers = tuple(str(k) for k in range(1, len(columns) + 1))
    return numbers, "; ".join(f"{k}: {column}" for k, column in zip(numbers, columns, strict=True))


def _worst(bench: Bench, variants: Sequence[Variant]) -> Table | None:
    """Where each arm is farthest behind random."""
    rows = []
    for arm in bench.names:
        differences = {v.name: v.differences[arm] for v in variants if arm in v.differences}
        if differences:
            worst = worst_deficit(differences)
            upper = in_points(worst.upper) if math.isfinite(worst.upper) else "one seed"
            mean = in_points(float(np.mean([d.mean() for d in differences.values()])), "+")
            rows.append((bench.names[arm], mean, str(len(differences)), in_points(worst.mean), upper, worst.where))
    if not rows:
        return None
    note = (
        "AUBC in points, from the same differences to random: their mean over the variants, and in the variant where "
        "it is largest the mean deficit (above 0: behind random). With 90 % confidence the deficit is below the upper "
        "bound in every variant."
    )
    headers = ("arm", "mean minus random", "variants", "largest deficit", "upper 90 % bound", "largest in")
    return Table("Worst case against random", note, headers, tuple(rows))


def _power(bench: Bench, variants: Sequence[Variant]) -> Table | None:
    """What the seeds of each variant could show, for the arms with the median and with the largest spread."""
    rows = []
    for v in variants:
        differences = sorted((d for d in v.differences.values() if len(d) > 1), key=lambda d: float(d.std(ddof=1)))
        if not differences:
            continue
        pair = differences[(len(differences) - 1) // 2], differences[-1]
        seeds = sorted({len(d) for d in differences})
        cells = [
            [in_points(float(d.std(ddof=1))) for d in pair],
            [in_points(detectable(d)) for d in pair],
            *([str(seeds_needed(d, points / 100)) for d in pair] for points in (0.5, 1)),
        ]
        counts = str(*seeds) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        rows.append((v.name, counts, *(f"{median} ({largest})" for median, largest in cells)))
    if not rows:
        return None
    note = (
        "Of the AUBC differences to random, in points: their standard deviation over seeds, the smallest true "
        "difference that these seeds show with 80 % power (paired t-test at 0.05, not adjusted), and the seeds that "
        "0.5 points and 1 point would take; each for the arm with the median spread, in brackets with the largest."
    )
    headers = ("variant", "seeds", "spread", "detectable", "seeds for 0.5 points", "seeds for 1 point")
    return Table("Power", note, headers, tuple(rows))


def _classes(bench: Bench, variants: Sequence[Variant]) -> Table | None:
    """How much of the last labeled set is of the rarest class."""
    columns = {v.name: shares for v in variants if v.joint and (shares := _rarest(bench, v, v.joint))}
    if not columns:
        return None
    headers, legend = _numbered([f"{name}: {rarest}" for name, (rarest, _) in columns.items()])
    arm_names = dict.fromkeys(name for name in (*bench.names.values(), POOL))
    rows = [(name, *(shares.get(name, "") for _, shares in columns.values())) for name in arm_names]
    note = (
        "Percent of the labels after the last round that are of the rarest class, mean over seeds. Rarest in the "
        "whole pool, or where full supervision was not run in the labels of all arms."
    )
    note += f" Columns: {legend}." if legend else ""
    return Table("Class balance", note, ("arm", *headers), tuple(row for row in rows if any(row[1:])))


def _rarest(bench: Bench, v: Variant, joint: Curves) -> tuple[str, dict[str, str]] | None:
    """The rarest class of a variant, and its percentage by name of the arm."""
    cells = {arm: [_class_shares(v.results, arm, seed) for seed in joint.seeds] for arm in joint.arms}
    full = [_class_shares(v.results, arm, seed) for arm, seed in sorted(v.results.cells) if arm.strategy == FULL]
    all_shares = full if any(full) else [shares for by_seed in cells.values() for shares in by_seed]
    classes = sorted({name for shares in all_shares for name in shares})
    if not classes:
        return None
    rarest = min(classes, key=lambda name: math.fsum(shares.get(name, 0.0) for shares in all_shares))
    percent = {
        bench.names[arm]: f"{100 * np.mean([shares.get(rarest, 0.0) for shares in by_seed]):.1f}"
        for arm, by_seed in cells.items()
        if all(by_seed)
    }
    if any(full):
        percent[POOL] = f"{100 * np.mean([shares.get(rarest, 0.0) for shares in full]):.1f}"
    return rarest, percent


def _class_shares(results: Results, arm: Arm, seed: int) -> dict[str, float]:
    rows = [r for r in results.cells[arm, seed] if r.metric.startswith(CLASS)]
    last = max((r.round for r in rows), default=0)
    counts = {r.metric.removeprefix(CLASS): r.value for r in rows if r.round == last}
    return {name: count / total for name, count in counts.items()} if (total := math.fsum(counts.values())) else {}


def timing(variants: Mapping[str, Results]) -> Table:
    """Seconds over all finished cells: the one table that differs between two runs of a grid."""
    rows = []
    for arm, name in names(variants).items():
        seconds = [
            [x for results in variants.values() for x in results.values(metric, arm)]
            for metric in (END, "seconds/train", "seconds/query")
        ]
        cells = [f"{_short(plain.median(values))} ({_short(max(values))})" if values else "" for values in seconds]
        rows.append((name, str(len(seconds[0])), *cells))
    note = (
        "Seconds, median (largest), over all variants, seeds and rounds, the cold start a query too; not the same on "
        "another machine or day."
    )
    headers = ("arm", "loops", "a loop", "training a round", "a query")
    return Table("Time", note if rows else "No finished cell.", headers, tuple(rows))


def _short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.2g}"


def markdown(tables: Sequence[Table]) -> str:
    """GitHub tables, each under a heading and its note."""
    return "\n\n".join(_section(table) for table in tables) + "\n"


def _section(table: Table) -> str:
    parts = [f"### {table.title}", table.note]
    if table.rows:
        lines = (table.headers, ("---",) * len(table.headers), *table.rows)
        parts.append("\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines))
    return "\n\n".join(part for part in parts if part)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
