"""One self-contained HTML page about a bench: learning curves and differences with intervals, then the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.files import write_atomic
from ..core.types import FloatArray, IntArray
from ..errors import InputError
from ..report import html as page
from ..report.figures import AXES, COLORS, NEUTRAL, SYMBOLS, Choice, Figure, Trace, band, short
from .compared import LINEAR, LINEAR_NAME, RANDOM, baseline, linear_baseline, names
from .costs import Block, blocks
from .results import CHEATING, FULL, Arm, Results
from .statistics import Interval, interval
from .tables import Table
from .verdict import MARGIN, Pair, sentence

DASHES = ("solid", "dashdot", "longdash", "longdashdot")  # dash and dot are taken
LONG_DOTS = "10px,3px,2px,3px,2px,3px"  # of the linear baseline alone
MOST_OPEN = 4  # variants, and tables: where there are more, all but the first are folded up
MOST_BANDS = 6  # arms: where there are more, their bands are fainter
POINTS = 100.0  # differences are in points, as in the tables
AGAINST = f"minus {RANDOM} (points)"
AGAINST_LINEAR = f"minus {LINEAR_NAME} (points)"


@dataclass(frozen=True)
class Look:
    """How an arm is named and drawn, the same in every figure of the page."""

    label: str
    color: str
    symbol: str
    dash: str
    width: float


@dataclass(frozen=True)
class Section:
    """What the page shows of one variant."""

    name: str
    arms: int
    seeds: str
    curves: Figure | None
    forest: Figure | None
    training: Figure | None
    verdict: str = ""


def write_page(
    path: Path,
    title: str,
    variants: Mapping[str, Results],
    tables: Sequence[Table],
    *,
    metric: str,
    together: Sequence[Sequence[str]] = (),
    margin: float = MARGIN,
) -> Path:
    """Write the page; returns its path. An arm looks the same in all variants; a variant without cells is only named.

    variants: name -> finished cells. metric: the one that is drawn. together: see `costs.cost_tables`.
    margin: differences within it are a tie. Error where `variants` is empty, or where the cells of a variant lack the
    metric or do not have it at the same numbers of labels.
    """
    if not variants:
        raise InputError("bench page", "at least one variant", "none")
    looks = arm_looks(names(variants))
    values = {
        "title": title,
        "metric": metric,
        "sections": [_section(name, results, metric, looks, margin) for name, results in variants.items()],
        "costs": [
            (", ".join(lot), figure) for lot in together if (figure := cost_figure(variants, lot, metric, looks))
        ],
        "tables": [(table, _text_columns(table)) for table in tables],
        "arms": sum(arm.strategy != FULL for arm in looks),
        "cells": sum(len(results.cells) for results in variants.values()),
        "most_open": MOST_OPEN,
        "baseline": RANDOM,
        "linear": LINEAR_NAME if linear_baseline(looks) else "",
    }
    write_atomic(path, page.render("bench.html.j2", values, folder=Path(__file__).parent))
    return path


def arm_looks(labels: Mapping[Arm, str]) -> dict[Arm, Look]:
    """A look for each arm: colour and marker say the strategy, the dash says objective and learner.

    The linear baseline has a look of its own.
    """
    linear = linear_baseline(labels)
    settings = list(dict.fromkeys((arm.objective, arm.learner) for arm in labels if arm != linear))
    strategies = [arm.strategy for arm in labels if arm.strategy not in (RANDOM, FULL) and not _cheats(arm)]
    order = {strategy: i for i, strategy in enumerate(dict.fromkeys(strategies))}
    return {
        arm: Look(label, "--ink", "star", LONG_DOTS, 2.5)
        if arm == linear
        else _look(arm, label, order.get(arm.strategy, 0), settings.index((arm.objective, arm.learner)))
        for arm, label in labels.items()
    }


def _cheats(arm: Arm) -> bool:
    return CHEATING in arm.strategy.split("+")


def _look(arm: Arm, label: str, i: int, setting: int) -> Look:
    symbol = SYMBOLS[setting % len(SYMBOLS)]
    if arm.strategy == RANDOM:
        return Look(label, NEUTRAL, symbol, DASHES[setting % len(DASHES)], 5)
    if _cheats(arm):
        return Look(label, "--soft", symbol, "dash", 2.5)
    if arm.strategy == FULL:
        return Look(label, "--ink", symbol, "dot", 1.5)
    cycle, color = divmod(i, len(COLORS))  # past the last colour they come again with other markers and dashes
    return Look(
        label,
        COLORS[color],
        SYMBOLS[(color + 3 * cycle) % len(SYMBOLS)],
        DASHES[(setting + cycle) % len(DASHES)],
        2.5,
    )


def _section(name: str, results: Results, metric: str, looks: Mapping[Arm, Look], margin: float) -> Section:
    counts = sorted({len(results.seeds([arm])) for arm in results.arms})
    seeds = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    curves = curve_figure(name, results, metric, looks)
    forest, training = (draw(name, results, metric, looks) for draw in (forest_figure, training_figure))
    verdict = _verdict(results, metric, looks, margin)
    return Section(name, len(results.arms), seeds, curves, forest, training, verdict)


def _verdict(results: Results, metric: str, looks: Mapping[Arm, Look], margin: float) -> str:
    """What the seeds allow to say of each arm against random under its objective and learner; empty without pairs."""
    pairs = []
    for arm in looks:
        if (pair := _pair(results, arm)) and not _cheats(arm):
            areas = results.curves(metric, pair).areas()
            against = looks[pair[1]].label if pair[1] in looks else RANDOM
            pairs.append(Pair(looks[arm].label, against, areas[0].tolist(), areas[1].tolist()))
    return sentence(pairs, metric, margin) if pairs else ""


def curve_figure(name: str, results: Results, metric: str, looks: Mapping[Arm, Look]) -> Figure | None:
    """Mean and 95 % interval of each arm over all its seeds, full supervision across; and the same minus random.

    For random arms, the same minus the linear baseline.
    """
    if not results.arms:
        return None
    arms = [arm for arm in looks if arm in results.arms]
    strength = 0.16 if len(arms) <= MOST_BANDS else 0.09
    traces: list[Trace] = []
    ends: list[int] = []
    for arm in arms:
        curves = results.curves(metric, [arm])
        ends += curves.labels[[0, -1]].tolist()
        traces += _arm_traces(looks[arm], curves.labels, curves.of(arm), metric, strength)
    for meta, pair_of in ((AGAINST, _pair), (AGAINST_LINEAR, _training_pair)):
        for arm, pair in ((arm, pair_of(results, arm)) for arm in arms):
            if pair:
                curves = results.curves(metric, pair)
                gain_SR = POINTS * (curves.values[0] - curves.values[1])
                traces += _arm_traces(looks[arm], curves.labels, gain_SR, meta, strength)
    for arm in (arm for arm in looks if arm.strategy == FULL):
        if values := list(results.full(metric, arm.objective, arm.learner).values()):
            traces.append(_full_trace(looks[arm], (min(ends), max(ends)), interval(values), metric))
    choices = [Choice(metric, "labels", metric)]
    for meta in (AGAINST, AGAINST_LINEAR):
        if any(trace["meta"] == meta for trace in traces):
            choices.append(Choice(meta, "labels", f"{metric}, {meta}"))
    alt = f"Learning curves of {name}: {metric} against the number of labels, one line per arm."
    zero = {"zeroline": True, "zerolinecolor": NEUTRAL, "zerolinewidth": 2, "rangemode": "normal"}
    layout = {"height": 440 + 9 * len(arms), "showlegend": True, "yaxis": zero, "legend": LEGEND}
    return Figure("curves", tuple(traces), tuple(choices), alt, layout)


def cost_figure(
    variants: Mapping[str, Results], lot: Sequence[str], metric: str, looks: Mapping[Arm, Look]
) -> Figure | None:
    """Mean and 95 % interval of each arm of variants of the same images, over each cost; none without a cost.

    A variant after the first is told by its dashes and its open marks.
    """
    traces: list[Trace] = []
    choices: list[Choice] = []
    for block in blocks(variants, [lot], metric):
        name = f"{metric} by {block.cost.removeprefix('cost/')}"
        choices.append(Choice(name, AXES.get(block.cost, block.cost), metric))
        strength = 0.16 if len(block.spenders) <= MOST_BANDS else 0.09
        for k in range(len(block.spenders)):
            costs, values_SR = block.points(k)
            if len(costs):
                traces += _arm_traces(_spender_look(block, k, lot, looks), costs, values_SR, name, strength, "")
    if not traces:
        return None
    alt = f"{metric} of {', '.join(lot)} against what the labels cost, one line per arm."
    rows = len({str(trace.get("name")) for trace in traces})
    layout = {"height": 440 + 9 * rows, "showlegend": True, "legend": LEGEND}
    return Figure("costs", tuple(traces), tuple(choices), alt, layout)


def _spender_look(block: Block, k: int, lot: Sequence[str], looks: Mapping[Arm, Look]) -> Look:
    variant, arm = block.spenders[k]
    look, place = looks[arm], list(lot).index(variant)
    label = block.label((variant, arm), {arm: look.label})
    if not place:
        return replace(look, label=label)
    return replace(look, label=label, dash=DASHES[place % len(DASHES)], symbol=f"{look.symbol}-open")


LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal", "itemwidth": 44}


def _arm_traces(
    look: Look, x: IntArray | FloatArray, values_SR: FloatArray, meta: str, strength: float, unit: str = " labels"
) -> list[Trace]:
    points = [interval(column) for column in values_SR.T]
    common = {"legendgroup": look.label, "meta": meta}
    line: Trace = {
        **common,
        "type": "scatter",
        "mode": "lines+markers",
        "name": look.label,
        "x": x.tolist(),
        "y": short(np.asarray([p.mean for p in points])),
        "customdata": [_words(p) for p in points],
        "line": {"color": look.color, "width": look.width, "dash": look.dash},
        "marker": {"color": look.color, "size": 8, "symbol": look.symbol},
        "hovertemplate": f"{look.label}<br>%{{x}}{unit}: %{{customdata}}<extra></extra>",
    }
    if len(values_SR) == 1:
        return [line]
    low, high = (np.asarray([getattr(p, end) for p in points]) for end in ("low", "high"))
    return [{**band(x.astype(np.float64), low, high, f"{look.color}/{strength}"), **common}, line]


def _full_trace(look: Look, ends: tuple[int, int], value: Interval, meta: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": look.label,
        "meta": meta,
        "x": list(ends),
        "y": short(np.full(2, value.mean)),
        "line": {"color": look.color, "width": look.width, "dash": look.dash},
        "marker": {"color": look.color, "size": 6, "symbol": f"{look.symbol}-open"},
        "hovertemplate": f"{look.label}: {_words(value)}<extra></extra>",
    }


def forest_figure(name: str, results: Results, metric: str, looks: Mapping[Arm, Look]) -> Figure | None:
    """AUBC of each arm minus that of random under its objective and learner, paired by seed; none without pairs."""
    pairs = {arm: pair for arm in looks if (pair := _pair(results, arm))}
    alt = f"Forest plot of {name}: AUBC of each arm minus that of {RANDOM}, with 95 % intervals."
    return _forest("forest", results, metric, looks, pairs, AGAINST, alt)


def training_figure(name: str, results: Results, metric: str, looks: Mapping[Arm, Look]) -> Figure | None:
    """AUBC of each random arm minus that of the linear baseline on the same picks; none without pairs."""
    pairs = {arm: pair for arm in looks if (pair := _training_pair(results, arm))}
    alt = f"Forest plot of {name}: AUBC of random arms minus that of {LINEAR_NAME}, with 95 % intervals."
    return _forest("training", results, metric, looks, pairs, AGAINST_LINEAR, alt)


def _forest(
    id: str,
    results: Results,
    metric: str,
    looks: Mapping[Arm, Look],
    pairs: Mapping[Arm, tuple[Arm, Arm]],
    against: str,
    alt: str,
) -> Figure | None:
    if not pairs:
        return None
    differences = {arm: _difference(results, metric, pair) for arm, pair in pairs.items()}
    order = sorted(differences, key=lambda arm: differences[arm].mean)
    ends = [end for d in differences.values() for end in (d.mean, d.low, d.high, 0.0) if np.isfinite(end)]
    pad = 0.06 * (max(ends) - min(ends)) or 1.0
    layout = {
        "height": 84 + 26 * len(order),
        "showlegend": False,
        "yaxis": {"showgrid": False, "range": [-0.7, len(order) - 0.3]},
        "xaxis": {
            "range": [min(ends) - pad, max(ends) + pad],
            "zeroline": True,
            "zerolinecolor": NEUTRAL,
            "zerolinewidth": 2,
        },
    }
    axes = Choice("", f"AUBC {against}", "")
    return Figure(id, tuple(_forest_trace(looks[a], differences[a]) for a in order), (axes,), alt, layout)


def _pair(results: Results, arm: Arm) -> tuple[Arm, Arm] | None:
    """The arm and the random one under its objective and learner, where they share a seed."""
    pair = arm, baseline(arm)
    comparable = arm.strategy not in (RANDOM, FULL) and set(pair) <= set(results.arms)
    return pair if comparable and results.seeds(pair) else None


def _training_pair(results: Results, arm: Arm) -> tuple[Arm, Arm] | None:
    """A random arm and the linear baseline, where they share a seed."""
    pair = arm, LINEAR
    comparable = arm.strategy == RANDOM and arm != LINEAR and linear_baseline(results.arms) and arm in results.arms
    return pair if comparable and results.seeds(pair) else None


def _difference(results: Results, metric: str, pair: tuple[Arm, Arm]) -> Interval:
    areas = results.curves(metric, pair).areas()
    return interval(POINTS * (areas[0] - areas[1]))


def _forest_trace(look: Look, d: Interval) -> Trace:
    sure = d.n > 1 and (d.low > 0 or d.high < 0)
    bars: Trace = {"type": "data", "symmetric": False, "color": look.color, "thickness": 2, "width": 5}
    if d.n > 1:
        bars |= {"array": short(np.asarray([d.high - d.mean])), "arrayminus": short(np.asarray([d.mean - d.low]))}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": short(np.asarray([d.mean])),
        "y": [look.label],
        "error_x": {**bars, "visible": d.n > 1},
        "marker": {
            "color": look.color,
            "size": 10,
            "symbol": look.symbol if sure else f"{look.symbol}-open",
            "line": {"width": 2, "color": look.color},
        },
        "hovertemplate": f"{look.label}: {_words(d)}<extra></extra>",
    }


def _words(value: Interval) -> str:
    if value.n == 1:
        return f"{value.mean:.4g}, 1 seed"
    return f"{value.mean:.4g} ({value.low:.4g} to {value.high:.4g}), {value.n} seeds"


def _text_columns(table: Table) -> list[bool]:
    """Columns that hold words: those in which no cell has a digit."""
    return [
        not any(char.isdigit() for row in table.rows for char in "".join(row[k : k + 1]))
        for k in range(len(table.headers))
    ]
