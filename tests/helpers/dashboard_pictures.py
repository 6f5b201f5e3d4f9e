"""Draws the panels of each dashboard from the offline files of W&B alone, as PNG at two widths, for docs/tracking.md.

As a script it plays a few small runs and a bench first: python tests/helpers/dashboard_pictures.py DOCS
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hybrid_al.bench.board import board_of
from hybrid_al.report.boards import Board, Panel, boards_of
from hybrid_al.track.wandb_files import records
from tests.helpers.command import call

WIDTHS = {"": 1400, "-narrow": 420}
COLOURS = ("#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6")
DATA = {
    "source": "phantom", "n_pool": 90, "n_val": 20, "n_test": 60, "size": 16, "image_size": 16, "classes": 3,
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "name": "cells", "task": "classification", "encoder": {"name": "test_resnet"}, "data": DATA,
    "pretrain": {"name": "simclr", "epochs": 6, "batch": 32}, "cold_start": "stratified", "query": "hybrid",
    "train": {"name": "mean_teacher", "steps": 40, "min_steps": 40, "batch": 8}, "loop": {"budgets": [9, 9, 9, 9]},
    "track": {"wandb": {"mode": "offline", "log_images": True}},
}  # fmt: skip
BENCH: dict[str, Any] = {
    **RECIPE, "name": "small", "learner": "frozen", "pretrain": "none",
    "bench": {"recipe": False, "strategies": ["random", "typiclust+entropy"], "seeds": 4, "encoders": 1},
}  # fmt: skip
AXES = {"reliability": "confidence", "confusion": "predicted", "curves": "labels"}
STYLE = """body{font:14px sans-serif;margin:16px;background:#fff}h1{font-size:20px}h2{font-size:16px;margin:16px 0 4px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:8px}
.panel{border:1px solid #ddd;border-radius:4px;padding:4px;overflow:hidden;height:236px}
.panel h3{font-size:13px;margin:2px}
table{border-collapse:collapse;font-size:11px;white-space:nowrap}td,th{padding:1px 6px;border-bottom:1px solid #eee}
img{height:48px;margin:2px;image-rendering:pixelated}"""


@dataclass(frozen=True)
class Offline:
    """What one offline run holds: group, rows of its history, its summary, and the folder of its media."""

    group: str
    rows: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]
    files: Path

    @classmethod
    def read(cls, file: Path) -> Offline:
        """The run in a .wandb file."""
        rows, summary, group = list[Mapping[str, Any]](), dict[str, Any](), ""
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                group = record.run.run_group
            items = {"history": record.history.item, "summary": record.summary.update}.get(kind, ())
            values = _nested([(i.key or "\x1f".join(i.nested_key), json.loads(i.value_json)) for i in items])
            if kind == "history":
                rows.append(values)
            summary |= values
        return cls(group, tuple(rows), summary, file.parent / "files")

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows of the last table of a name."""
        plain = json.loads((self.files / self.summary[name]["path"]).read_text(encoding="utf-8"))
        return plain["columns"], plain["data"]

    def line(self, name: str, axis: str) -> tuple[list[float], list[float]]:
        """Axis and values of a name."""
        points = sorted((row[axis], row[name]) for row in self.rows if name in row and axis in row)
        return [x for x, _ in points], [y for _, y in points]


def _nested(items: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Items of media, whose keys have parts, as mappings by their name."""
    values: dict[str, Any] = {}
    for key, value in items:
        name, part, field = key.rpartition("\x1f")
        if part:
            values.setdefault(name.replace("\x1f", "/"), {})[field] = value
        else:
            values[key] = value
    return values


def page(board: Board, runs: Sequence[Offline]) -> str:
    """All panels of a board as one page that loads nothing."""
    import plotly.offline as plotly

    parts = [f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><script>{plotly.get_plotlyjs()}</script>"]
    parts.append(f"<h1>{board.title}</h1>")
    for title, panels in board.sections.items():
        parts.append(f"<h2>{title}</h2><div class=grid>")
        parts += [f"<div class=panel><h3>{p.title}</h3>{_draw(p, runs, board.grouped)}</div>" for p in panels]
        parts.append("</div>")
    return "".join(parts)


def _draw(panel: Panel, runs: Sequence[Offline], grouped: bool) -> str:
    first = panel.names[0]
    if panel.kind == "table":
        columns, rows = runs[0].table(first)
        return _table(columns, rows[:9])
    if panel.kind == "images":
        names = runs[0].summary[first]["filenames"]
        return "".join(f'<img src="{(runs[0].files / name).as_uri()}">' for name in names)
    if first.startswith("histogram/"):
        return _figure(_histograms(runs[0], first), "")
    if panel.kind == "bar":
        names = [name for name in panel.names if name in runs[0].summary]
        values = [runs[0].summary[name] for name in names]
        return _figure([{"type": "bar", "orientation": "h", "y": names, "x": values}], "")
    if panel.kind != "line":
        return _figure(
            _chart(panel.kind, *runs[0].table(first)),
            AXES.get(panel.kind, ""),
        )
    groups = defaultdict(list)
    for run in runs:
        groups[run.group if grouped else ""].append(run)
    traces: list[dict[str, Any]] = []
    for k, (name, group, members) in enumerate((n, g, m) for g, m in groups.items() for n in panel.names):
        lines = [line for line in (run.line(name, panel.x) for run in members) if line[0]]
        short = group.split(" ", 1)[-1].split(" ")[0]
        traces += _band(lines, f"{short} {name if len(panel.names) > 1 else ''}" if grouped else name, COLOURS[k % 6])
    return _figure(traces, panel.x)


def _band(lines: Sequence[tuple[list[float], list[float]]], name: str, colour: str) -> list[dict[str, Any]]:
    """Mean of the lines, and one standard deviation around it where there are several."""
    if not lines:
        return []
    at = defaultdict(list)
    for xs, ys in lines:
        for x, y in zip(xs, ys, strict=True):
            at[x].append(y)
    xs = sorted(at)
    mean, spread = ([float(f(at[x])) for x in xs] for f in (np.mean, np.std))
    line = {"x": xs, "y": mean, "name": name, "mode": "lines+markers", "line": {"color": colour}}
    if len(lines) == 1:
        return [line]
    limits = [m + s for m, s in zip(mean, spread, strict=True)] + [
        m - s for m, s in zip(mean[::-1], spread[::-1], strict=True)
    ]
    band = {"x": xs + xs[::-1], "y": limits, "fill": "toself", "line": {"width": 0}, "opacity": 0.3}
    return [{**band, "fillcolor": colour, "showlegend": False, "mode": "lines"}, line]


def _histograms(run: Offline, name: str) -> list[dict[str, Any]]:
    last = [row[name] for row in run.rows if name in row][-1]
    edges, counts = np.asarray(last["bins"]), last["values"]
    return [{"type": "bar", "x": ((edges[1:] + edges[:-1]) / 2).tolist(), "y": counts}]


def _chart(kind: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    cells = {name: [row[k] for row in rows] for k, name in enumerate(columns)}
    if kind == "confusion":
        return [
            {
                "type": "heatmap",
                "x": cells["predicted"],
                "y": cells["true"],
                "z": cells["samples"],
                "colorscale": "Blues",
            }
        ]
    x, y, part = {
        "points": ("x", "y", "state"), "reliability": ("confidence", "accuracy", "round"),
        "curves": ("labels", "mean", "arm"),
    }[kind]  # fmt: skip
    return [
        {
            "x": [v for v, g in zip(cells[x], cells[part], strict=True) if g == value],
            "y": [v for v, g in zip(cells[y], cells[part], strict=True) if g == value],
            "mode": "markers" if kind == "points" else "lines+markers", "name": str(value),
        }
        for value in dict.fromkeys(cells[part])
    ]  # fmt: skip


def _figure(traces: Sequence[Mapping[str, Any]], axis: str) -> str:
    import plotly.graph_objects as go

    figure: Any = go.Figure(list(traces))
    named = sum("name" in trace for trace in traces)
    top = 6 + 13 * -(-named // 2) if named > 1 else 6
    figure.update_layout(
        height=205, margin={"l": 40, "r": 8, "t": top, "b": 34}, template="plotly_white", xaxis_title=axis,
        font={"size": 10}, yaxis={"automargin": True},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1, "entrywidth": 150, "font": {"size": 9}},
    )  # fmt: skip
    html: str = figure.to_html(full_html=False, include_plotlyjs=False, config={"staticPlot": True, "responsive": True})
    return html


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    keep = [k for k, name in enumerate(columns) if name not in ("image",)]
    lines = "".join("<tr>" + "".join(f"<td>{_cell(row[k])}</td>" for k in keep) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{columns[k]}</th>" for k in keep) + f"</tr>{lines}</table>"


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)


def take(html: Path, out: Path) -> None:
    """Screenshots of a page, at each width, in few colours."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for ending, width in WIDTHS.items():
            window = browser.new_page(viewport={"width": width, "height": 900})
            window.goto(html.as_uri())
            window.wait_for_timeout(500)
            picture = Image.open(io.BytesIO(window.screenshot(full_page=not ending)))
            picture.convert("RGB").quantize(24).save(out.with_stem(out.stem + ending), optimize=True)
        browser.close()


def main(docs: Path) -> None:
    """Play, draw, take."""
    with tempfile.TemporaryDirectory() as folder:
        work, boards = Path(folder), list[tuple[str, Board, list[Offline]]]()
        recipe, bench = work / "cells.yaml", work / "small.yaml"
        recipe.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
        bench.write_text(yaml.safe_dump(BENCH), encoding="utf-8")
        for query in ("hybrid", "random"):
            for seed in range(3):
                run = work / "runs" / f"{query}-s{seed}"
                assert call("run", recipe, f"query={query}", f"seed={seed}", "--run-dir", run, "--quiet") == 0
        assert call("bench", bench, "--run-dir", work / "bench", "--quiet") == 0
        runs = [Offline.read(file) for file in sorted(work.glob("runs/*/wandb/*/*.wandb"))]
        one, several = boards_of(work / "runs" / "hybrid-s0")
        (numbers,) = (Offline.read(file) for file in work.glob("bench/small/wandb/*/*.wandb"))
        boards = [
            ("run", one, runs[:1]),
            ("recipe", several, runs),
            ("bench", board_of(work / "bench" / "small"), [numbers]),
        ]
        for name, board, members in boards:
            html = work / f"{name}.html"
            html.write_text(page(board, members), encoding="utf-8")
            take(html, docs / f"dashboard-{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
