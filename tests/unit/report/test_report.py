"""The report: self-contained, complete, escaped, small, and right in its numbers."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import re
import time
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.metrics.classification import aubc
from hybrid_al.report import figures, figures_model
from hybrid_al.report.page import Pictures, RunView, curve_csv, group_runs, write_report
from hybrid_al.report.runview import once, sort_metrics
from hybrid_al.track.jsonl import JsonlTracker
from tests.helpers.fake_run import fake_run, thumbnail
from tests.helpers.figures import check_figure

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)><a href="javascript:alert(3)">'


class _Page(HTMLParser):
    """Elements of a page with their attributes, its headings, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.headings: list[str] = []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.scripts[-1] += data
        elif self.open in ("h1", "h2", "h3"):
            self.headings.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attrs in self.elements for key, value in attrs.items() if key == name]


def _view(path: Path, **changes: Any) -> RunView:
    return RunView.read(fake_run(path, **changes))


def _write(runs: Sequence[RunView], out: Path, *, images: bool = True) -> str:
    pictures = [Pictures(lambda i, _: thumbnail(i))] * len(runs) if images else ()
    return write_report(runs, out, pictures=pictures).read_text(encoding="utf-8")


def _picks(text: str) -> dict[str, Any]:
    page = _Page(text)
    (data,) = [s for s, a in zip(page.scripts, _script_attributes(page), strict=True) if a.get("id") == "gallery-data"]
    return dict(json.loads(data))


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunView, str]:
    """A run in which every name that comes from outside tries to break out, and its page."""
    root = tmp_path_factory.mktemp("evil")
    run = _view(
        root / "run",
        name=f"evil{EVIL}",
        strategy=EVIL,
        ids={i: f"{i}{EVIL}" for i in range(300)},
        classes=(EVIL, "</script>", "{{ 7 * 7 }}", "&amp;"),
    )
    return run, _write([run], root / "report")


def test_page_is_self_contained(tmp_path: Path) -> None:
    page = _Page(_write([_view(tmp_path / "run")], tmp_path / "report"))
    for name in ("src", "href", "action", "data", "poster", "srcset"):
        assert all(value.startswith(("data:", "#")) for value in page.attributes(name))
    assert "link" not in {tag for tag, attrs in page.elements if not (attrs.get("href") or "").startswith("data:")}
    style = (Path(figures.__file__).parent / "page.css").read_text()
    assert not re.search(r"url\(|@import", style)
    (policy,) = [a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    assert "http" not in policy


def test_only_our_scripts_run(evil: tuple[RunView, str]) -> None:
    page = _Page(evil[1])
    kinds = [attrs.get("type") for tag, attrs in page.elements if tag == "script"]
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert kinds.count(None) == policy.count("sha256-")
    assert set(kinds) == {None, "application/json"}


def test_names_from_outside_are_escaped(evil: tuple[RunView, str]) -> None:
    run, text = evil
    page = _Page(text)
    assert "alert(1)</script>" not in text.replace(html.escape(EVIL), "")
    assert not [attrs for _, attrs in page.elements if any(key.startswith("on") for key in attrs)]
    assert not [value for value in page.attributes("href") if value.startswith("javascript")]
    assert run.rounds[0].picks[0].id in {item["id"] for item in _picks(text)["items"]}  # in full, put in as text
    assert EVIL in page.headings[0]
    inert = [s for s, a in zip(page.scripts, _script_attributes(page), strict=True) if a.get("type")]
    assert all(json.loads(s) and "<" not in s for s in inert)


def _script_attributes(page: _Page) -> list[dict[str, str | None]]:
    return [attrs for tag, attrs in page.elements if tag == "script"]


def test_all_sections_are_there(tmp_path: Path) -> None:
    text = _write([_view(tmp_path / "run")], tmp_path / "report")
    page = _Page(text)
    ids = set(page.attributes("id"))
    assert len(ids) == len(page.attributes("id"))
    assert {"asked", "bought", "wrong", "next", "made", "map"} <= ids
    assert {v[1:] for v in page.attributes("href") if v.startswith("#")} <= ids
    assert {
        v for v in (*page.attributes("data-menu"), *page.attributes("data-spec"), *page.attributes("for")) if v
    } <= ids
    assert page.headings[0] == "chest-xray"
    assert all(page.attributes("aria-label"))
    items = _picks(text)["items"]
    assert len(items) == 100 and {item["round"] for item in items} == {0, 1, 2, 3}
    assert any("entropy 0." in item["why"] for item in items if item["round"])
    for word in ("typiclust+hybrid", "fixmatch", "finetune", "patient0", "chestmnist.npz"):
        assert word in text
    assert "jane.doe" not in text  # folders are cut from paths


@pytest.mark.parametrize("which", ["curve", "balance", "parts", "map", "reliability", "training"])
def test_the_figures_ask_for_nothing_that_cannot_be_drawn(tmp_path: Path, which: str) -> None:
    run = _view(tmp_path / "run")
    figures_of: dict[str, Sequence[figures.Figure | None]] = {
        "curve": [figures.curve_figure(group_runs([run]), run.metrics)],
        "balance": [figures.balance_figure(run)],
        "parts": [figures.parts_figure(run)],
        "map": figures_model.map_figures(run),
        "reliability": figures_model.reliability_figures(run),
        "training": [figures_model.training_figure(run)],
    }
    for figure in figures_of[which]:
        assert figure is not None
        check_figure(figure)


def test_without_images_picks_are_listed_and_the_page_says_why(tmp_path: Path) -> None:
    text = _write([_view(tmp_path / "run")], tmp_path / "report", images=False)
    assert not _picks(text)["images"] and "<li><img" not in text
    assert "Pictures are left out" in text and "patient0" in text


def test_an_open_round_is_shown(tmp_path: Path) -> None:
    run = _view(tmp_path / "run", committed=2)
    assert [r.round is not None for r in run.rounds] == [True, True, False]
    assert run.rounds[2].picks[0].label is None
    text = _write([run], tmp_path / "report")
    assert "one waiting for labels" in text and "open: waits for labels" in text
    assert {item["class"] for item in _picks(text)["items"] if item["round"] == 2} == {"no answer yet"}


def test_the_rounds_say_how_their_query_used_its_score(tmp_path: Path) -> None:
    run = _view(tmp_path / "run")
    plain = _write([run], tmp_path / "plain")
    assert "query/mean_rank" not in plain
    numbers = {"query/mean_rank": 0.8125, "query/distance_to_labeled": 1.4375}
    last = run.rounds[-1]
    assert last.round is not None
    row = dataclasses.replace(last.round, metrics={**last.round.metrics, **numbers})
    rounds = (*run.rounds[:-1], dataclasses.replace(last, round=row))
    text = _write([dataclasses.replace(run, rounds=rounds)], tmp_path / "report")
    table = text[text.index("All numbers") :]
    table = table[: table.index("</table>")]
    assert "1 as if at random" in table and "<td>0.812</td>" in table and "<td>1.438</td>" in table
    assert all(f'<th scope="row">{name}</th>' in table for name in numbers)


def test_the_page_says_how_people_took_proposals(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", budgets=(20, 20))
    tracker = JsonlTracker(run / "metrics.jsonl")
    tracker.log({"people/accepted": 0.75, "people/edited": 0.25, "people/seconds": 6.5}, stage="query", round=1)
    tracker.close()
    page = write_report([RunView.read(run)], tmp_path / "out").read_text(encoding="utf-8")
    row = '<th scope="row">1</th><td data-name="accepted">0.75</td><td data-name="edited">0.25</td>'
    assert f'{row}<td data-name="discarded">–</td><td data-name="seconds">6.5</td>' in page
    other = write_report([RunView.read(fake_run(tmp_path / "other"))], tmp_path / "out2").read_text(encoding="utf-8")
    assert "How people answered" not in other and "How far the readers agree" not in other


def test_the_page_says_how_far_readers_agree_beside_the_model(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", budgets=(20, 20))
    name = RunView.read(run).classes[0]
    tracker = JsonlTracker(run / "metrics.jsonl")
    values = {"people/double": 20.0, "people/differ": 0.1, "people/kappa": 0.8, "people/model_kappa": 0.7}
    tracker.log({**values, f"people/kappa/{name}": 0.75}, stage="query", round=1)
    tracker.close()
    page = write_report([RunView.read(run)], tmp_path / "out").read_text(encoding="utf-8")
    assert '<td data-name="differ">0.10</td><td data-name="all">0.80 | 0.70</td>' in page
    assert f'<td data-name="{name}">0.75 | –</td>' in page and "How people answered" not in page


def test_numbers_that_are_none_in_the_log_end_no_report(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", budgets=(20, 20))
    tracker = JsonlTracker(run / "metrics.jsonl")
    tracker.log({"query/seconds": 1.25, "query/passes": 146.0, "query/memory": float("nan")}, stage="query", round=0)
    tracker.log({"people/seconds": float("nan")}, stage="query", round=1)
    for step in range(150, 170, 10):
        tracker.log({"train/loss": float("nan"), "train/mask_rate": float("inf")}, stage="train", round=1, step=step)
    tracker.close()
    page = write_report([RunView.read(run)], tmp_path / "out").read_text(encoding="utf-8")
    assert '<td data-name="seconds">–</td>' in page
    assert '<td data-name="samples through the model">146</td><td data-name="MiB">–</td>' in page
    assert not re.findall(r"[:,\[](NaN|Infinity)", page)


@pytest.mark.slow
def test_ten_thousand_picks_fit_on_a_page(tmp_path: Path) -> None:
    run = RunView.read(fake_run(tmp_path / "run", pool=12_000, budgets=(10_000,)))
    picture, began = thumbnail(0), time.perf_counter()
    file = write_report([run], tmp_path / "out", pictures=[Pictures(lambda i, _: picture)])
    assert time.perf_counter() - began < 10 and file.stat().st_size < 8_000_000
    assert "The first 3000 of 10000 picks are listed" in file.read_text(encoding="utf-8")


def test_a_run_that_has_only_asked(tmp_path: Path) -> None:
    text = _write([_view(tmp_path / "run", committed=0)], tmp_path / "report")
    assert "No round has been evaluated yet" in text
    assert "No model has been trained yet" in text and "Nobody has answered yet" in text


def test_seeds_are_averaged_and_methods_compared(tmp_path: Path) -> None:
    runs = [_view(tmp_path / f"{q}{s}", strategy=q, seed=s) for q in ("hybrid", "random") for s in (1, 0)]
    groups = group_runs(runs)
    assert {label: [r.seed for r in members] for label, members in groups.items()} == {
        "typiclust+hybrid": [0, 1],
        "typiclust+random": [0, 1],
    }
    curve = figures.aggregate(groups["typiclust+hybrid"], "test/auroc")
    values = [[r.metrics["test/auroc"] for r in run.committed] for run in runs[:2]]
    assert curve is not None
    assert curve.labels.tolist() == [19, 38, 57, 96]
    np.testing.assert_allclose(curve.mean, np.mean(values, axis=0))
    np.testing.assert_allclose(curve.spread, np.std(values, axis=0, ddof=1))
    text = _write(runs, tmp_path / "report")
    assert "Comparison of 2 methods" in text
    areas = [aubc([19, 38, 57, 96], v) for v in values]
    assert f"{np.mean(areas):.3f} ± {np.std(areas, ddof=1):.3f}" in text
    assert f"{curve.mean[-1]:.3f} ± {curve.spread[-1]:.3f}" in text
    ids = _Page(text).attributes("id")
    assert len(set(ids)) == len(ids)


def test_other_hyper_parameters_are_another_method(tmp_path: Path) -> None:
    run = _view(tmp_path / "run")
    variation = dataclasses.replace(run, recipe={**run.recipe, "query": {"name": "hybrid", "shortlist": 9}})
    assert list(group_runs([run, variation])) == ["chest-xray #1", "chest-xray #2"]
    assert list(group_runs([run, dataclasses.replace(run, seed=5)])) == ["chest-xray"]


def test_aggregate_of_unlike_label_counts_stays_in_the_common_range(tmp_path: Path) -> None:
    long = _view(tmp_path / "long")
    short = _view(tmp_path / "short", budgets=(30, 30))
    curve = figures.aggregate([long, short], "test/auroc")
    assert curve is not None
    assert curve.labels.tolist() == [29, 38, 57, 58]
    assert figures.aggregate([long], "test/nothing") is None


def test_a_method_of_one_round_is_a_level_across(tmp_path: Path) -> None:
    groups = {"rounds": [_view(tmp_path / "run")], "all at once": [_view(tmp_path / "full", budgets=(300,))]}
    figure = figures.curve_figure(groups, ("test/auroc",))
    assert figure is not None
    level = figure.data[-1]
    assert level["name"] == "all at once: 299 labels at once" and level["x"] == [19.0, 96.0]
    check_figure(figure)


def test_curve_csv(tmp_path: Path) -> None:
    run = _view(tmp_path / "run", seed=4)
    rows = list(csv.DictReader(io.StringIO(curve_csv([run]))))
    assert [r["round"] for r in rows] == ["0", "1", "2", "3"]
    assert [r["labels"] for r in rows] == ["19", "38", "57", "96"]
    assert [r["cost"] for r in rows] == ["20", "40", "60", "100"]
    assert {(r["name"], r["strategy"], r["objective"], r["learner"], r["seed"]) for r in rows} == {
        ("chest-xray", "typiclust+hybrid", "fixmatch", "finetune", "4")
    }
    assert [float(r["test/auroc"]) for r in rows] == [r.metrics["test/auroc"] for r in run.committed]
    _write([run], tmp_path / "report")
    assert (tmp_path / "report" / "curve.csv").read_text() == curve_csv([run])


def test_class_balance_counts_the_answers(tmp_path: Path) -> None:
    run = _view(tmp_path / "run", budgets=(20, 20))
    figure = figures.balance_figure(run)
    assert figure is not None
    assert [sum(column) for column in zip(*(cast("list[int]", t["y"]) for t in figure.data), strict=True)] == [20, 20]
    by_name = {trace["name"]: trace["y"] for trace in figure.data}
    assert by_name["skipped"] == [1, 1]


def test_class_balance_of_several_classes_a_sample(tmp_path: Path) -> None:
    run = _view(tmp_path / "run", budgets=(2,))
    first, second = (p.index for p in run.rounds[0].picks)
    labels = LabelStore(
        300, (Annotation(first, "classes", (0, 2), "a", 0), Annotation(second, "mask", "m.png", "a", 0))
    )
    figure = figures.balance_figure(dataclasses.replace(run, labels=labels))
    assert figure is not None
    assert {t["name"]: t["y"] for t in figure.data} == {"atelectasis": [1], "effusion": [1], "mask": [1]}


def test_many_classes_are_folded(tmp_path: Path) -> None:
    run = _view(tmp_path / "run", budgets=(40,))
    picks = [p.index for p in run.rounds[0].picks]
    labels = LabelStore(300, tuple(Annotation(i, "class", k % 30, "a", 0) for k, i in enumerate(picks)))
    figure = figures.balance_figure(dataclasses.replace(run, labels=labels))
    assert figure is not None
    assert len(figure.data) == figures.MOST_CLASSES
    assert sum(sum(cast("list[int]", trace["y"])) for trace in figure.data) == 40


def test_influence_is_the_percentile_of_the_picks(tmp_path: Path) -> None:
    r = _view(tmp_path / "run").rounds[1]
    assert r.scores is not None
    share = [np.mean(r.scores.values < v) for v in r.scores.values[np.isin(r.scores.indices, r.units)]]
    assert figures.influence(r)["score"] == pytest.approx(100 * (np.mean(share) + 0.5 / len(r.scores.values)))


def test_map_shows_all_next_picks_and_bounds_the_rest(tmp_path: Path) -> None:
    run = _view(tmp_path / "run", pool=6000)
    for figure in figures_model.map_figures(run):
        pool, picks = (t for t in figure.data if t["meta"] == "after fit 0, picks of round 1")
        assert isinstance(pool["x"], list)
        assert isinstance(picks["x"], list)
        assert len(picks["x"]) == 20
        assert 1000 < len(pool["x"]) <= figures_model.MOST_POINTS
        assert figure.choices[0].name == "after fit 2, picks of round 3"


def test_training_lines_and_values_per_round_do_not_mix(tmp_path: Path) -> None:
    figure = figures_model.training_figure(_view(tmp_path / "run"))
    assert figure is not None
    assert figure.choices[0].name == "train/loss"
    assert {c.name: c.x for c in figure.choices}["train/loss"] == "step"
    assert {c.name: c.x for c in figure.choices}["train/seconds"] == "round"
    assert sum(trace["meta"] == "train/loss" for trace in figure.data) == 4
    assert sum(trace["meta"] == "train/seconds" for trace in figure.data) == 1


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one run"):
        write_report([], tmp_path)
    run = _view(tmp_path / "run")
    with pytest.raises(InputError, match="pictures"):
        write_report([run], tmp_path, pictures=[Pictures(), Pictures()])
    (tmp_path / "file").write_text("")
    with pytest.raises(HybridALError, match=r"no folder can be made here .* -o FOLDER"):
        write_report([run], tmp_path / "file" / "report")
    with pytest.raises(InputError, match=r"run\.json"):
        RunView.read(tmp_path)


def test_a_single_structure_is_not_told_twice() -> None:
    one = ("test/dice", "test/hd95", "test/dice/nucleus", "test/hd95/nucleus", "val/dice", "val/dice/nucleus")
    assert once(one) == ("test/dice", "test/hd95", "val/dice")
    two = ("test/dice", "test/dice/front", "test/dice/back")
    assert once(two) == two
    assert once(("test/auroc/melanoma", "train/loss")) == ("test/auroc/melanoma", "train/loss")  # no mean stands for it


def test_what_masks_are_judged_by_comes_before_how_honest_their_pixels_are() -> None:
    names = {"test/brier", "test/hd95", "val/dice", "cost/pixels", "test/dice"}
    assert sort_metrics(names) == ("test/dice", "test/hd95", "test/brier", "val/dice", "cost/pixels")
