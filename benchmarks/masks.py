"""The tables of SEGMENTATION.md, from the committed CSVs.

python benchmarks/masks.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hybrid_al.bench.costs import cost_tables
from hybrid_al.bench.publish import fill
from hybrid_al.bench.results import FULL, Arm, Results, read
from hybrid_al.bench.tables import Table, markdown, tables

HERE = Path(__file__).parent
PAGE = HERE / "SEGMENTATION.md"
DICE = "test/dice"


def segmentation() -> list[Table]:
    """Queries and objectives on two sets, at the last round, with the whole pool as the ceiling."""
    columns = ("random", "foreground_random", "entropy", "hybrid", FULL)
    rows = []
    for name in ("hippocampus", "nuclei"):
        found = _of("segmentation", name)
        for objective in ("mean_teacher", "supervised"):
            cells = [_shown(_dice(found, column, objective)) for column in columns]
            rows.append((f"{name}, {objective}", *cells))
    return [
        Table(
            "Test Dice with 80 slices and with 20 images",
            "",
            ("set, objective", *columns[:-1], "whole pool"),
            tuple(rows),
        )
    ]


def slices() -> list[Table]:
    """The hybrid beside foreground-aware random, and its share of the Dice of the whole pool."""
    found, whole = _of("slices", "hippocampus"), _dice(_of("segmentation", "hippocampus"), FULL, "mean_teacher")
    rows = []
    for labels in (40, 160, 320):
        random, hybrid = (_dice(found, arm, "mean_teacher", labels) for arm in ("foreground_random", "hybrid"))
        share = {seed: value / whole[seed] for seed, value in hybrid.items()}
        rows.append((f"{labels} ({labels / 6515:.1%})", _shown(random), _shown(hybrid), _shown(share, percent=True)))
    return [
        Table(
            "Test Dice by slices of hippocampus",
            "",
            ("slices", "foreground_random", "hybrid", "share of the whole pool's Dice"),
            tuple(rows),
        )
    ]


def regions() -> list[Table]:
    """Whole images against superpixels at equal labeled pixels."""
    return _at_equal_pixels("regions", ("images", "superpixels"))


def windows() -> list[Table]:
    """Fixed windows, those that follow the model, and superpixels at equal labeled pixels."""
    return _at_equal_pixels("windows", ("grid", "ripu", "peaks", "superpixels"))


def weak() -> list[Table]:
    """Answers of four kinds about the same images."""
    rows = []
    masks = _dice(_of("weak", "masks"), "random", "mean_teacher")
    for name in ("masks", "boxes", "scribbles", "points"):
        found = _of("weak", name)
        dice = _dice(found, "random", "mean_teacher")
        share = {seed: value / masks[seed] for seed, value in dice.items()}
        costs = [
            np.mean(list(_last(found, "random", "mean_teacher", f"cost/{c}").values())) for c in ("pixels", "clicks")
        ]
        rows.append((name, *(f"{cost:,.0f}" for cost in costs), _shown(dice), _shown(share, percent=True)))
    headers = ("answers", "labeled pixels", "clicks or strokes", "test Dice", "share of the masks'")
    return [Table("The same 20 images of nuclei, four kinds of answers", "", headers, tuple(rows))]


def survey_masks() -> list[Table]:
    """The survey's seven queries."""
    return _compared("survey_masks", "hippocampus", DICE)


def nuclei() -> list[Table]:
    """Which images of nuclei to ask about."""
    return [*_compared("nuclei", "nuclei", "val/dice"), *_compared("nuclei", "nuclei", DICE)[:1]]


BLOCKS: dict[str, Callable[[], list[Table]]] = {
    f.__name__: f for f in (segmentation, slices, regions, windows, weak, survey_masks, nuclei)
}
"""By the name of the bench, which is that of the block of the page."""


def _of(bench: str, variant: str) -> Results:
    return read(HERE / bench / f"{variant}.csv")


def _compared(bench: str, variant: str, metric: str) -> list[Table]:
    """Means by number of labels, and the comparison with random."""
    found = tables({variant: _of(bench, variant)}, metric=metric)
    return [t for t in found if t.title.startswith(f"{variant}: ") and not t.title.startswith(f"{variant}: cost")]


def _at_equal_pixels(bench: str, variants: tuple[str, ...]) -> list[Table]:
    found = cost_tables({v: _of(bench, v) for v in variants}, [variants], metric=DICE, margin=0.005)
    return [t for t in found if t.title.endswith("cost/pixels")]


def _dice(found: Results, strategy: str, objective: str, labels: int | None = None) -> dict[int, float]:
    return _last(found, strategy, objective, DICE, labels)


def _last(found: Results, strategy: str, objective: str, metric: str, labels: int | None = None) -> dict[int, float]:
    """Seed -> a metric at so many labels, or at the last."""
    values = {}
    for (arm, seed), rows in found.cells.items():
        if arm == Arm(strategy, objective, arm.learner):
            points = {row.labels: row.value for row in rows if row.metric == metric}
            values[seed] = points[max(points) if labels is None else labels]
    return dict(sorted(values.items()))


def _shown(values: dict[int, float], *, percent: bool = False) -> str:
    """The mean, and the seeds in their order."""
    if percent:
        return f"{np.mean(list(values.values())):.1%} ({', '.join(f'{100 * v:.1f}' for v in values.values())})"
    return f"{np.mean(list(values.values())):.3f} ({', '.join(f'{v:.3f}' for v in values.values())})"


if __name__ == "__main__":
    for name, block in BLOCKS.items():
        fill(PAGE, name, markdown(block()))
