"""Several methods beside each other: their curves, their areas, and what the seeds allow to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics.operating import Share
from . import figures
from .held_out import errors_of
from .runview import RunView, leading, once, sort_metrics

Areas = Mapping[str, Mapping[int, float]]
"""Method -> seed -> area below its curve."""
Verdict = Callable[[Areas, str], str]
"""(areas, name of the metric) -> one sentence."""

MOST_KEYS = 30


@dataclass(frozen=True)
class Row:
    """One method in the comparison: its seeds, its last label count, metric -> (mean, deviation) there and as AUBC."""

    label: str
    seeds: tuple[int, ...]
    labels: float | None
    metrics: Mapping[str, tuple[float, float]]
    aubc: Mapping[str, tuple[float, float]]


def group_runs(runs: Sequence[RunView]) -> dict[str, list[RunView]]:
    """Runs of one method, seeds ascending, under a label that says in what the methods differ."""
    by_method: dict[str, list[RunView]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)
    methods = [sorted(members, key=lambda r: r.seed) for members in by_method.values()]
    facets = [(m[0].name, m[0].strategy, m[0].component("train"), m[0].component("learner")) for m in methods]
    differ = [k for k in range(4) if len({f[k] for f in facets}) > 1] or [0]
    labels = [" · ".join(f[k] for k in differ if f[k]) for f in facets]
    twice = {label for label in labels if labels.count(label) > 1}
    return {
        f"{label} #{i + 1}" if label in twice else label: members
        for i, (label, members) in enumerate(zip(labels, methods, strict=True))
    }


def rows_of(groups: Mapping[str, Sequence[RunView]], metrics: Sequence[str]) -> list[Row]:
    """A row a method."""
    rows = []
    for label, runs in groups.items():
        curves = {m: c for m in metrics if (c := figures.aggregate(runs, m)) is not None and len(c.labels)}
        last = {m: (float(c.mean[-1]), float(c.spread[-1])) for m, c in curves.items()}
        labels = max((float(c.labels[-1]) for c in curves.values()), default=None)
        areas = {m: area for m in metrics if (area := _aubc(runs, m)) is not None}
        rows.append(Row(label, tuple(r.seed for r in runs), labels, last, areas))
    return rows


def _aubc(runs: Sequence[RunView], metric: str) -> tuple[float, float] | None:
    """Mean and deviation over seeds; none where a seed's labels did not grow from round to round."""
    areas = [area for run in runs if (area := run.area(metric)) is not None]
    if len(areas) < len(runs):
        return None
    return float(np.mean(areas)), float(np.std(areas, ddof=1)) if len(areas) > 1 else 0.0


def comparison(groups: Mapping[str, Sequence[RunView]], verdict: Verdict | None) -> dict[str, object]:
    """What the page of several methods shows."""
    metrics = once(sort_metrics({m for runs in groups.values() for run in runs for m in run.metrics}))
    rows = rows_of(groups, metrics)
    headline = leading(metrics) or list(metrics[:3])
    metric = headline[0] if headline else ""
    areas = _areas(groups, metric)
    return {
        "groups": groups,
        "rows": rows,
        "metrics": metrics,
        "headline": headline,
        "curve": figures.curve_figure(groups, metrics),
        "measured": not metrics or any(m.startswith(("test/", "val/")) for m in metrics),
        "verdict": verdict(areas, metric) if verdict and len(areas) > 1 else "",
        "classes": _sensitivity(groups),
        "differences": _differences([runs[0].recipe for runs in groups.values()]),
    }


def _areas(groups: Mapping[str, Sequence[RunView]], metric: str) -> dict[str, dict[int, float]]:
    """The areas of methods of whose seeds all have one, over the same numbers of labels as the first such method."""
    areas: dict[str, dict[int, float]] = {}
    span: list[float] = []
    for label, runs in groups.items():
        x = [run.curve(metric)[0].tolist() for run in runs]
        own = {run.seed: area for run in runs if (area := run.area(metric)) is not None}
        span = span or x[0]
        if len(own) == len(runs) and all(labels == span for labels in x):
            areas[label] = own
    return areas


def _sensitivity(groups: Mapping[str, Sequence[RunView]]) -> dict[str, dict[str, Share]]:
    """Class -> method -> its sensitivity after the last round of the first seed."""
    table: dict[str, dict[str, Share]] = {}
    for label, runs in groups.items():
        errors = errors_of(runs[0], runs[0].committed[-1]) if runs[0].committed else None
        for row in errors.classes if errors else ():
            table.setdefault(row.name, {})[label] = row.operating.sensitivity
    return table


def _differences(recipes: Sequence[Mapping[str, object]]) -> list[tuple[str, list[str]]]:
    """Keys in which recipes differ, with the value in each."""
    flat = [dict(_flat("", recipe)) for recipe in recipes]
    keys = [k for k in dict.fromkeys(k for each in flat for k in each) if k.partition(".")[0] not in ("seed", "track")]
    rows = [(key, [each.get(key, "–") for each in flat]) for key in keys]
    return [row for row in rows if len(set(row[1])) > 1][:MOST_KEYS]


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            each for key, inner in value.items() for each in _flat(f"{prefix}.{key}" if prefix else str(key), inner)
        ]
    return [(prefix, str(value))]
