"""The page of a bench: self-contained, escaped, right in its numbers, and an arm looks the same everywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from hybrid_al.bench.compared import LINEAR, LINEAR_NAME, RANDOM, names
from hybrid_al.bench.mirror import areas, curve_points, numbers
from hybrid_al.bench.page import (
    AGAINST,
    AGAINST_LINEAR,
    arm_looks,
    cost_figure,
    curve_figure,
    forest_figure,
    training_figure,
    write_page,
)
from hybrid_al.bench.publish import mirror
from hybrid_al.bench.results import CHEATING, END, FULL, Arm, Results, Row
from hybrid_al.bench.statistics import interval
from hybrid_al.bench.tables import Table
from hybrid_al.errors import InputError
from hybrid_al.report.figures import Figure, Trace
from hybrid_al.track.base import TrackerSettings
from hybrid_al.track.mlflow import MLflow
from hybrid_al.track.tensorboard import TensorBoard, handed_over
from hybrid_al.track.wandb import Wandb
from tests.helpers.figures import check_figure

METRIC = "test/auroc"
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
LABELS = (10, 20, 40)


def _arm(strategy: str, objective: str = "fixmatch") -> Arm:
    return Arm(strategy, objective, "frozen")


def _values(arm: Arm, seed: int) -> list[float]:
    rng = np.random.default_rng([seed, *str(arm).encode()])
    return [round(float(v), 6) for v in 0.6 + 0.1 * np.arange(len(LABELS)) + rng.normal(0, 0.02, len(LABELS))]


def _cell(arm: Arm, seed: int, metric: str = METRIC) -> tuple[Row, ...]:
    points = [(0, 900, 0.95)] if arm.strategy == FULL else list(zip(range(3), LABELS, _values(arm, seed), strict=True))
    return (*(Row(r, n, metric, y) for r, n, y in points), Row(points[-1][0], points[-1][1], END, 1.0))


def _results(*arms: Arm, seeds: int = 4) -> Results:
    return Results({(arm, seed): _cell(arm, seed) for arm in arms for seed in range(seeds)})


USUAL = _results(_arm("entropy"), _arm(CHEATING), _arm(RANDOM), _arm(FULL))


class _Page(HTMLParser):
    """Elements with their attributes, and the text of the scripts and of everything else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        self.scripts += [""] * (tag == "script")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        else:
            self.words += data

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]


def _write(path: Path, variants: dict[str, Results], tables: Sequence[Table] = ()) -> tuple[str, _Page]:
    out = write_page(path / "index.html", "a bench", variants, tables, metric=METRIC)
    assert out == path / "index.html"
    text = out.read_text()
    return text, _Page(text)


def _curves(results: Results) -> Figure:
    figure = curve_figure("v", results, METRIC, arm_looks(names({"v": results})))
    assert figure is not None
    return figure


def _trace(figure: Figure, name: str, meta: str | None = METRIC) -> Trace:
    (trace,) = [t for t in figure.data if t.get("name") == name and t.get("meta") == meta]
    return trace


def _bands(figure: Figure, name: str) -> list[Trace]:
    return [t for t in figure.data if "fill" in t and t["legendgroup"] == name and t["meta"] == METRIC]


def test_page_is_self_contained_and_links_lead_somewhere(tmp_path: Path) -> None:
    table = Table("AUBC", "in points", ("arm", "call"), (("entropy", "tie"),))
    _, page = _write(tmp_path, {"a": USUAL, "b": USUAL}, [table])
    for name in ("src", "href", "action", "data", "poster", "srcset"):
        assert all(value.startswith(("data:", "#")) for value in page.attributes(name))
    (policy,) = [a["content"] or "" for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    assert policy.count("sha256-") == 2
    kinds = [attrs.get("type") for tag, attrs in page.elements if tag == "script"]
    assert kinds.count(None) == 2
    assert set(kinds) == {None, "application/json"}
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert {v[1:] for v in page.attributes("href") if v.startswith("#")} <= set(ids)
    assert {v for v in (*page.attributes("data-menu"), *page.attributes("data-spec")) if v} <= set(ids)


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    evil = _results(_arm(EVIL), _arm(RANDOM), _arm(EVIL, EVIL))
    text, page = _write(tmp_path, {EVIL: evil}, [Table(EVIL, EVIL, (EVIL,), ((EVIL,),))])
    assert "alert(1)</script>" not in text.replace(html.escape(EVIL), "")
    assert not [attrs for _, attrs in page.elements if any(key.startswith("on") for key in attrs)]
    assert page.words.count(EVIL) == 8  # two contents, two headings, verdict, note, header, cell: shown in full
    assert sum(s.startswith("{") for s in page.scripts) == 2 and not any("<" in s for s in page.scripts if s[0] == "{")


def test_the_curve_is_mean_and_interval_of_the_seeds() -> None:
    figure = _curves(USUAL)
    expected = [interval([_values(_arm("entropy"), seed)[r] for seed in range(4)]) for r in range(3)]
    line, (band,) = _trace(figure, "entropy"), _bands(figure, "entropy")
    assert line["x"] == list(LABELS)
    np.testing.assert_allclose(cast(list[float], line["y"]), [e.mean for e in expected], atol=1e-4)
    ends = [*(e.high for e in expected), *(e.low for e in expected[::-1])]
    np.testing.assert_allclose(cast(list[float], band["y"]), ends, atol=1e-4)
    full = _trace(figure, "full supervision")
    assert (full["x"], full["y"]) == ([10, 40], [0.95, 0.95])
    assert cast(Trace, full["line"])["dash"] == "dot"


def test_the_second_view_is_the_paired_difference_to_random() -> None:
    figure = _curves(USUAL)
    assert [choice.name for choice in figure.choices] == [METRIC, AGAINST]
    gain = [
        [100 * (a - b) for a, b in zip(*(_values(_arm(s), k) for s in ("entropy", RANDOM)), strict=True)]
        for k in range(4)
    ]
    values = cast(list[float], _trace(figure, "entropy", AGAINST)["y"])
    np.testing.assert_allclose(values, np.mean(gain, axis=0), rtol=1e-3)
    assert RANDOM not in {t.get("name") for t in figure.data if t["meta"] == AGAINST}


def test_baselines_stand_out_and_are_named() -> None:
    figure = _curves(USUAL)
    assert cast(Trace, _trace(figure, RANDOM)["line"]) == {"color": "--neutral", "width": 5, "dash": "solid"}
    cheating = _trace(figure, f"{CHEATING} (cheating)")
    assert cast(Trace, cheating["line"])["dash"] == "dash"


def test_one_seed_has_no_band() -> None:
    figure = _curves(Results({**USUAL.cells, (_arm("margin"), 0): _cell(_arm("margin"), 0)}))
    assert not _bands(figure, "margin")
    assert cast(list[str], _trace(figure, "margin")["customdata"])[0].endswith("1 seed")
    forest = forest_figure(
        "v", _results(_arm("margin"), _arm(RANDOM), seeds=1), METRIC, arm_looks({_arm("margin"): "m"})
    )
    assert forest is not None
    assert cast(Trace, forest.data[0]["error_x"])["visible"] is False
    json.loads(forest.to_json())


def test_forest_is_sorted_and_filled_where_the_interval_leaves_out_zero() -> None:
    better = {(_arm("sure"), s): tuple(_lift(_cell(_arm(RANDOM), s), 0.1 + s / 1000)) for s in range(4)}
    results = Results({**better, **USUAL.cells})
    looks = arm_looks(names({"v": results}))
    forest = forest_figure("v", results, METRIC, looks)
    assert forest is not None
    means = [cast(list[float], t["x"])[0] for t in forest.data]
    assert means == sorted(means)
    assert forest.data[-1]["y"] == ["sure"]
    assert means[-1] == pytest.approx(10.15)
    symbols = {cast(list[str], t["y"])[0]: str(cast(Trace, t["marker"])["symbol"]) for t in forest.data}
    assert not symbols["sure"].endswith("-open")
    assert symbols["entropy"].endswith("-open")
    assert RANDOM not in symbols


def _lift(rows: Sequence[Row], by: float) -> list[Row]:
    return [replace(row, value=row.value + by) if row.metric == METRIC else row for row in rows]


def test_each_objective_has_its_own_random() -> None:
    arms = [_arm(s, o) for s in (RANDOM, "entropy") for o in ("fixmatch", "supervised")]
    results = _results(*arms)
    forest = forest_figure("v", results, METRIC, arm_looks(names({"v": results})))
    assert forest is not None
    for trace in forest.data:
        strategy, objective = cast(list[str], trace["y"])[0].split(" / ")
        mine, other = (results.curves(METRIC, [_arm(s, objective)]).areas()[0] for s in (strategy, RANDOM))
        assert cast(list[float], trace["x"])[0] == pytest.approx(100 * np.mean(mine - other), rel=1e-3)
    assert len(forest.data) == 2


def test_many_arms_look_different_and_the_same_in_every_variant(tmp_path: Path) -> None:
    arms = [_arm(f"s{i}", o) for i in range(20) for o in ("fixmatch", "supervised")]
    looks = arm_looks(names({"v": Results({(arm, 0): () for arm in (*arms, _arm(RANDOM), _arm(FULL))})}))
    assert len({(look.color, look.symbol, look.dash) for look in looks.values()}) == 42
    _, page = _write(tmp_path, {"a": USUAL, "b": _results(_arm("margin"), _arm("entropy"), _arm(RANDOM))})
    specs = [json.loads(s) for s in page.scripts if s.startswith("{")]
    lines = [t["line"] for spec in specs for t in spec["data"] if t.get("name") == "entropy"]
    assert len(lines) == 4
    assert all(look == lines[0] for look in lines)


def test_the_figures_ask_for_nothing_that_cannot_be_drawn() -> None:
    for figure in (_curves(USUAL), forest_figure("v", USUAL, METRIC, arm_looks(names({"v": USUAL})))):
        assert figure is not None
        check_figure(figure)


def test_unfinished_benches_are_shown(tmp_path: Path) -> None:
    alone = _results(_arm("entropy"))
    apart = Results({(_arm("entropy"), 0): _cell(_arm("entropy"), 0), (_arm(RANDOM), 1): _cell(_arm(RANDOM), 1)})
    text, _ = _write(
        tmp_path, {"nothing": Results(), "alone": alone, "apart": apart, "only full": _results(_arm(FULL))}
    )
    assert text.count("No arm has a finished cell.") == 2
    assert text.count("No arm shares a seed with random") == 2
    results = {cell: rows for cell, rows in USUAL.cells.items() if cell[0].strategy != "entropy" or cell[1] < 2}
    assert "3 arms, 2 to 4 seeds an arm." in _write(tmp_path, {"some": Results(results)})[0]


def test_many_variants_are_folded_up_and_tables_shown(tmp_path: Path) -> None:
    tables = [Table("only words", "read this"), Table("t", "", ("arm", "AUBC", "call"), (("entropy", "70.1", "tie"),))]
    _, page = _write(tmp_path, {f"v{i}": USUAL for i in range(9)}, tables)
    is_open = ["open" in attrs for tag, attrs in page.elements if tag == "details"]
    assert is_open == [True, *[False] * 8, True, True]
    heads = [attrs.get("class") for tag, attrs in page.elements if tag == "th" and attrs.get("scope") == "col"]
    assert heads == ["text", None, "text"]
    assert sum(tag == "table" for tag, _ in page.elements) == 1
    assert sum(tag == "section" for tag, _ in page.elements) == 1 + 9 + 2


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one variant"):
        write_page(tmp_path / "x.html", "t", {}, (), metric=METRIC)
    with pytest.raises(InputError, match="val/auroc"):
        write_page(tmp_path / "x.html", "t", {"v": USUAL}, (), metric="val/auroc")
    assert not list(tmp_path.iterdir())


def test_trackers_get_the_numbers_of_the_page() -> None:
    results = Results({**USUAL.cells, (_arm("margin"), 0): _cell(_arm("margin"), 0)})
    points = {(arm, labels): rest for _, arm, labels, *rest in curve_points({"v": results}, METRIC)}
    assert len(points) == 4 * 3
    values = cast(list[float], _trace(_curves(results), "entropy")["y"])
    np.testing.assert_allclose([points["entropy", n][0] for n in LABELS], values, atol=1e-4)
    assert points["margin", 10][1:] == [-np.inf, np.inf]
    summary = areas({"v": results}, METRIC)
    mine, other = (results.curves(METRIC, [_arm(s)]).areas()[0] for s in ("entropy", RANDOM))
    assert summary["v/entropy/aubc"] == pytest.approx(mine.mean())
    assert summary["v/entropy/aubc_minus_random"] == pytest.approx((mine - other).mean())
    assert "v/random/aubc_minus_random" not in summary
    assert f"v/{CHEATING} (cheating)/aubc" in summary


def test_every_tracker_gets_the_tables_with_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = [Table("only words", "read this"), Table("t", "", ("arm",), (("entropy",),))]
    bench = numbers("b", {"v": USUAL, "nothing": Results()}, tables, metric=METRIC, digest="0" * 8)
    trackers: dict[str, TrackerSettings] = {
        "mlflow": MLflow(uri=str(tmp_path / "a file")),
        "tensorboard": TensorBoard(),
        "wandb": Wandb(),
    }
    (tmp_path / "a file").write_text("")
    for _ in range(2):
        mirror(trackers, tmp_path, bench)
    kinds = sorted(p.name.partition("_")[0] for p in tmp_path.rglob("*.table.json"))
    assert kinds == ["curves", "t"]
    places = handed_over(tmp_path / "tensorboard")
    assert ("curve/v/entropy", 10) in places and ("table/t", 0) in places
    assert capsys.readouterr().err.count("track.mlflow: ") == 2  # which stopped nobody


def _costly(variant: int) -> Results:
    """Two arms, two seeds; rounds of other costs in each."""
    cells = {}
    for arm in (_arm(RANDOM), _arm("entropy")):
        for seed in range(2):
            points = [
                (100 + 50 * r + 10 * seed + 5 * variant, n, y)
                for (r, n), y in zip(enumerate(LABELS), _values(arm, seed), strict=True)
            ]
            rows = [
                row for r, (c, n, y) in enumerate(points) for row in (Row(r, n, METRIC, y), Row(r, n, "cost/pixels", c))
            ]
            cells[arm, seed] = (*rows, Row(2, LABELS[-1], END, 1.0))
    return Results(cells)


def test_costs_are_drawn_over_variants_of_the_same_images(tmp_path: Path) -> None:
    variants = {"images": _costly(0), f"parts{EVIL}": _costly(1)}
    lot = list(variants)
    figure = cost_figure(variants, lot, METRIC, arm_looks(names(variants)))
    assert figure is not None and [(c.name, c.x) for c in figure.choices] == [
        ("test/auroc by pixels", "labeled pixels")
    ]
    lines = [trace for trace in figure.data if "name" in trace]
    assert [str(line["name"]).rpartition(": ")[0] for line in lines] == ["images"] * 2 + [f"parts{EVIL}"] * 2
    assert lines[0]["x"] == [110, 150, 160, 200]  # all costs between those that both seeds were at
    slow = []
    for cost in (110, 150, 160, 200):
        at = [
            np.interp(cost, [100 + 50 * r + 10 * seed for r in range(3)], _values(_arm(RANDOM), seed))
            for seed in range(2)
        ]
        slow.append(np.mean(at))
    np.testing.assert_allclose(cast(list[float], lines[0]["y"]), slow, atol=1e-4)
    assert cast(dict[str, str], lines[0]["marker"])["symbol"] != cast(dict[str, str], lines[2]["marker"])["symbol"]
    page = write_page(tmp_path / "p.html", "x", variants, [], metric=METRIC, together=[lot]).read_text()
    assert "At equal cost" in page and EVIL not in page
    assert cost_figure({"a": USUAL}, ["a"], METRIC, arm_looks(names({"a": USUAL}))) is None
    assert "At equal cost" not in write_page(tmp_path / "q.html", "x", {"a": USUAL}, [], metric=METRIC).read_text()


def test_random_picks_are_drawn_against_the_linear_baseline(tmp_path: Path) -> None:
    results = Results({**USUAL.cells, **_results(LINEAR, seeds=3).cells})
    looks, before = (arm_looks(names({"v": r})) for r in (results, USUAL))
    assert {arm: look for arm, look in looks.items() if arm != LINEAR} == before
    styles = {(look.color, look.symbol, look.dash) for look in looks.values()}
    assert len(styles) == len(looks) and looks[LINEAR].label == LINEAR_NAME
    figure = _curves(results)
    assert [choice.name for choice in figure.choices] == [METRIC, AGAINST, AGAINST_LINEAR]
    gain = [np.subtract(_values(_arm(RANDOM), seed), _values(LINEAR, seed)) for seed in range(3)]
    values = cast(list[float], _trace(figure, RANDOM, AGAINST_LINEAR)["y"])
    np.testing.assert_allclose(values, 100 * np.mean(gain, axis=0), rtol=1e-3)
    assert {t["name"] for t in figure.data if t["meta"] == AGAINST_LINEAR and "name" in t} == {RANDOM}
    forest = training_figure("v", results, METRIC, looks)
    assert forest is not None and [t["y"] for t in forest.data] == [[RANDOM]]
    assert forest.choices[0].x == "AUBC minus random / linear (points)"
    mine, other = (results.curves(METRIC, [_arm(RANDOM), LINEAR]).areas()[k] for k in (0, 1))
    assert cast(list[float], forest.data[0]["x"])[0] == pytest.approx(100 * np.mean(mine - other), rel=1e-3)
    summary = areas({"v": results}, METRIC)
    assert summary["v/random/aubc_minus_random_linear"] == pytest.approx(np.mean(mine - other))
    assert "v/random / linear/aubc_minus_random_linear" not in summary
    text, _ = _write(tmp_path, {"v": results, "old": USUAL})
    assert text.count("AUBC of training against random / linear") == 1
    assert training_figure("v", USUAL, METRIC, looks) is None
    assert LINEAR_NAME not in _write(tmp_path, {"old": USUAL})[0]
