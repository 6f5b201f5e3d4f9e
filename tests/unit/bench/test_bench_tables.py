"""The tables of a bench: exact text from planted numbers, what is missing, and that order changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from hybrid_al.bench.compared import LINEAR, linear_baseline, most_complete, names
from hybrid_al.bench.results import END, FULL, Arm, Cell, Results, Row
from hybrid_al.bench.tables import Table, markdown, tables, timing
from hybrid_al.errors import InputError

METRIC = "test/auroc"
BUDGETS = (10, 20, 40)
Curve = Callable[[int], tuple[float, ...]]


def arm(strategy: str, objective: str = "supervised") -> Arm:
    return Arm(strategy, objective, "frozen")


def cell(values: tuple[float, ...], *, labels: tuple[int, ...] = BUDGETS, rare: float = 0.2) -> tuple[Row, ...]:
    rows = []
    for r, (n, value) in enumerate(zip(labels, values, strict=True)):
        counts = {"labels/rare": rare * n, "labels/common": (1 - rare) * n}
        numbers = {METRIC: value, **counts, "seconds/query": 0.5 + r, "seconds/train": 2.0}
        rows += [Row(r, n, name, x) for name, x in numbers.items()]
    return (*rows, Row(len(labels) - 1, labels[-1], END, 9.0))


def planted(curves: Mapping[str, Curve], seeds: int, *, full: float | None = 0.9) -> Results:
    cells: dict[Cell, tuple[Row, ...]] = {
        (arm(name), seed): cell(curve(seed)) for seed in range(seeds) for name, curve in curves.items()
    }
    if full is not None:
        cells |= {(arm(FULL), seed): cell((full,), labels=(1000,), rare=0.1) for seed in range(seeds)}
    return Results(cells)


def shifted(by: float, noise: float = 0.0) -> Curve:
    """A curve that rises by 0.1 a round from 0.6, `by` above it, with the seed's own level and a wobble."""

    def curve(seed: int) -> tuple[float, ...]:
        level = by + 0.01 * (seed % 3) + noise * (-1) ** seed
        return 0.6 + level, 0.7 + level, 0.8 + level

    return curve


def table_named(all_tables: list[Table], title: str) -> Table:
    (table,) = [t for t in all_tables if title in t.title]
    return table


def column(table: Table, header: str) -> dict[str, str]:
    k = table.headers.index(header)
    return {row[0]: row[k] for row in table.rows}


def without(results: Results, *cells: Cell) -> Results:
    return Results({key: rows for key, rows in results.cells.items() if key not in cells})


def test_a_small_table_word_for_word() -> None:
    all_tables = tables({"set": planted({"random": shifted(0), "best": shifted(0.02)}, 6)}, metric=METRIC)
    assert markdown([table_named(all_tables, "by number"), table_named(all_tables, "AUBC and")]) == (
        "### set: test/auroc by number of labels\n\n"
        "Mean ± standard deviation over seeds. 6 seeds that 2 arms share.\n\n"
        "| arm | 10 labels | 20 labels | 40 labels |\n"
        "| --- | --- | --- | --- |\n"
        "| random | 0.610 ± 0.009 | 0.710 ± 0.009 | 0.810 ± 0.009 |\n"
        "| best | 0.630 ± 0.009 | 0.730 ± 0.009 | 0.830 ± 0.009 |\n"
        "| full supervision |  |  | 0.900 ± 0.000 (1000 labels) |\n\n"
        "### set: AUBC and comparison with random\n\n"
        "6 seeds that 2 arms share. 95 % of full supervision: 0.855 (6 seeds).\n\n"
        "| arm | AUBC | AUBC log2 | minus random | wins | p (Holm) | call | rank | first | labels to 95 % "
        "| of random's |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| random | 72.67 (71.73 to 73.61) | 71.00 (70.06 to 71.94) |  |  |  |  | 2.0 (2.0 to 2.0) | 0 % "
        "| not reached |  |\n"
        "| best | 74.67 (73.73 to 75.61) | 73.00 (72.06 to 73.94) | +2.00 (+2.00 to +2.00) | 6/6 | 0.031 (0.031) "
        "| better | 1.0 (1.0 to 1.0) | 100 % | not reached |  |\n"
    )


def test_the_planted_calls() -> None:
    rng = np.random.default_rng(0)
    wild = rng.normal(0, 0.05, 20)
    curves: dict[str, Curve] = {
        "random": shifted(0),
        "winner": shifted(0.02, 0.005),
        "loser": shifted(-0.02, 0.005),
        "same": shifted(0, 0.002),
        "wild": lambda seed: shifted(float(wild[seed]))(seed),
    }
    table = table_named(tables({"set": planted(curves, 20)}, metric=METRIC), "AUBC and")
    calls = {"random": "", "loser": "worse", "same": "tie", "wild": "undecided", "winner": "better"}
    assert column(table, "call") == calls
    assert column(table, "wins")["winner"] == "20/20"
    assert column(table, "p (Holm)")["winner"] == "< 0.001 (< 0.001)"
    wider = table_named(tables({"set": planted(curves, 20)}, metric=METRIC, margin=0.05), "AUBC and")
    assert set(column(wider, "call").values()) == {"", "tie"}


def test_cheating_is_said_wherever_the_arm_stands() -> None:
    names = ("random", "class_stratified", "class_stratified+entropy")
    results = planted({name: shifted(0.01 * k) for k, name in enumerate(names)}, 6)
    text = markdown([*tables({"set": results}, metric=METRIC), timing({"set": results})])
    assert text.count("class_stratified (cheating)") == text.count("| class_stratified") - text.count("+entropy")
    assert text.count("class_stratified+entropy (cheating)") == text.count("class_stratified+entropy")


def test_one_missing_cell_costs_one_seed_and_pairs_keep_theirs() -> None:
    every = planted({"random": shifted(0), "a": shifted(0.02, 0.005), "b": shifted(0.01, 0.005)}, 10)
    all_tables = tables({"set": without(every, (arm("a"), 3))}, metric=METRIC)
    table = table_named(all_tables, "AUBC and")
    assert "9 seeds that 3 arms share" in table.note
    assert column(table, "wins") == {"random": "", "a": "9/9", "b": "10/10"}
    assert table_named(all_tables, "Power").rows[0][1] == "9 to 10"


def test_an_arm_with_few_seeds_is_left_out_and_named_but_compared() -> None:
    every = planted({"random": shifted(0), "a": shifted(0.02), "late": shifted(0.01)}, 10)
    all_tables = tables({"set": without(every, *((arm("late"), seed) for seed in range(2, 10)))}, metric=METRIC)
    curves, table = table_named(all_tables, "by number"), table_named(all_tables, "AUBC and")
    assert [row[0] for row in curves.rows] == ["random", "a", "full supervision"]
    assert "10 seeds that 2 arms share. Left out, for want of seeds: late (2 seeds)." in curves.note
    assert column(table, "AUBC")["late"] == ""
    assert column(table, "rank")["late"] == ""
    assert column(table, "wins")["late"] == "2/2"


def test_an_arm_with_one_seed_has_no_interval() -> None:
    results = planted({"random": shifted(0), "a": shifted(0.02)}, 1)
    all_tables = tables({"set": results}, metric=METRIC)
    table = table_named(all_tables, "AUBC and")
    assert column(table, "minus random")["a"] == "+2.00 (one seed)"
    assert column(table, "call")["a"] == "undecided"
    assert table_named(all_tables, "by number").rows[0][1] == "0.600"
    assert column(table_named(all_tables, "Worst"), "upper 90 % bound") == {"a": "one seed"}
    assert table_named(all_tables, "penalty").note == "No two arms share two seeds."
    assert not [t for t in all_tables if t.title == "Power"]


def test_without_random_there_is_no_comparison() -> None:
    all_tables = tables({"set": planted({"a": shifted(0.02), "b": shifted(0)}, 6)}, metric=METRIC)
    table = table_named(all_tables, "AUBC and")
    assert "No seed of random to compare with: a, b." in table.note
    for header in ("minus random", "wins", "p (Holm)", "call", "of random's"):
        assert set(column(table, header).values()) == {""}
    assert column(table, "AUBC")["a"] == "74.67 (73.73 to 75.61)"
    assert not [t for t in all_tables if t.title in ("Power", "Worst case against random")]


def test_random_is_looked_for_under_the_same_objective() -> None:
    cells = {(arm("random"), seed): cell(shifted(0)(seed)) for seed in range(6)}
    cells |= {(arm("a", "fixmatch"), seed): cell(shifted(0.02)(seed)) for seed in range(6)}
    table = table_named(tables({"set": Results(cells)}, metric=METRIC), "AUBC and")
    assert "No seed of random to compare with: a / fixmatch." in table.note
    assert column(table, "call") == {"random / supervised": "", "a / fixmatch": ""}


def test_without_full_supervision_no_labels_are_saved() -> None:
    all_tables = tables({"set": planted({"random": shifted(0), "a": shifted(0.02)}, 6, full=None)}, metric=METRIC)
    table = table_named(all_tables, "AUBC and")
    assert "95 % of full supervision: not run." in table.note
    assert set(column(table, "labels to 95 %").values()) == {""}
    assert [row[0] for row in table_named(all_tables, "by number").rows] == ["random", "a"]


def test_labels_to_a_share_of_full_supervision() -> None:
    curves: dict[str, Curve] = {
        "random": lambda seed: (0.5, 0.6, 0.8),  # half of full supervision: 0.7, at 30
        "quick": lambda seed: (0.6, 0.8, 0.8),  # at 15
        "start": lambda seed: (0.7, 0.8, 0.8),
        "some": lambda seed: (0.5, 0.6, 0.8 if seed < 2 else 0.6),
        "most": lambda seed: (0.5, 0.6, 0.8 if seed < 3 else 0.6),
        "never": lambda seed: (0.5, 0.6, 0.6),
    }
    results = planted(curves, 5, full=1.0)
    table = table_named(tables({"set": results}, metric=METRIC, share=0.7), "AUBC and")
    assert column(table, "labels to 70 %") == {
        "random": "30 (5/5)",
        "quick": "15 (5/5)",
        "start": "≤ 10 (5/5)",
        "some": "> 40 (2/5)",
        "most": "30 (3/5)",
        "never": "not reached",
    }
    ratios = {"random": "1.00", "quick": "0.50", "start": "≤ 0.33", "some": "", "most": "1.00", "never": ""}
    assert column(table, "of random's") == ratios


def test_penalties_are_summed_over_the_variants_that_share_arms() -> None:
    two = planted({"random": shifted(0), "a": shifted(0.02)}, 6)
    three = planted({"random": shifted(0), "a": shifted(0.02), "b": shifted(0.01)}, 6)
    empty = planted({"random": shifted(0), "a": shifted(0.02)}, 1)
    table = table_named(tables({"x": two, "y": two, "z": three, "begun": empty}, metric=METRIC), "penalty")
    assert table.headers == ("", "random", "a")
    assert table.rows == (("random", "", "0.00"), ("a", "3.00", ""), ("mean of column", "3.00", "0.00"))
    assert "highest possible entry is 3." in table.note
    assert "Left out, not in all these variants: b." in table.note
    assert "without two seeds of all these arms: begun." in table.note


def test_many_columns_are_numbered() -> None:
    results = planted({"random": shifted(0), **{f"s{k}": shifted(0.01 * k) for k in range(8)}}, 4)
    all_tables = tables({f"v{k}": results for k in range(9)}, metric=METRIC)
    penalties, classes = table_named(all_tables, "penalty"), table_named(all_tables, "Class")
    assert penalties.headers == ("", *"123456789")
    assert [row[0] for row in penalties.rows][:2] == ["1 random", "2 s0"]
    assert classes.headers == ("arm", *"123456789")
    assert "1: v0: rare; 2: v1: rare;" in classes.note


def test_worst_case_names_the_variant() -> None:
    good = planted({"random": shifted(0), "a": shifted(0.03)}, 6)
    bad = planted({"random": shifted(0), "a": shifted(-0.01)}, 6)
    table = table_named(tables({"good": good, "bad": bad}, metric=METRIC), "Worst")
    assert table.rows == (("a", "+1.00", "2", "1.00", "1.00", "bad"),)


def test_power_is_of_the_median_and_the_widest_arm() -> None:
    curves = {"random": shifted(0), "a": shifted(0, 0.001), "b": shifted(0, 0.01), "c": shifted(0, 0.02)}
    table = table_named(tables({"set": planted(curves, 20)}, metric=METRIC), "Power")
    assert table.rows[0][:3] == ("set", "20", "1.03 (2.05)")
    assert table.rows[0][4:] == ("36 (135)", "11 (36)")  # effects of 0.49 and 0.24; Cohen: 0.5 takes 34


def test_class_balance_is_of_the_class_rarest_in_the_pool() -> None:
    cells = {(arm("random"), seed): cell(shifted(0)(seed), rare=0.1) for seed in range(4)}
    cells |= {(arm("greedy"), seed): cell(shifted(0)(seed), rare=0.75) for seed in range(4)}
    pool: dict[Cell, tuple[Row, ...]] = {(arm(FULL), 0): cell((0.9,), labels=(1000,), rare=0.12)}
    with_pool = table_named(tables({"set": Results(cells | pool)}, metric=METRIC), "Class")
    assert with_pool.headers == ("arm", "set: rare")
    assert with_pool.rows == (("random", "10.0"), ("greedy", "75.0"), ("whole pool", "12.0"))
    alone = table_named(tables({"set": Results(cells)}, metric=METRIC), "Class")
    assert alone.rows == (("random", "10.0"), ("greedy", "75.0"))
    bare = {key: tuple(r for r in rows if not r.metric.startswith("labels/")) for key, rows in cells.items()}
    assert not [t for t in tables({"set": Results(bare)}, metric=METRIC) if t.title == "Class balance"]


def test_timing_stands_apart() -> None:
    results = planted({"random": shifted(0), "a": shifted(0)}, 2)
    table = timing({"x": results, "y": results})
    assert table.rows[0] == ("random", "4", "9 (9)", "2 (2)", "1.5 (2.5)")
    assert [row[0] for row in table.rows] == ["random", "a", "full supervision"]
    assert "seconds" not in markdown(tables({"x": results}, metric=METRIC)).lower()
    assert timing({}).rows == ()


def test_order_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.03, (12, 4, 3))
    names = ("random", "b", "class_stratified", "a")
    curves: dict[str, Curve] = {
        name: lambda seed, k=k: tuple(0.7 + noise[seed, k])  # type: ignore[misc]
        for k, name in enumerate(names)
    }
    results = without(planted(curves, 12), (arm("a"), 5))
    keys = list(results.cells)
    for _ in range(3):
        rng.shuffle(keys)
        shuffled = {key: tuple(rng.permutation(np.asarray(results.cells[key], dtype=object))) for key in keys}
        all_tables = tables({"set": Results(shuffled)}, metric=METRIC), timing({"set": Results(shuffled)})
        assert all_tables == (tables({"set": results}, metric=METRIC), timing({"set": results}))


def test_one_round_is_its_own_area() -> None:
    cells = {(arm(name), s): cell((y,), labels=(10,)) for name, y in (("random", 0.7), ("a", 0.8)) for s in range(6)}
    table = table_named(tables({"set": Results(cells)}, metric=METRIC), "AUBC and")
    assert column(table, "AUBC") == column(table, "AUBC log2")
    assert column(table, "AUBC")["a"] == "80.00 (80.00 to 80.00)"
    assert column(table, "minus random")["a"] == "+10.00 (+10.00 to +10.00)"


def test_nothing_finished_is_said() -> None:
    full = Results({(arm(FULL), 0): cell((0.9,), labels=(1000,))})
    for results in (Results(), full):
        all_tables = tables({"set": results}, metric=METRIC)
        assert [t.note for t in all_tables if t.title.startswith("set")] == ["No arm has a finished cell."]
        assert all(not t.rows for t in all_tables)
    assert markdown(tables({}, metric=METRIC)).startswith("### How to read the tables\n")


def test_markdown_escapes_bars_and_line_breaks() -> None:
    table = Table("A", "note | as it is", ("x|y", "z"), (("1|2", "3\n4"),))
    assert markdown([table, Table("B", "only this")]) == (
        "### A\n\nnote | as it is\n\n| x\\|y | z |\n| --- | --- |\n| 1\\|2 | 3 4 |\n\n### B\n\nonly this\n"
    )


def test_what_is_refused() -> None:
    good = planted({"random": shifted(0)}, 3)
    with pytest.raises(InputError, match="higher is better, got test/nll"):
        tables({"set": good}, metric="test/nll")
    with pytest.raises(InputError, match="the metric test/dice"):
        tables({"set": good}, metric="test/dice")
    with pytest.raises(InputError, match=r"share in \(0, 1\], got 95"):
        tables({"set": good}, metric=METRIC, share=95)
    other = {(arm("a"), 0): cell((0.7, 0.8), labels=(10, 30))}
    with pytest.raises(InputError, match=r"set: a / supervised: expected labels \[10, 20, 40\] .* got \[10, 30\]"):
        tables({"set": Results({**good.cells, **other})}, metric=METRIC)


def test_the_most_complete_block() -> None:
    a, b, c = arm("a"), arm("b"), arm("c")
    assert most_complete({a: {1, 2}, b: {1, 2}, c: set()}) == ((a, b), frozenset({1, 2}))
    assert most_complete({a: {1, 2, 3}, b: {1, 2, 3}, c: {3}}) == ((a, b), frozenset({1, 2, 3}))
    assert most_complete({a: {1, 2, 3, 4}, b: {1, 2, 3, 4}, c: {1, 2, 3}}) == ((a, b, c), frozenset({1, 2, 3}))
    assert most_complete({a: {1}, b: {2}}) == ((a,), frozenset({1}))  # of equals, the later arm is given up
    assert most_complete({a: set[int]()}) == ((), frozenset())


def test_numbers_beside_the_metric_are_shown_and_decide_nothing() -> None:
    results = planted({"random": shifted(0), "best": shifted(0.02)}, 3)
    far = {
        key: tuple(
            one
            for row in rows
            for one in (row, Row(row.round, row.labels, "test/hd95", 100 * row.value))
            if row.metric == METRIC or one is row
        )
        for key, rows in results.cells.items()
    }
    plain = tables({"set": results}, metric=METRIC)
    all_tables = tables({"set": Results(far)}, metric=METRIC, beside=["test/hd95"])
    assert [t for t in all_tables if "hd95" not in t.title] == plain
    table = table_named(all_tables, "set: test/hd95 by number of labels")
    assert column(table, "10 labels") == {"random": "61.000 ± 1.000", "best": "63.000 ± 1.000", "full supervision": ""}


def with_linear(results: Results, curve: Curve, seeds: int) -> Results:
    return Results({**results.cells, **{(LINEAR, seed): cell(curve(seed)) for seed in range(seeds)}})


def test_random_arms_are_compared_with_logistic_regression_on_the_same_picks() -> None:
    plain = planted({"random": shifted(0.01), "best": shifted(0.03)}, 6)
    results = with_linear(plain, shifted(0), 5)
    all_tables = tables({"set": results}, metric=METRIC)
    assert markdown([table_named(all_tables, "Random picks")]) == (
        "### Random picks: training over random / linear\n\n"
        "What training adds on the same picks: AUBC of each random arm minus that of random / linear, in points, "
        "paired over the seeds that both have. p is adjusted by Holm over the arms of a variant.\n\n"
        "| variant | arm | over | AUBC | AUBC of the other | difference | wins | p (Holm) | call |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| set | random | random / linear | 73.47 (72.43 to 74.51) | 72.47 (71.43 to 73.51) | +1.00 (+1.00 to +1.00) "
        "| 5/5 | 0.062 (0.062) | undecided |\n"
    )
    table = table_named(all_tables, "AUBC and")
    assert [row[0] for row in table.rows] == ["random / linear", "random", "best"]
    assert column(table, "over") == {"random / linear": "", "random": "", "best": "random"}
    assert column(table, "minus random") == {"random / linear": "", "random": "", "best": "+2.00 (+2.00 to +2.00)"}
    assert column(table, "labels to 95 %")["random / linear"] == ""
    assert "5 seeds that 3 arms share. 95 % of full supervision: 0.855 (6 seeds)." in table.note
    assert "Objective: supervised. Learner: frozen." in all_tables[0].note
    assert "random / linear has the labels of random" in all_tables[0].note


def test_each_random_arm_is_compared_with_the_one_linear_baseline() -> None:
    cells = {
        (arm(name, objective), seed): cell(shifted(by, 0.001 * (name == "a"))(seed))
        for name, objective, by in (
            ("random", "supervised", 0.01),
            ("random", "fixmatch", -0.01),
            ("a", "fixmatch", 0.02),
        )
        for seed in range(6)
    }
    results = with_linear(Results(cells), shifted(0), 6)
    all_tables = tables({"set": results, "old": Results(cells)}, metric=METRIC)
    table = table_named(all_tables, "Random picks")
    assert [row[:3] for row in table.rows] == [
        ("set", "random / fixmatch", "random / linear"),
        ("set", "random / supervised", "random / linear"),
    ]
    assert [row[5][:5] for row in table.rows] == ["-1.00", "+1.00"]
    assert {row[7] for row in table.rows} == {"0.031 (0.062)"}
    over = column(table_named(all_tables, "set: AUBC and"), "over")
    assert over["a / fixmatch"] == "random / fixmatch"
    assert "Without a finished cell: random / linear." in table_named(all_tables, "old: AUBC and").note
    assert timing({"set": results}).rows[0][0] == "random / linear"


def test_without_the_linear_baseline_nothing_is_said_of_it() -> None:
    text = markdown(tables({"set": planted({"random": shifted(0), "a": shifted(0.02)}, 6)}, metric=METRIC))
    assert "linear" not in text and "over" not in [cell for line in text.splitlines() for cell in line.split(" | ")]


def test_a_bench_of_the_learner_linear_has_no_linear_baseline() -> None:
    other, full = Arm("a", "supervised", "linear"), Arm(FULL, "supervised", "linear")
    assert linear_baseline([LINEAR]) is None
    assert linear_baseline([LINEAR, other, arm("random")]) is None
    assert linear_baseline([other, arm("random")]) is None
    assert linear_baseline(iter([arm("random"), LINEAR])) == LINEAR
    results = Results({(a, seed): cell(shifted(0)(seed)) for a in (LINEAR, other, full) for seed in range(6)})
    assert list(names({"set": results}).values()) == ["random", "a", "full supervision"]
    assert not [t for t in tables({"set": results}, metric=METRIC) if "Random picks" in t.title]
