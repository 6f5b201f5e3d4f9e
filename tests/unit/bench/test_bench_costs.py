"""Curves over costs: against a slow reference, at the edges, and the tables that a bench makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from hybrid_al.bench.compared import LINEAR
from hybrid_al.bench.costs import CostCurve, blocks, cost_curve, cost_tables
from hybrid_al.bench.results import END, FULL, Arm, Cell, Results, Row
from hybrid_al.errors import InputError

METRIC, PIXELS = "test/dice", "cost/pixels"
Points = Sequence[tuple[float, float]]


def arm(strategy: str) -> Arm:
    return Arm(strategy, "mean_teacher", "finetune")


def loop(points: Points, labels: Sequence[int] | None = None) -> tuple[Row, ...]:
    """A cell of (cost, metric) a round."""
    rows = []
    counts = list(labels or range(1, len(points) + 1))
    for r, ((cost, value), n) in enumerate(zip(points, counts, strict=True)):
        rows += [Row(r, n, PIXELS, cost), Row(r, n, METRIC, value), Row(r, n, "cost/images", n)]
    return (*rows, Row(len(points) - 1, counts[-1], END, 1.0))


def slow_at(points: Points, cost: float) -> float:
    for (c0, v0), (c1, v1) in pairwise(points):
        if c0 <= cost <= c1:
            return v0 + (v1 - v0) * (cost - c0) / (c1 - c0)
    raise AssertionError(cost)


def slow_area(points: Points, low: float, high: float, steps: int = 20_000) -> float:
    """Midpoint sums, which know nothing of the corners."""
    width = (high - low) / steps
    return sum(slow_at(points, low + (k + 0.5) * width) for k in range(steps)) / steps


CURVE: Points = ((100.0, 0.4), (250.0, 0.65), (300.0, 0.6), (900.0, 0.75))


@pytest.mark.parametrize(("low", "high"), [(100, 900), (120, 260), (251, 299), (250, 300), (300, 800)])
def test_interpolation_and_area_equal_the_slow_reference(low: float, high: float) -> None:
    found = cost_curve(loop(CURVE), METRIC, PIXELS)
    assert found is not None
    costs = np.linspace(low, high, 7)
    np.testing.assert_allclose(found.at(costs), [slow_at(CURVE, x) for x in costs.tolist()], rtol=1e-12)
    assert found.area(low, high) == pytest.approx(slow_area(CURVE, low, high), abs=1e-6)


def test_the_area_at_one_cost_is_the_value_there() -> None:
    assert CostCurve(np.asarray([1.0, 3.0]), np.asarray([0.2, 0.4])).area(2, 2) == pytest.approx(0.3)


def test_of_rounds_that_cost_nothing_the_last_counts() -> None:
    found = cost_curve(loop([(10, 0.1), (10, 0.2), (30, 0.4)]), METRIC, PIXELS)
    assert found is not None
    assert found.costs.tolist() == [10, 30] and found.values.tolist() == [0.2, 0.4]


def test_a_cost_that_falls_is_refused_and_one_that_is_missing_is_none() -> None:
    with pytest.raises(InputError, match=r"cost/pixels: expected a cost that never falls \(round 1\), got 20, then 10"):
        cost_curve(loop([(20, 0.1), (10, 0.2)]), METRIC, PIXELS)
    assert cost_curve(loop(CURVE), METRIC, "cost/foreground") is None
    assert cost_curve([row for row in loop(CURVE) if row.metric != METRIC], METRIC, PIXELS) is None
    assert cost_curve([r for r in loop(CURVE) if (r.round, r.metric) != (2, PIXELS)], METRIC, PIXELS) is None


def make_cells(shift: float, scale: float, start: float, seeds: int = 3) -> Results:
    """Two arms on the line value = cost / 1000 + shift, entropy a tenth above; the costs differ from seed to seed."""
    cells: dict[Cell, tuple[Row, ...]] = {}
    for seed in range(seeds):
        costs = [start + scale * r + 3 * seed for r in range(4)]
        for name, more in (("random", 0.0), ("entropy", 0.1)):
            cells[arm(name), seed] = loop([(c, c / 1000 + shift + more + 0.001 * seed) for c in costs])
        cells[arm(FULL), seed] = loop([(9999, 0.9)])
    return Results(cells)


def test_variants_of_the_same_images_are_compared_at_equal_cost() -> None:
    found = {"images": make_cells(0.0, 100, 100), "parts": make_cells(0.02, 70, 50), "other": make_cells(0, 20, 10)}
    tables = cost_tables(found, [["images", "parts"], ["other"]], metric=METRIC, margin=0.005)
    assert [t.title for t in tables] == ["images, parts: test/dice by cost/pixels", "other: test/dice by cost/pixels"]
    table = tables[0]
    # from the highest start (images, seed 2) to the lowest end (parts, seed 0)
    assert table.headers[-4:] == ("at 106", "at 157", "at 209", "at 260")
    assert "from 106 to 260" in table.note and "3 seeds that 4 arms share" in table.note
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == ["images: random", "images: entropy", "parts: random", "parts: entropy"]
    middle = 100 * (106 + 260) / 2 / 1000
    for name, shift in (("images: random", 0), ("images: entropy", 10), ("parts: random", 2), ("parts: entropy", 12)):
        mean = float(rows[name][1].split()[0])
        assert mean == pytest.approx(middle + shift + 0.1, abs=0.006)
        assert float(rows[name][6].split()[0]) == pytest.approx(0.106 + shift / 100 + 0.001, abs=6e-4)
        if shift:
            assert rows[name][2].startswith(f"+{shift:.2f} ") and rows[name][3] == "3/3"
    assert rows["images: random"][2:6] == ("", "", "", "")
    assert tables[1].rows[0][0] == "random"  # one variant: no need to say which


def test_labels_are_no_cost_and_nothing_is_said_where_no_cost_is_kept() -> None:
    found = {"images": make_cells(0.0, 100, 100)}
    assert [block.cost for block in blocks(found, [["images"]], METRIC)] == [PIXELS]  # cost/images = the labels
    bare = Results({c: tuple(r for r in rows if r.metric != PIXELS) for c, rows in found["images"].cells.items()})
    assert cost_tables({"images": bare}, [["images"]], metric=METRIC, margin=0.005) == []
    assert cost_tables({"images": Results()}, [["images"]], metric=METRIC, margin=0.005) == []


def test_costs_that_no_two_share_are_said() -> None:
    found = {"cheap": make_cells(0, 1, 10), "dear": make_cells(0, 100, 1000)}
    (table,) = cost_tables(found, [["cheap", "dear"]], metric=METRIC, margin=0.005)
    assert table.rows == () and "No cost that all loops were at: one starts at 1,006" in table.note
    assert "one ends at 13" in table.note


def test_a_seed_that_an_arm_lacks_is_left_out_and_order_changes_nothing() -> None:
    whole = {"images": make_cells(0.0, 100, 100), "parts": make_cells(0.02, 70, 50)}
    cells = [(c, rows) for c, rows in whole["parts"].cells.items() if c != (arm("entropy"), 1)]
    fewer = {**whole, "parts": Results(dict(cells))}
    shuffled = {**whole, "parts": Results(dict(reversed(cells)))}
    lots = [["images", "parts"]]
    (table,) = cost_tables(fewer, lots, metric=METRIC, margin=0.005)
    assert "3 seeds that 3 arms share, paired. Left out, for want of seeds: parts: entropy." in table.note
    assert cost_tables(shuffled, lots, metric=METRIC, margin=0.005) == [table]


def test_without_random_there_is_nothing_to_be_compared_with() -> None:
    found = {"images": Results({c: rows for c, rows in make_cells(0, 100, 100).cells.items() if c[0] != arm("random")})}
    (table,) = cost_tables(found, [["images"]], metric=METRIC, margin=0.005)
    assert [row[2:6] for row in table.rows] == [("", "", "", "")]


def test_the_linear_baseline_is_not_the_random_that_arms_are_compared_with() -> None:
    cells: dict[Cell, tuple[Row, ...]] = {
        (a, seed): loop(((100, 0.4 + by), (200, 0.6 + by)))
        for a, by in ((LINEAR, -0.1), (arm("random"), 0.0), (arm("entropy"), 0.1))
        for seed in range(3)
    }
    (table,) = cost_tables({"v": Results(cells)}, [["v"]], metric=METRIC, margin=0.005)
    assert table.headers[2] == "minus random"
    gains = {row[0]: row[2][:6] for row in table.rows}
    assert gains == {"random / linear": "-10.00", "random": "", "entropy": "+10.00"}
