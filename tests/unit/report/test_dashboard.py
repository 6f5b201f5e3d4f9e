"""Dashboards: panels of names that there are, files that wandb-workspaces takes, a push that a server took."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hybrid_al.bench.board import board_of, is_bench
from hybrid_al.errors import HybridALError, InputError
from hybrid_al.report import dashboard
from hybrid_al.report.boards import OF_RECIPE, PANELS, Board, bench_board, boards_of
from hybrid_al.report.dashboard import push, sync, write
from hybrid_al.track.base import BenchNumbers
from hybrid_al.track.names import BENCH, NAMES, SECTIONS, name_of
from hybrid_al.track.wandb import Wandb
from tests.helpers.command import call
from tests.helpers.fake_run import fake_run
from tests.helpers.wandb_stand_in import stand_in
from tests.unit.bench.test_bench_page import USUAL

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb-workspaces on pydantic 2

EVIL = ('<b>"a"</b>', "x'y", "effusion", "nodule", "no finding")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run(tmp_path_factory.mktemp("run") / "r", classes=EVIL)


@pytest.fixture
def logged_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def names_of(board: Board) -> list[str]:
    return [name for panels in board.sections.values() for panel in panels for name in panel.names]


def test_panels_and_names_are_those_of_the_table() -> None:
    drawn = {name for panels in PANELS.values() for panel in panels for name in panel.names}
    assert drawn == set(NAMES), "a name was changed or added: hybrid_al/report/boards.py has the panels"
    assert list(PANELS) == list(SECTIONS)
    for section, panels in PANELS.items():
        for panel in panels:
            assert any(NAMES[name].section == section for name in panel.names), panel
            if panel.kind == "line" and not panel.names[0].startswith("histogram/"):
                assert {NAMES[name].axis for name in panel.names} <= {
                    panel.x,
                    "labels" if panel.x == "round" else "",
                }, panel


def test_a_run_has_the_panels_that_it_logged(run: Path) -> None:
    one, several = boards_of(run)
    assert one.runs["ID"].startswith("chest-xray-s0-") and several.runs == {"recipe": "chest-xray"}
    names = names_of(one)
    assert {"stage0/loss", "train/loss", "test/auroc", "table/picks", "histogram/score"} <= {*names, "test/auroc"}
    assert all(name_of(name) for name in names)
    assert "images/picks" not in names  # the recipe lets none out
    assert set(several.sections) <= set(OF_RECIPE) and several.grouped
    assert all(len(panel.names) == 1 for panels in several.sections.values() for panel in panels)
    assert not [name for name in names_of(several) if name.startswith(("table/", "histogram/", "images/"))]


def test_a_name_that_an_objective_does_not_log_has_no_panel(run: Path, tmp_path: Path) -> None:
    assert "train/mask_rate" in names_of(boards_of(run)[0])
    other = fake_run(tmp_path / "r", budgets=(20,))
    log = (other / "metrics.jsonl").read_text().replace("train/mask_rate", "train/loss")
    (other / "metrics.jsonl").write_text(log)
    assert "train/mask_rate" not in names_of(boards_of(other)[0])


def test_a_run_without_a_round_has_the_panels_of_all(tmp_path: Path) -> None:
    board, _ = boards_of(fake_run(tmp_path / "r", committed=0))
    names = names_of(board)
    assert {"stage0/loss", "train/loss", "table/picks"} <= set(names)
    assert "train/mask_rate" not in names and not [name for name in names if "<" in name]


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("dashboard", tmp_path) == 2
    assert capsys.readouterr().err == f"{tmp_path}: expected a run directory, got no run.json there\n"


def panels_of(spec: Any) -> list[dict[str, Any]]:
    """All panels below a view."""
    if isinstance(spec, dict):
        own = [spec] if "viewType" in spec else []
        return own + [panel for value in spec.values() for panel in panels_of(value)]
    return [panel for value in spec for panel in panels_of(value)] if isinstance(spec, list) else []


def test_the_file_is_what_wandb_workspaces_takes(run: Path, tmp_path: Path) -> None:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2.internal import ReportViewspec
    from wandb_workspaces.workspaces.internal import View

    assert call("dashboard", run, "-o", tmp_path / "d.json") == 0
    plain = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert str(run.parent) not in (tmp_path / "d.json").read_text(encoding="utf-8")
    for view, board in zip(plain["workspaces"], boards_of(run), strict=True):
        space = ws.Workspace._from_model(View.model_validate(view))
        assert [section.name for section in space.sections] == list(board.sections)
        lines = [p for p in panels_of(view) if p["viewType"] == "Run History Line Plot"]
        drawn = {metric for panel in lines for metric in panel["config"]["metrics"]}
        assert drawn == {n for panels in board.sections.values() for p in panels if p.kind == "line" for n in p.names}
        assert all(("aggregate" in p["config"]) == board.grouped for p in lines)
        runs = view["spec"]["section"]["runSets"][0]
        (key,) = runs["filters"]["filters"]
        assert key["key"] == (
            {"section": "config", "name": "recipe"} if board.grouped else {"section": "run", "name": "name"}
        )
        assert [g["name"] for g in runs["grouping"]] == ["group"] * board.grouped
    for view in plain["reports"]:
        page = wr.Report._from_model(ReportViewspec.model_validate(view))
        assert page.project == "hybrid-al" and len(page.blocks) > 4


def test_a_bench_has_its_areas_curves_and_tables(tmp_path: Path) -> None:
    from hybrid_al.bench.results import COLUMNS

    folder = tmp_path / "small"
    folder.mkdir()
    rows = [",".join(COLUMNS)]
    for (arm, seed), cells in USUAL.cells.items():
        for row in cells:
            parts = (arm.strategy, arm.objective, arm.learner, seed, row.round, row.labels, row.metric, row.value)
            rows.append(",".join(map(str, parts)))
    (folder / "v.csv").write_text("\n".join(rows) + "\n")
    (folder / "tables.md").write_text(
        "### How to read it\n\nwords\n\n### v: AUBC / log2\n\na note\n\n| arm |\n| --- |\n"
    )
    assert is_bench(folder) and not is_bench(tmp_path)
    board = board_of(folder)
    names = names_of(board)
    assert {"v/entropy/aubc", "v/entropy/aubc_minus_random", "curves", "tables/v-AUBC-log2"} <= set(names)
    assert "tables/How-to-read-it" not in names  # it has no rows, so trackers do not get it
    endings = {name.rpartition("/")[2] for name in names if name.startswith("v/")}
    assert endings <= {entry.rpartition("/")[2] for entry in BENCH}
    assert (board.project, board.entity, board.runs["Name"]) == ("hybrid-al", "", "small")
    Wandb(mode="offline", project="smears", entity="lab").log_bench(folder, BenchNumbers("blood", "0" * 9))
    other = board_of(folder)
    assert (other.project, other.entity, other.runs["Name"]) == ("smears", "lab", "blood")
    write([board], tmp_path / "d.json")
    (view,) = json.loads((tmp_path / "d.json").read_text())["workspaces"]
    assert len(panels_of(view)) == sum(map(len, board.sections.values()))
    (folder / "v.csv").write_text(rows[0] + "\n")
    with pytest.raises(InputError, match="a bench with a finished cell"):
        board_of(folder)


def test_an_empty_bench_board_has_curves_alone() -> None:
    assert list(bench_board("b", [], [], project="p").sections) == ["Curves"]


def test_a_missing_package_names_its_extra(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"dashboard: expected its package \(pip install 'hybrid-al\[dashboard\]'\)"):
        write(boards_of(run), tmp_path / "d.json")


def test_nobody_logged_in_is_one_line(
    run: Path, tmp_path: Path, logged_out: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "wandb" / "offline-run-1-x").mkdir(parents=True, exist_ok=True)
    for option in ("--push", "--sync"):
        assert call("dashboard", run, "-o", tmp_path / "d.json", option) == 2
        error = capsys.readouterr().err
        assert error.startswith("dashboard --push: expected a login") and error.count("\n") == 1


def test_nothing_to_send_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="files of an offline run to send"):
        sync(tmp_path)


@pytest.mark.slow
def test_a_push_replaces_what_an_earlier_one_sent(
    run: Path, tmp_path: Path, logged_out: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards, file = boards_of(run), tmp_path / "d.json"
    with stand_in() as (address, views):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        for _ in range(2):
            write(boards, file)
            urls = push(boards, file)
    assert [view["type"] for view in views] == ["project-view", "runs"] * 4
    assert {view["entityName"] for view in views} == {"team"}
    first, again = views[:4], views[4:]
    assert [view["id"] for view in again] == ["view1", "view2", "view3", "view4"]
    assert [v["name"] for v in first if v["type"] == "project-view"] == [
        v["name"] for v in again if v["type"] == "project-view"
    ]
    assert len(urls) == 4 and all(url.startswith(f"{address}/team/hybrid-al") for url in urls)


def test_a_project_that_is_not_there_is_one_line(
    run: Path, tmp_path: Path, logged_out: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards, file = boards_of(run), tmp_path / "d.json"
    write(boards, file)
    with stand_in(projects=()) as (address, _):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        with pytest.raises(HybridALError, match=r"dashboard: team/hybrid-al could not be written on the server: .+"):
            push(boards, file)


def test_a_sync_that_fails_says_why(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "wandb" / "offline-run-1-x").mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(dashboard, "_entity", lambda: "team")
    text = "wandb: ERROR the disk of the server is full\nwandb: ERROR Find detailed error logs at: /x\n"
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout="", stderr=text))
    with pytest.raises(HybridALError, match=r"dashboard --sync: wandb: ERROR the disk of the server is full$"):
        sync(run)


def test_a_sync_sends_all_that_days_offline_left_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"offline-run-2026010{day}_120000-x" for day in (3, 1, 2)]
    for name in names:
        (tmp_path / "wandb" / name).mkdir(parents=True)
    commands = list[list[str]]()

    def sent(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="", stderr="")

    monkeypatch.setattr(dashboard, "_entity", lambda: "team")
    monkeypatch.setattr(subprocess, "run", sent)
    sync(tmp_path)
    (command,) = commands
    assert command[-4:] == ["sync", *(str(tmp_path / "wandb" / name) for name in sorted(names))]
