"""What may come next: signals to stop, where the curve leads, and the classes to look for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import FloatArray
from ..query.stopping import AGREEMENT, GAIN
from .console import headline
from .figures import Figure
from .figures_model import forecast_figure
from .forecast import LEVEL, Forecast, forecast
from .held_out import Errors
from .outcome import LESS, kind_of, name_of
from .runview import RunView

FEW_LABELS = 0.5  # of an even share


@dataclass(frozen=True)
class Outlook:
    """Sentences about stopping, the forecast with its figure, and what to look for; empty where nothing is known."""

    stopping: tuple[str, ...]
    forecast: str
    figure: Figure | None
    look_for: tuple[str, ...]


def outlook_of(runs: Sequence[RunView], errors: Sequence[Errors]) -> Outlook:
    """The outlook of the runs of one method."""
    words, figure = _forecast(runs)
    return Outlook(_stopping(runs[0]), words, figure, _look_for(runs[0], errors[-1] if errors else None))


def _stopping(run: RunView) -> tuple[str, ...]:
    last = run.committed[-1].metrics if run.committed else {}
    lines = []
    if AGREEMENT in last:
        lines.append(f"The models of the last two rounds agree with a kappa of {last[AGREEMENT]:.3f} (1 is fully).")
    if GAIN in last:
        lines.append(f"The next batch is expected to add {100 * last[GAIN]:.2f} points of accuracy.")
    if (r := run.enough_at) is not None:
        lines.append(f"By the stopping signal the labels were enough after round {r}.")
    elif lines:
        lines.append("The stopping signal says to go on.")
    return tuple(lines)


def _forecast(runs: Sequence[RunView]) -> tuple[str, Figure | None]:
    """The forecast in words and drawn, at one batch more and at twice the labels."""
    last = runs[0].committed[-1].metrics if runs[0].committed else {}
    metric = next((m for m in headline(last) if kind_of(m) not in LESS), "")
    curves = [run.curve(metric) for run in runs]
    labels = curves[0][0] if metric else np.empty(0)
    if len(labels) < 2:
        return "", None
    step = float(labels[-1] - labels[-2])
    ends = np.asarray([labels[-1] + step, 2 * labels[-1]])
    grid = np.linspace(labels[-1], ends.max(), 13)[1:]
    found = forecast(curves, grid)
    name = name_of(metric)
    if found is None:
        return (
            f"{len(labels)} rounds are too few to forecast {name}: a power law needs four points at growing labels.",
            None,
        )
    at_ends = forecast(curves, np.unique(ends))
    assert at_ends is not None
    mean = np.mean([y for _, y in curves], axis=0)
    return _words(name, at_ends), forecast_figure(labels, mean, found, metric)


def _words(name: str, found: Forecast) -> str:
    places: FloatArray = found.labels
    parts = [
        f"{value:.3f} ({low:.3f} to {high:.3f}) with {n:.0f} labels"
        for n, value, low, high in zip(places, found.values, found.low, found.high, strict=True)
    ]
    return (
        f"If the curve goes on as a power law through its points, {name} will be {', and '.join(parts)}; in "
        f"brackets the {100 * LEVEL:.0f} % interval of a measurement there."
    )


def _look_for(run: RunView, errors: Errors | None) -> tuple[str, ...]:
    """Classes that lag, or have few labels."""
    if errors is None:
        return ()
    lines = [f"{name} is recognised less than the others" for name in errors.lagging]
    counts = {row.name: row.labels for row in errors.classes}
    if not run.drawable and len(counts) > 2:
        even = sum(counts.values()) / len(counts)
        lines += [
            f"{name} has {n} of {sum(counts.values())} labels" for name, n in counts.items() if n < FEW_LABELS * even
        ]
    return tuple(lines)
