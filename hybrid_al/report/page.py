"""One self-contained HTML page about a run, or a comparison of several, with the learning curve as CSV beside it.

The page loads nothing from anywhere (`page.py`); images are thumbnails in it.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from ..core.rundir import write_atomic
from ..errors import InputError
from . import figures
from . import html as page
from .figures import Figure
from .outcome import Outcome
from .overlay import Overlay
from .runview import Pick, RoundView, RunView, once, sort_metrics

__all__ = ["RunView", "Thumbnail", "write_report"]

Thumbnail = Callable[[int], bytes]
"""Sample -> JPEG file of at most 64 px a side."""

MOST_IMAGES = 400  # in one gallery; the rest of the picks is in the rounds' query.csv


@dataclass(frozen=True)
class Detail:
    """What the page shows of one run: figures, tables, gallery; overlays as (JPEG in base64, id, note)."""

    run: RunView
    balance: Figure | None
    parts: Figure | None
    maps: tuple[Figure, ...]
    reliability: Figure | None
    training: Figure | None
    influence: Mapping[int, Mapping[str, float]]
    images: Mapping[int, str]
    hidden: int
    recipe: str
    overlays: tuple[tuple[str, str, str], ...] = ()

    @property
    def terms(self) -> list[str]:
        """Names of all score terms of all rounds, in order of appearance; the score itself last."""
        names = dict.fromkeys(name for row in self.influence.values() for name in row)
        return [*(n for n in names if n != "score"), *(n for n in names if n == "score")]


@dataclass(frozen=True)
class Row:
    """One method in the comparison: its seeds, its last label count, metric -> (mean, deviation) there and as AUBC."""

    label: str
    seeds: tuple[int, ...]
    labels: float | None
    metrics: Mapping[str, tuple[float, float]]
    aubc: Mapping[str, tuple[float, float]]


def write_report(
    runs: Sequence[RunView],
    out: Path,
    *,
    thumbnails: Sequence[Thumbnail | None] = (),
    overlays: Sequence[Sequence[Overlay]] = (),
    random: Sequence[RunView] = (),
) -> Path:
    """Write out/index.html and out/curve.csv; returns the path of the page.

    Runs that differ in nothing but the seed are averaged; of several runs of one method, the details shown are those
    of the first. thumbnails: one per run or none at all; where it is given (`report.images`), the picks of that run
    are shown; overlays are predictions drawn on held-out images, in the same way. random: runs with random picks, whose
    mean stands beside a single run. Error where `runs` is empty or the counts differ.
    """
    if not runs:
        raise InputError("report", "at least one run", "none")
    for name, items in (("thumbnail functions", thumbnails), ("lists of overlays", overlays)):
        if items and len(items) != len(runs):
            raise InputError("report", f"{len(runs)} {name}, one per run", str(len(items)))
    groups = group_runs(runs)
    images = dict(zip(map(id, runs), thumbnails, strict=False))
    pictures = dict(zip(map(id, runs), overlays, strict=False))
    details = [_detail(m[0], images.get(id(m[0])), pictures.get(id(m[0]), ())) for m in groups.values()]
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "curve.csv", curve_csv([*runs, *random]))
    write_atomic(out / "index.html", _render(groups, details, random))
    return out / "index.html"


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


def curve_csv(runs: Sequence[RunView]) -> str:
    """One row per run and committed round: what it is, labels, their cost, every metric (empty where missing)."""
    metrics = sort_metrics({m for run in runs for m in run.metrics})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "strategy", "objective", "learner", "seed", "round", "labels", "cost", *metrics])
    for run in runs:
        facts = [run.name, run.strategy, run.component("train"), run.component("learner"), run.seed]
        for r in run.committed:
            assert r.round is not None
            cost = run.labels.as_of(r.index).cost
            values = [r.metrics.get(m, "") for m in metrics]
            writer.writerow([*facts, r.index, r.round.labeled, f"{cost:g}", *values])
    return out.getvalue()


def _detail(run: RunView, thumbnail: Thumbnail | None, overlays: Sequence[Overlay]) -> Detail:
    picks: list[Pick] = [p for r in run.rounds for p in r.picks]
    images = {p.index: base64.b64encode(thumbnail(p.index)).decode() for p in picks[:MOST_IMAGES]} if thumbnail else {}
    return Detail(
        run=run,
        balance=figures.balance_figure(run),
        parts=figures.parts_figure(run),
        maps=figures.map_figures(run),
        reliability=figures.reliability_figure(run),
        training=figures.training_figure(run),
        influence={r.index: terms for r in run.rounds if (terms := figures.influence(r))},
        images=images,
        hidden=max(0, len(picks) - MOST_IMAGES),
        recipe=yaml.safe_dump(dict(run.recipe), sort_keys=False, allow_unicode=True),
        overlays=tuple((base64.b64encode(o.jpeg).decode(), o.id, o.note) for o in overlays),
    )


def _rows(groups: Mapping[str, Sequence[RunView]], metrics: Sequence[str]) -> list[Row]:
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


def _render(groups: Mapping[str, Sequence[RunView]], details: Sequence[Detail], random: Sequence[RunView]) -> str:
    metrics = once(sort_metrics({m for runs in groups.values() for run in runs for m in run.metrics}))
    lines = _beside_random(details[0].run, random) if random else groups
    rows = _rows(lines, metrics)
    values = {
        "groups": groups,
        "details": details,
        "metrics": metrics,
        "headline": [m for m in metrics if m.startswith("test/") and m.count("/") == 1 and m in rows[0].metrics][:3],
        "rows": rows,
        "measured": not metrics or any(m.startswith(("test/", "val/")) for m in metrics),
        "curve": figures.curve_figure(lines, metrics),
        "total_seconds": _total_seconds,
        "outcome": Outcome.of(details[0].run, random),
        "random": len(random),
    }
    return page.render("report.html.j2", values, filters={"seconds": _seconds, "once": once})


def _beside_random(run: RunView, random: Sequence[RunView]) -> dict[str, Sequence[RunView]]:
    """The lines of a run and of random picks, which say how many runs they hold."""
    count = "one run" if len(random) == 1 else f"mean of {len(random)} runs"
    return {f"{run.strategy.replace('+', ', then ')}: one run": [run], f"random picks: {count}": random}


def _total_seconds(rounds: Sequence[RoundView]) -> float:
    return sum(s for r in rounds if r.round for s in r.round.seconds.values())


def _seconds(value: float) -> str:
    """A duration as people say it."""
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h"
