"""The picture of the README: our picks and training against random picks, from the committed CSVs into docs/curves.svg.

python benchmarks/curves.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybrid_al.bench.results import Arm, Curves, read
from hybrid_al.bench.statistics import interval
from hybrid_al.core.files import write_atomic

HERE = Path(__file__).parent
OUT = HERE.parent / "docs" / "curves.svg"
WIDTH, HEIGHT, MARGIN = 250, 190, 48  # of the plotted area of a panel, and of what is around it, in px
LINES = (
    (Arm("random", "supervised", "linear"), "random picks, logistic regression", "#b45309"),
    (Arm("random", "mean_teacher", "frozen"), "random picks, our training", "#64748b"),
    (Arm("stratified+hybrid", "mean_teacher", "frozen"), "our picks, our training", "#2563eb"),
)
"""Arms of `defaults.yaml`, what they are called, and their colours."""


@dataclass(frozen=True)
class Panel:
    """One data set of `defaults.yaml`, and the AUROC at the ends of its axis."""

    title: str
    variant: str
    low: float
    high: float


PANELS = (
    Panel("PneumoniaMNIST, SSL", "pneumoniamnist_ssl", 0.86, 0.98),
    Panel("Malaria cells, ImageNet", "malaria_imagenet", 0.75, 0.95),
    Panel("ISIC 2017, ImageNet", "isic2017_imagenet", 0.5, 0.75),
)


def drawn() -> str:
    """The picture as SVG: a panel a data set, means and 95 % intervals over its seeds."""
    step = WIDTH + MARGIN + 16
    width, height = step * len(PANELS) + 8, HEIGHT + MARGIN + 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#1e293b">',
        "<title>Test AUROC by number of labels: our picks and training against random picks</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, panel in enumerate(PANELS):
        parts += [f'<g transform="translate({i * step + MARGIN} 40)">', *_panel(panel), "</g>"]
    x = MARGIN
    for _, said, color in LINES[::-1]:
        y = height - 12
        parts.append(f'<path d="M{x} {y - 4}h22" stroke="{color}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 28}" y="{y}">{said}</text>')
        x += 36 + 7 * len(said)
    note = f"{_seeds()} paired seeds; bands: 95 % of the mean"
    parts.append(f'<text x="{x}" y="{height - 12}" fill="#64748b">{note}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _curves(panel: Panel) -> Curves:
    return read(HERE / "defaults" / f"{panel.variant}.csv").curves("test/auroc", [arm for arm, *_ in LINES])


def _seeds() -> int:
    """How many seeds every panel has at least."""
    return min(len(_curves(panel).seeds) for panel in PANELS)


def _panel(panel: Panel) -> Iterator[str]:
    curves = _curves(panel)
    most = float(curves.labels[-1])

    def across(labels: float) -> float:
        return round(WIDTH * labels / most, 1)

    def down(value: float) -> float:
        return round(HEIGHT * (panel.high - value) / (panel.high - panel.low), 1)

    yield f'<text x="0" y="-14" font-weight="600" font-size="13">{panel.title}</text>'
    for value in np.linspace(panel.low, panel.high, 5)[1:-1]:
        yield f'<path d="M0 {down(value)}H{WIDTH}" stroke="#e2e8f0"/>'
        yield f'<text x="-6" y="{down(value) + 4}" text-anchor="end" font-size="11">{value:.2f}</text>'
    for labels in curves.labels.tolist():
        if labels != 20:  # no room between 10 and 40
            yield f'<text x="{across(labels)}" y="{HEIGHT + 16}" text-anchor="middle" font-size="11">{labels}</text>'
    yield f'<text x="{WIDTH}" y="{HEIGHT + 32}" text-anchor="end" font-size="11" fill="#64748b">labels</text>'
    yield f'<path d="M0 0V{HEIGHT}H{WIDTH}" fill="none" stroke="#94a3b8"/>'
    for arm, _, color in LINES:
        points = [interval(column) for column in curves.of(arm).T]
        xs = [across(labels) for labels in curves.labels.tolist()]
        upper = [f"{x},{down(p.high)}" for x, p in zip(xs, points, strict=True)]
        lower = [f"{x},{down(p.low)}" for x, p in zip(xs, points, strict=True)]
        line = " ".join(f"{x},{down(p.mean)}" for x, p in zip(xs, points, strict=True))
        yield f'<polygon points="{" ".join([*upper, *lower[::-1]])}" fill="{color}" opacity="0.16"/>'
        yield f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2.5"/>'


if __name__ == "__main__":
    write_atomic(OUT, drawn())
    print(f"Wrote {OUT}")
