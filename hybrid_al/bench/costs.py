"""Curves of a bench over what labels cost, so that arms that ask about other things are compared at equal cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import FloatArray
from ..errors import InputError
from ..metrics.classification import aubc
from ..report.figures import AXES
from .compared import RANDOM, Bench, in_order, most_complete, names
from .results import Arm, Results, Row
from .statistics import Comparison, compare, holm, interval
from .tables import Table, difference_cells
from .text import interval_text, plural, spread_text

COST = "cost/"
"""How the metrics start that say what all labels up to a round cost."""
COLUMNS = 4  # costs of which a table gives the metric

Spender = tuple[str, Arm]
"""A variant and an arm of it: what a table of costs compares."""


@dataclass(frozen=True)
class CostCurve:
    """One loop: what its labels had cost by each round (R,), growing, and the metric there (R,).

    Between two rounds the metric is taken to be on a straight line.
    """

    costs: FloatArray
    values: FloatArray

    def at(self, costs: FloatArray) -> FloatArray:
        """The metric (K,) at costs (K,) between those of the first and the last round."""
        values: FloatArray = np.interp(costs, self.costs, self.values)
        return values

    def area(self, low: float, high: float) -> float:
        """Area under the metric over the costs from `low` to `high`, divided by this range."""
        between = self.costs[(self.costs > low) & (self.costs < high)]
        points = np.unique([low, *between, high])
        return aubc(points.tolist(), self.at(points).tolist())


@dataclass(frozen=True)
class Block:
    """The loops of K spenders over the S seeds that all of them have: loops[k][s]; `left_out` have too few."""

    cost: str
    spenders: tuple[Spender, ...]
    seeds: tuple[int, ...]
    loops: tuple[tuple[CostCurve, ...], ...]
    left_out: tuple[Spender, ...]

    def range(self) -> tuple[float, float]:
        """The range of costs within which every loop lies; the first is larger than the second where it is empty."""
        curves = [loop for row in self.loops for loop in row]
        return max(loop.costs[0] for loop in curves), min(loop.costs[-1] for loop in curves)

    def points(self, k: int) -> tuple[FloatArray, FloatArray]:
        """The curve of a spender: all costs (R,) of its loops within the range of each, and the metric (S, R)."""
        low, high = max(loop.costs[0] for loop in self.loops[k]), min(loop.costs[-1] for loop in self.loops[k])
        costs_of_all = np.unique(np.concatenate([loop.costs for loop in self.loops[k]]))
        costs = costs_of_all[(costs_of_all >= low) & (costs_of_all <= high)]
        return costs, np.stack([loop.at(costs) for loop in self.loops[k]])

    def label(self, spender: Spender, labels: Mapping[Arm, str]) -> str:
        """The name of a spender: its arm, with its variant where there are several."""
        variant, arm = spender
        return f"{variant}: {labels[arm]}" if len({v for v, _ in self.spenders + self.left_out}) > 1 else labels[arm]


def cost_curve(rows: Iterable[Row], metric: str, cost: str) -> CostCurve | None:
    """The curve of a loop over a cost; None where a round does not hold both.

    Of rounds that cost nothing the last counts. InputError for a cost that falls.
    """
    columns: dict[str, dict[int, float]] = {metric: {}, cost: {}}
    for row in rows:
        if row.metric in columns:
            columns[row.metric][row.round] = row.value
    if not columns[metric] or columns[metric].keys() != columns[cost].keys():
        return None
    points: dict[float, float] = {}
    for r in sorted(columns[metric]):
        spent = columns[cost][r]
        if points and spent < max(points):
            raise InputError(
                f"bench: {cost}", f"a cost that never falls (round {r})", f"{max(points):g}, then {spent:g}"
            )
        points[spent] = columns[metric][r]
    costs = np.asarray(list(points), dtype=np.float64)
    return CostCurve(costs, np.asarray(list(points.values()), dtype=np.float64))


def blocks(variants: Mapping[str, Results], together: Sequence[Sequence[str]], metric: str) -> Iterator[Block]:
    """A block for each lot of variants of the same images and each cost that their cells hold.

    A cost that is the number of labels in every loop is left out: the other tables have it.
    """
    for lot in together:
        cells = {(v, arm, seed): rows for v in lot for (arm, seed), rows in variants[v].cells.items()}
        kinds = sorted({row.metric for rows in cells.values() for row in rows if row.metric.startswith(COST)})
        for cost in kinds:
            if any(row.value != row.labels for rows in cells.values() for row in rows if row.metric == cost):
                block = _block(variants, lot, metric, cost)
                if block is not None:
                    yield block


def _block(variants: Mapping[str, Results], lot: Sequence[str], metric: str, cost: str) -> Block | None:
    curves_of: dict[Spender, dict[int, CostCurve]] = {}
    for variant in lot:
        results = variants[variant]
        for arm in in_order(results.arms):
            curves = {seed: cost_curve(results.cells[arm, seed], metric, cost) for seed in results.seeds([arm])}
            curves_of[variant, arm] = {seed: loop for seed, loop in curves.items() if loop is not None}
    spenders, common = most_complete({spender: set(by_seed) for spender, by_seed in curves_of.items()})
    seeds = tuple(sorted(common))
    loops = tuple(tuple(curves_of[spender][seed] for seed in seeds) for spender in spenders)
    return Block(cost, spenders, seeds, loops, tuple(s for s in curves_of if s not in spenders)) if spenders else None


def cost_tables(
    variants: Mapping[str, Results], together: Sequence[Sequence[str]], *, metric: str, margin: float
) -> list[Table]:
    """A table for each lot of variants and each cost: the metric at equal cost, and AUBC over the cost.

    together: lots of names of variants with the same images in the same size, whose costs count the same things.
    Empty where no cell holds a cost. Errors: see `cost_curve`.
    """
    bench = Bench(metric, names(variants), margin, 1.0)
    return [_table(bench, block) for block in blocks(variants, together, metric)]


def _table(bench: Bench, block: Block) -> Table:
    title = f"{', '.join(dict.fromkeys(v for v, _ in block.spenders))}: {bench.metric} by {block.cost}"
    low, high = block.range()
    unit = AXES.get(block.cost, block.cost)
    if low > high:
        return Table(
            title,
            f"No cost that all loops were at: one starts at {cost_text(low)} {unit}, one ends at {cost_text(high)}.",
        )
    areas = np.asarray([[loop.area(low, high) for loop in row] for row in block.loops])
    base = next(
        (k for k, (_, arm) in enumerate(block.spenders) if arm.strategy == RANDOM and arm != bench.linear), None
    )
    against = {} if base is None else {k: compare(row, areas[base]) for k, row in enumerate(areas) if k != base}
    columns = np.unique(np.linspace(low, high, COLUMNS))
    beside = RANDOM if base is None else block.label(block.spenders[base], bench.names)
    headers = ("arm", "AUBC", f"minus {beside}", "wins", "p (Holm)", "call", *(f"at {cost_text(x)}" for x in columns))
    return Table(title, _note(bench, block, unit), headers, _rows(bench, block, areas, against, columns))


def cost_text(x: float) -> str:
    """A cost to read: 1,234 or 12.3."""
    return f"{x:,.0f}" if x >= 100 or x == round(x) else f"{x:.3g}"


def _note(bench: Bench, block: Block, unit: str) -> str:
    low, high = map(cost_text, block.range())
    note = (
        f"Equal cost: {unit}. Mean ± standard deviation of {bench.metric} where the labels have cost as much, on "
        f"straight lines between rounds. AUBC is the area from {low} to {high}, the costs that every loop "
        f"was at, divided by this range, in points. {plural(len(block.seeds), 'seed')} that "
        f"{plural(len(block.spenders), 'arm')} share, paired."
    )
    without = ", ".join(block.label(spender, bench.names) for spender in block.left_out)
    return f"{note} Left out, for want of seeds: {without}." if without else note


def _rows(
    bench: Bench, block: Block, areas: FloatArray, against: Mapping[int, Comparison], columns: FloatArray
) -> tuple[tuple[str, ...], ...]:
    adjusted = dict(zip(against, holm([c.p for c in against.values()]) if against else (), strict=True))
    rows = []
    for k, (spender, row) in enumerate(zip(block.spenders, block.loops, strict=True)):
        values_SK = np.stack([loop.at(columns) for loop in row])
        cells = difference_cells(bench, against.get(k), float(adjusted.get(k, 1.0)))
        area = interval_text(interval(areas[k]))
        rows.append((block.label(spender, bench.names), area, *cells, *(spread_text(column) for column in values_SK.T)))
    return tuple(rows)
