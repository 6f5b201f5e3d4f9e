"""Dashboards for W&B: workspaces and reports of `boards`, as files beside a run, or pushed to its server.

The only module that imports wandb_workspaces. A file holds what the server would get, by that package's own models.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.files import write_json
from ..errors import HybridALError, InputError
from ..track.base import need_package
from .boards import Board, Panel

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

LOGIN = "a login to a server that is there (wandb login, or WANDB_API_KEY)"


def write(boards: Sequence[Board], file: Path) -> Path:
    """Write the boards as JSON, beside the ids that an earlier push gave them."""
    before = _read(file)
    plain = {
        "workspaces": [_view(workspace(board, board.entity)) for board in boards],
        "reports": [_view(report(board, board.entity)) for board in boards],
        "pushed": before.get("pushed", {}),
    }
    write_json(file, plain)
    return file


def push(boards: Sequence[Board], file: Path) -> list[str]:
    """Send the boards of a written file to the server, in the place of those of an earlier push; their addresses.

    Errors: nobody is logged in, no such team or project, no server.
    """
    entity, plain, addresses = _entity(), _read(file), []
    pushed: dict[str, Any] = dict(plain.get("pushed", {}))
    try:
        for board in boards:
            space, page = workspace(board, board.entity or entity), report(board, board.entity or entity)
            known = pushed.get(board.title, {})
            space._internal_name, space._internal_id = known.get("name", ""), known.get("id", "")
            page.id = known.get("report", "")
            space.save()
            page.save()
            pushed[board.title] = {"name": space._internal_name, "id": space._internal_id, "report": page.id}
            addresses += [space.url, page.url]
    except Exception as error:  # noqa: BLE001 (wandb raises its own errors, those of HTTP, and ValueError)
        where = f"{boards[0].entity or entity}/{boards[0].project}"
        raise HybridALError(f"dashboard: {where} could not be written on the server: {_line(error)}") from None
    write_json(file, {**plain, "pushed": pushed})
    return addresses


def _entity() -> str:
    """The team of whoever is logged in; error where nobody is."""
    _check()
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    import wandb

    try:
        return wandb.Api(timeout=30).default_entity or ""
    except Exception as error:  # noqa: BLE001 (wandb raises its own errors, and those of HTTP)
        raise InputError("dashboard --push", LOGIN, _line(error)) from None


def sync(folder: Path) -> None:
    """Send what a run or a bench wrote offline; error where the server does not take it."""
    parts = sorted(map(str, folder.glob("wandb/offline-run-*")))
    if not parts:
        raise InputError(folder, "files of an offline run to send (track.wandb.mode: offline)", "none")
    _entity()
    command = [sys.executable, "-m", "wandb", "sync", *parts]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (process.stdout + process.stderr).splitlines()
    failures = [line for line in lines if "ERROR" in line and "error logs at" not in line]
    if process.returncode or failures:
        raise HybridALError(
            f"dashboard --sync: {' '.join((failures or lines[-1:] or ['wandb sync failed'])[0].split())}"
        )


def workspace(board: Board, entity: str) -> ws.Workspace:
    """The board as a workspace."""
    _check()
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Config, FilterExpr, Metric

    keys = {"ID", "JobType", "Name"}
    filters: list[FilterExpr] = [(Metric(k) if k in keys else Config(k)) == v for k, v in board.runs.items()]
    sections = [
        ws.Section(name=title, panels=[_panel(p, board.grouped) for p in panels], is_open=True)
        for title, panels in board.sections.items()
    ]
    return ws.Workspace(
        entity=entity,
        project=board.project,
        name=board.title,
        sections=sections,
        settings=ws.WorkspaceSettings(max_runs=100 if board.grouped else 10),
        runset_settings=ws.RunsetSettings(filters=filters, groupby=[Metric("Group")] if board.grouped else []),
    )


def report(board: Board, entity: str) -> wr.Report:
    """The board as a report: its sections with headings, the same panels."""
    _check()
    import wandb_workspaces.reports.v2 as wr

    quoted = [(f"config.{k}" if k not in ("ID", "JobType", "Name") else k, v) for k, v in board.runs.items()]
    runs = " and ".join(f"{_filter(key)} == {json.dumps(value)}" for key, value in quoted)
    blocks: list[Any] = [wr.P(board.about)]
    for title, panels in board.sections.items():
        runset = wr.Runset(filters=runs, groupby=["Group"] * board.grouped)  # of the report's own project
        blocks += [wr.H1(title), wr.PanelGrid(runsets=[runset], panels=[_panel(p, board.grouped) for p in panels])]
    return wr.Report(project=board.project, entity=entity, title=board.title[:128], blocks=blocks)


def _filter(key: str) -> str:
    kind, dot, name = key.partition(".")
    return f"Config({json.dumps(name)})" if dot else f"Metric({json.dumps(kind)})"


def _panel(panel: Panel, grouped: bool) -> Any:
    import wandb_workspaces.reports.v2 as wr

    (first, *_), title = panel.names, panel.title
    if panel.kind == "line":
        band: dict[str, Any] = {"aggregate": True, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
        return wr.LinePlot(title=title, x=panel.x, y=list(panel.names), **(band if grouped else {}))
    if panel.kind == "bar":
        return wr.BarPlot(title=title, metrics=list(panel.names))
    if panel.kind == "images":
        return wr.MediaBrowser(title=title, media_keys=list(panel.names))
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=first, layout=wr.Layout(w=24, h=12))
    chart, fields = CHARTS[panel.kind]
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": first}}, chart_name=chart, chart_fields=fields,
        chart_strings={"title": title},
    )  # fmt: skip


CHARTS: Mapping[str, tuple[str, dict[str, str]]] = {
    "points": ("wandb/scatter/v0", {"x": "x", "y": "y", "color": "state"}),
    "reliability": ("wandb/line/v0", {"x": "confidence", "y": "accuracy", "stroke": "round"}),
    "confusion": ("wandb/confusion_matrix/v1", {"Actual": "true", "Predicted": "predicted", "nPredictions": "samples"}),
    "curves": ("wandb/line/v0", {"x": "labels", "y": "mean", "stroke": "arm"}),
}


def _view(item: ws.Workspace | wr.Report) -> dict[str, Any]:
    """What the server would get."""
    view: dict[str, Any] = json.loads(item._to_model().model_dump_json(by_alias=True, exclude_none=True))
    return view


def _check() -> None:
    need_package("dashboard", "wandb_workspaces", "dashboard")


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        plain: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(file, "a dashboard that hybrid-al wrote, or no file", "something else") from None
    return plain


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
