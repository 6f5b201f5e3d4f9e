"""The figures of the report: pure functions of `RunView`, which `charts.js` draws.

A figure is a plain dictionary in a few of the words of plotly.js: traces of lines, markers, bars and boxes. Colours are
names of the page's style sheet ("--c1", or "--c1/0.2" for a see-through one), so that figures follow the light and the
dark theme. Names from outside stay as they are, for they are drawn as text alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import rankdata, t

from ..core.types import FloatArray
from ..metrics.domains import parted
from .html import inert
from .runview import Pick, RoundView, RunView, label_text

Trace = dict[str, object]

COLORS = tuple(f"--c{i}" for i in range(1, 9))
NEUTRAL, ACCENT = "--neutral", "--c2"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
MOST_CLASSES = 12
AXES = {
    "cost/images": "images that something is known of",
    "cost/pixels": "labeled pixels",
    "cost/foreground": "labeled pixels of structures",
    "cost/boundary": "labeled pixels of outlines",
    "cost/clicks": "clicks",
    "cost/hours": "hours of readers",
    "cost/money": "money spent",
}


@dataclass(frozen=True)
class Choice:
    """One entry of a figure's menu; traces whose "meta" is its name belong to it."""

    name: str
    x: str
    y: str


@dataclass(frozen=True)
class Figure:
    """One chart: traces and layout, the entries of its menu (at least one), and words for who cannot see it."""

    id: str
    data: tuple[Trace, ...]
    choices: tuple[Choice, ...]
    alt: str
    layout: Mapping[str, object]

    def to_json(self) -> str:
        """For a script element: nothing in it can close the element."""
        return inert({"data": self.data, "layout": self.layout, "choices": [asdict(c) for c in self.choices]})


@dataclass(frozen=True)
class Curve:
    """A metric over labels for the seeds of one method: labels (K,), mean (K,), standard deviation (K,), n seeds."""

    labels: FloatArray
    mean: FloatArray
    spread: FloatArray
    n: int

    @property
    def half(self) -> FloatArray:
        """Half the width (K,) of the 95 % interval of the mean, by Student's t; 0 of one seed."""
        if self.n < 2:
            return np.zeros(len(self.mean))
        return self.spread * float(t.ppf(0.975, self.n - 1)) / math.sqrt(self.n)


def aggregate(runs: Sequence[RunView], metric: str, cost: str = "") -> Curve | None:
    """Mean and sample standard deviation over runs; where their label counts differ, on the range that all share.

    `cost` names what the labels cost, which then stands in the place of their number.
    """
    curves = [(x, y) for x, y in (run.curve(metric, cost) for run in runs) if len(x)]
    if not curves:
        return None
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    low, high = max(x.min() for x, _ in curves), min(x.max() for x, _ in curves)
    grid = grid[(grid >= low) & (grid <= high)]
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    spread = values.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(grid))
    return Curve(grid, values.mean(axis=0), spread, len(curves))


HEADLINES = ("auroc", "balanced_accuracy", "dice")
"""Metrics of a domain that are drawn and shown in a table of their own; the others are among all numbers."""


def drawn(metric: str) -> bool:
    """Whether a metric has a curve: of those of one domain, of the source or of the target the usual ones on test."""
    plain = parted(metric)[1]
    return plain == metric or plain in [f"test/{name}" for name in HEADLINES]


def curve_figure(groups: Mapping[str, Sequence[RunView]], metrics: Sequence[str]) -> Figure | None:
    """Learning curves: one line per method, with the 95 % interval of the mean where there are several seeds.

    A method of one round beside others of several is a dotted line across, such as one that labels the whole pool.
    """
    traces: list[Trace] = []
    metrics = [metric for metric in metrics if drawn(metric)]
    costs = sorted(set.intersection(*(set(run.costs) for runs in groups.values() for run in runs)))
    first = [m for m in metrics if m.startswith("test/") and m.count("/") == 1]
    choices = [Choice(m, "labels", m) for m in metrics]
    choices += [Choice(f"{m} by {c.removeprefix('cost/')}", AXES.get(c, c), m) for c in costs for m in first]
    pairs = [(m, "") for m in metrics] + [(m, c) for c in costs for m in first]
    for choice, (metric, cost) in zip(choices, pairs, strict=True):
        for i, (label, runs) in enumerate(groups.items()):
            curve = aggregate(runs, metric, cost)
            if curve is not None and len(curve.labels) == 1 and (ends := _ends(groups, metric, cost)):
                traces.append(_level_trace(curve, label, choice.name, i, ends))
            elif curve is not None and len(curve.labels):
                traces += _curve_traces(curve, label, choice.name, i, "labels" if not cost else "")
    if not traces:
        return None
    measured = any(m.startswith(("test/", "val/")) for m in metrics)
    shown = "test and validation metrics" if measured else "agreement of the models of two rounds"
    title = "Learning curves" if measured else "Rounds"
    alt = f"{title} of {', '.join(groups)}: {shown} against the number of labels."
    return Figure("curve", tuple(traces), tuple(choices), alt, {"height": 420, "showlegend": len(groups) > 1})


def _ends(groups: Mapping[str, Sequence[RunView]], metric: str, cost: str) -> tuple[float, float] | None:
    """The least and the most labels of the methods with several rounds; None where there is no such method."""
    curves = [x for runs in groups.values() for run in runs if len(x := run.curve(metric, cost)[0]) > 1]
    return (min(float(x.min()) for x in curves), max(float(x.max()) for x in curves)) if curves else None


def _level_trace(curve: Curve, label: str, metric: str, i: int, ends: tuple[float, float]) -> Trace:
    (value,), (labels,) = short(curve.mean), short(curve.labels)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{label}: {labels:g} labels at once",
        "legendgroup": str(i),
        "meta": metric,
        "x": list(ends),
        "y": [value, value],
        "line": {"color": "--ink", "width": 1.5, "dash": "dot"},
        "hovertemplate": f"{label}<br>{labels:g} labels: %{{y:.3f}}",
    }


def _curve_traces(curve: Curve, label: str, metric: str, i: int, unit: str) -> list[Trace]:
    color = COLORS[i % len(COLORS)]
    x, mean = curve.labels, curve.mean
    interval = " ± %{customdata:.3f}" * (curve.n > 1)
    line: Trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "legendgroup": str(i),
        "meta": metric,
        "x": short(x),
        "y": short(mean),
        "customdata": short(curve.half),
        "line": {"color": color, "width": 2.5},
        "marker": {"color": color, "size": 8, "symbol": SYMBOLS[i % len(SYMBOLS)]},
        "hovertemplate": f"{label}<br>%{{x}} {unit}: %{{y:.3f}}{interval}<extra></extra>",
    }
    if curve.n == 1:
        return [line]
    shade = band(x, mean - curve.half, mean + curve.half, f"{color}/0.16")
    return [{**shade, "legendgroup": str(i), "meta": metric}, line]


def band(x: FloatArray, low: FloatArray, high: FloatArray, fill: str) -> Trace:
    """The area between two lines over x, all (R,), in a see-through colour such as "--c1/0.16"."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": short(np.concatenate([x, x[::-1]])),
        "y": short(np.concatenate([high, low[::-1]])),
        "fill": "toself",
        "fillcolor": fill,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def balance_figure(run: RunView) -> Figure | None:
    """Classes of the picks of each round, stacked."""
    counts = [Counter(c for p in r.picks for c in _classes(run, p)) for r in run.rounds]
    total = sum(counts, Counter[str]())
    if not total:
        return None
    order = [c for c in run.classes if c in total] + sorted(set(total) - set(run.classes))
    if len(order) > MOST_CLASSES:
        largest = {c for c, _ in total.most_common(MOST_CLASSES - 1)}
        order = [*(c for c in order if c in largest), "other"]
        counts = [_fold(c, largest) for c in counts]
    rounds = [f"round {r.index}" for r in run.rounds]
    traces: tuple[Trace, ...] = tuple(
        {
            "type": "bar",
            "name": c,
            "x": rounds,
            "y": [count[c] for count in counts],
            "customdata": [round(100 * count[c] / max(1, count.total())) for count in counts],
            "marker": _bar_marker(i, c),
            "hovertemplate": f"{c}: %{{y}} (%{{customdata}} %)<extra>%{{x}}</extra>",
        }
        for i, c in enumerate(order)
    )
    layout = {"height": 360, "barmode": "stack", "bargap": 0.45}
    axes = Choice("", "", "picks")
    return Figure("balance", traces, (axes,), f"Stacked bars: classes picked per round, {', '.join(order)}.", layout)


def _classes(run: RunView, pick: Pick) -> list[str]:
    answer = run.labels.current.get(pick.index)
    if answer is None:
        return ["no answer yet"]
    if answer.kind == "classes" and isinstance(answer.target, tuple):
        return [label_text("class", t, run.classes) for t in answer.target] or ["none"]
    return [label_text(answer.kind, answer.target, run.classes)]


def _fold(count: Counter[str], largest: set[str]) -> Counter[str]:
    counts = Counter({c: n for c, n in count.items() if c in largest})
    counts["other"] = count.total() - counts.total()
    return counts


def _bar_marker(i: int, name: str) -> Trace:
    if name in ("skipped", "no answer yet", "other"):
        return {"color": NEUTRAL}
    marker: Trace = {"color": COLORS[i % len(COLORS)]}
    if i >= len(COLORS):
        marker["pattern"] = {"shape": "/", "fgcolor": "--card"}
    return marker


def parts_figure(run: RunView) -> Figure | None:
    """Terms of the score, candidates against picks, one view per round."""
    traces: list[Trace] = []
    choices = []
    for r in run.rounds:
        if r.scores is None or not r.scores.parts:
            continue
        name = f"round {r.index}"
        choices.append(Choice(name, "", "value of the term"))
        is_pick = np.isin(r.scores.indices, r.units)
        for who, rows, color in (("candidates", ~is_pick, NEUTRAL), ("picked", is_pick, ACCENT)):
            if rows.any():
                traces.append(_boxes(who, {k: v[rows] for k, v in r.scores.parts.items()}, color, name))
    if not traces:
        return None
    alt = "Box plots: each term of the acquisition score, for the picks and for the candidates that were passed over."
    return Figure("parts", tuple(traces), tuple(choices[::-1]), alt, {"height": 360, "boxmode": "group"})


def _boxes(who: str, parts: Mapping[str, FloatArray], color: str, meta: str) -> Trace:
    quantiles = np.stack([np.quantile(v, [0.05, 0.25, 0.5, 0.75, 0.95]) for v in parts.values()], axis=1)
    names = ("lowerfence", "q1", "median", "q3", "upperfence")
    return {
        "type": "box",
        "name": who,
        "meta": meta,
        "x": list(parts),
        **{name: short(row) for name, row in zip(names, quantiles, strict=True)},
        "line": {"color": color, "width": 1.6},
        "fillcolor": f"{color}/0.25",
    }


def influence(r: RoundView) -> dict[str, float]:
    """Mean percentile of a round's picks among its candidates, by term: 50 = no influence, 100 = it decided alone."""
    if r.scores is None or not len(r.picks):
        return {}
    is_pick = np.isin(r.scores.indices, r.units)
    terms = {**r.scores.parts, "score": r.scores.values}
    return {name: float(100 * (rankdata(v)[is_pick].mean() - 0.5) / len(v)) for name, v in terms.items()}


def short(values: FloatArray) -> list[float | None]:
    """Four significant digits, for the page is as large as its numbers are long; None where there is no number."""
    return [float(f"{v:.4g}") if math.isfinite(v) else None for v in values.tolist()]
