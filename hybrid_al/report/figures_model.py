"""Figures of the models of a run: what training left, how honest probabilities are, sensitivity, and where it leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.types import FloatArray, IntArray
from ..metrics.operating import Share
from .figures import ACCENT, COLORS, NEUTRAL, Choice, Figure, Trace, band, short
from .forecast import LEVEL, Forecast
from .held_out import Errors
from .runview import RoundView, RunView

MOST_POINTS = 2000  # of the pool in one map; the picks are always all there
MOST_STEPS = 300


def map_figures(run: RunView) -> tuple[Figure, ...]:
    """Where each fit left the unlabeled samples: agreement and divergence against confidence, next picks in colour."""
    axes = {"agreement": "agreement of the two views", "divergence": "divergence of the two views (bits)"}
    traces: dict[str, list[Trace]] = {axis: [] for axis in axes}
    names: list[str] = []
    for r in run.rounds:
        if r.consistency is None:
            continue
        rows, picks = _map_rows(run, r)
        names.append(f"after fit {r.index}" + f", picks of round {r.index + 1}" * bool(len(picks)))
        for axis in axes:
            y = getattr(r.consistency, axis)
            traces[axis] += _map_traces(run, names[-1], r.consistency.confidence, y, rows, picks)
    if not names:
        return ()
    newest_first = names[::-1]
    newest_first.sort(key=lambda name: "picks" not in name)  # a map without picks says less
    return tuple(
        Figure(
            f"map-{axis}",
            tuple(traces[axis]),
            tuple(Choice(name, "confidence", title) for name in newest_first),
            f"Scatter plot of the unlabeled samples: {title} against confidence; the next picks stand out.",
            {"height": 380},
        )
        for axis, title in axes.items()
    )


def _map_rows(run: RunView, r: RoundView) -> tuple[IntArray, IntArray]:
    """Samples without a label after round r that the fit saw, thinned out, and the picks of the next round.

    Boxes that the model proposed are left out: the record is of the windows of a grid.
    """
    assert r.consistency is not None
    seen = r.consistency.seen > 0
    parts = len(seen) // len(run.manifest)
    queries = [(o.index, p.unit) for o in run.rounds for p in o.picks if p.unit // parts == p.index]
    seen[[unit for o, unit in queries if o <= r.index]] = False
    picks = np.asarray([unit for o, unit in queries if o == r.index + 1], dtype=np.int64)
    rows = np.setdiff1d(np.flatnonzero(seen), picks)
    return rows[:: -(-len(rows) // MOST_POINTS) or 1], picks[seen[picks]]


def _map_traces(run: RunView, meta: str, x: FloatArray, y: FloatArray, rows: IntArray, picks: IntArray) -> list[Trace]:
    common: Trace = {"type": "scatter", "mode": "markers", "meta": meta}
    pool: Trace = {
        **common,
        "name": "unlabeled",
        "x": short(x[rows]),
        "y": short(y[rows]),
        "marker": {"color": NEUTRAL, "size": 5, "opacity": 0.45},
        "hoverinfo": "skip",
    }
    marks: Trace = {
        **common,
        "name": "picked next",
        "x": short(x[picks]),
        "y": short(y[picks]),
        "text": [run.manifest.ids[i * len(run.manifest) // len(x)] for i in picks],
        "marker": {"color": ACCENT, "size": 8, "line": {"color": "--card", "width": 1}},
        "hovertemplate": "%{text}<br>confidence %{x:.2f}, %{y:.2f}<extra></extra>",
    }
    return [pool, marks] if len(picks) else [pool]


def reliability_figures(run: RunView) -> tuple[Figure, ...]:
    """Accuracy against the largest probability, as the network says it and calibrated; and how many are in each bin."""
    traces: list[Trace] = []
    counts: list[Trace] = []
    names: list[str] = []
    unit = "pixels" if run.drawable else "samples"
    for r in run.rounds[::-1]:
        for split in (s for s in ("test", "val") if s in r.reliability):
            names.append(f"round {r.index}, {split}")
            traces.append(_reliability_trace("honest", names[-1], np.ones((3, 2)) * [0, 1], NEUTRAL, unit))
            for which, color in ((split, COLORS[0]), (f"{split}_calibrated", ACCENT)):
                if which in r.reliability:
                    label = "calibrated" if which != split else "as the network says"
                    traces.append(_reliability_trace(label, names[-1], r.reliability[which], color, unit))
            counts.append(_count_trace(names[-1], r.reliability[split][0], unit))
    if not names:
        return ()
    alt = "Reliability diagram: accuracy against mean largest probability, 15 equal bins; the diagonal is honest."
    axes = tuple(Choice(name, "largest probability", "accuracy") for name in names)
    bins = tuple(Choice(name, "largest probability, from", unit) for name in names)
    return (
        Figure("reliability", tuple(traces), axes, alt, {"height": 360}),
        Figure("bins", tuple(counts), bins, f"Bars: {unit} in each bin of the reliability diagram.", {"height": 360}),
    )


def _count_trace(meta: str, counts: FloatArray, unit: str) -> Trace:
    first = int(np.flatnonzero(counts)[0]) if counts.any() else 0
    return {
        "type": "bar",
        "name": unit,
        "meta": meta,
        "x": [f"{k / len(counts):.2f}" for k in range(first, len(counts))],
        "y": counts[first:].astype(int).tolist(),
        "marker": {"color": COLORS[0]},
        "hovertemplate": f"from %{{x}}: %{{y}} {unit}",
    }


def _reliability_trace(name: str, meta: str, bins: FloatArray, color: str, unit: str) -> Trace:
    count, confidence, accuracy = bins[:, bins[0] > 0] if name != "honest" else bins
    return {
        "type": "scatter",
        "mode": "lines" if name == "honest" else "lines+markers",
        "name": name,
        "meta": meta,
        "x": short(confidence),
        "y": short(accuracy),
        "customdata": short(count),
        "line": {"color": color, "width": 2, "dash": "dot" if name == "honest" else "solid"},
        "hovertemplate": f"probability %{{x:.2f}}, right %{{y:.2f}} (%{{customdata}} {unit})<extra></extra>",
    }


def operating_figure(errors: Sequence[Errors]) -> Figure | None:
    """Sensitivity and specificity of each class from round to round, with 95 % intervals of the counts."""
    traces: list[Trace] = []
    choices: list[Choice] = []
    for name in [row.name for row in errors[-1].classes] if errors else ():
        choices.append(Choice(name, "round", f"share of {errors[-1].unit}"))
        rows = [(e.round, row.operating) for e in errors for row in e.classes if row.name == name]
        for kind, color in (("sensitivity", COLORS[0]), ("specificity", ACCENT)):
            points = [(r, getattr(each, kind)) for r, each in rows if getattr(each, kind).n]
            traces += _share_traces(kind, name, points, color) if points else []
    if not traces:
        return None
    alt = f"Sensitivity and specificity of {', '.join(c.name for c in choices)} in each round."
    return Figure("operating", tuple(traces), tuple(choices), alt, {"height": 360, "showlegend": True})


def _share_traces(kind: str, meta: str, points: Sequence[tuple[int, Share]], color: str) -> list[Trace]:
    rounds = np.asarray([r for r, _ in points], dtype=float)
    shares = [share for _, share in points]
    values = np.asarray([share.value for share in shares])
    line: Trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": kind,
        "legendgroup": kind,
        "meta": meta,
        "x": short(rounds),
        "y": short(values),
        "text": [f"{s.hits} of {s.n}" + ", {:.3f} to {:.3f}".format(*s.limits) * s.independent for s in shares],
        "line": {"color": color, "width": 2.5},
        "marker": {"color": color, "size": 8},
        "hovertemplate": f"{kind}, round %{{x}}: %{{y:.3f}}<br>%{{text}}",
    }
    if not all(share.independent for share in shares):
        return [line]
    low, high = np.asarray([share.limits for share in shares]).T
    return [{**band(rounds, low, high, f"{color}/0.14"), "legendgroup": kind, "meta": meta}, line]


def forecast_figure(labels: FloatArray, values: FloatArray, law: Forecast, metric: str) -> Figure:
    """The curve (K,) so far, and where it leads with its interval."""
    x = np.concatenate([labels[-1:], law.labels])
    middle, low, high = (np.concatenate([values[-1:], part]) for part in (law.values, law.low, law.high))
    so_far: Trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "measured",
        "x": short(labels),
        "y": short(values),
        "line": {"color": COLORS[0], "width": 2.5},
        "marker": {"color": COLORS[0], "size": 8},
        "hovertemplate": "%{x} labels: %{y:.3f}",
    }
    ahead: Trace = {
        **so_far,
        "mode": "lines",
        "name": "if it goes on so",
        "x": short(x),
        "y": short(middle),
        "text": [f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True)],
        "line": {"color": COLORS[0], "width": 2, "dash": "dash"},
        "hovertemplate": "%{x} labels: %{y:.3f}<br>%{text}",
    }
    alt = f"{metric} so far, and its forecast with a {100 * LEVEL:.0f} % interval."
    shade = band(x, low, high, f"{COLORS[0]}/0.14")
    return Figure("forecast", (shade, so_far, ahead), (Choice(metric, "labels", metric),), alt, {"height": 340})


def training_figure(run: RunView) -> Figure | None:
    """Everything that was logged along a training, one view per metric and one line per round."""
    series: dict[str, dict[object, list[tuple[float, float]]]] = {}
    for row in run.log:
        for name, value in row.items():
            if name.startswith(("train/", "pseudo/", "stage0/")) and isinstance(value, int | float):
                point = _point(row, value)
                if point is not None:
                    series.setdefault(name, {}).setdefault(point[0], []).append(point[1])
    if not series:
        return None
    for by_round in series.values():
        if len(by_round) > 1:
            by_round.pop("rounds", None)  # a value per round beside a line per round: the line's end says it
    traces: list[Trace] = []
    for name, by_round in series.items():
        for round, points in sorted(by_round.items(), key=lambda item: str(item[0])):
            traces.append(_training_trace(name, round, points))
    order = sorted(
        series, key=lambda n: (n != "train/loss", n.startswith("stage0/"), n.count("/"), not n.startswith("train/"), n)
    )
    choices = tuple(Choice(n, "step" if set(series[n]) != {"rounds"} else "round", n) for n in order)
    alt = "Training curves: losses, mask rate and pseudo-label accuracy against the training step, one line per round."
    return Figure("training", tuple(traces), choices, alt, {"height": 380})


def _point(row: Mapping[str, object], value: float) -> tuple[object, tuple[float, float]] | None:
    step, round = row["step"], row["round"]
    if isinstance(step, int):
        return round, (step, value)
    return ("rounds", (round, value)) if isinstance(round, int) else None


def _training_trace(name: str, round: object, points: Sequence[tuple[float, float]]) -> Trace:
    curve = np.asarray(points[:: -(-len(points) // MOST_STEPS)], dtype=float)
    i = round if isinstance(round, int) else 0
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(curve) < 12 else "lines",
        "name": f"round {round}" if isinstance(round, int) else name,
        "meta": name,
        "x": short(curve[:, 0]),
        "y": short(curve[:, 1]),
        "line": {"color": COLORS[i % len(COLORS)], "width": 2, "dash": "solid" if i < len(COLORS) else "dash"},
        "hovertemplate": "step %{x}: %{y:.4g}" if round != "rounds" else "round %{x}: %{y:.4g}",
    }
