"""What `charts.js` can draw, so that a test in Python says where a figure asks for more."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hybrid_al.report import figures

FOLDER = Path(figures.__file__).parent
COLORS = set(re.findall(r"(--[a-z]+\d*):", (FOLDER / "page.css").read_text(encoding="utf-8")))
SYMBOLS = set(re.findall(r'^  "?([a-z-]+)"?: \(r\)', (FOLDER / "charts.js").read_text(encoding="utf-8"), re.MULTILINE))
LENGTHS = {"scatter": ("x", "y"), "bar": ("x", "y"), "box": ("x", "q1", "median", "q3", "lowerfence", "upperfence")}


def check_figure(figure: figures.Figure) -> None:
    """Assert that kinds of traces, marks and colours are known, axes as long as each other, and menus complete."""
    spec = json.loads(figure.to_json())
    assert set(re.findall(r'"(--[a-z]+\d*)(?:/[\d.]+)?"', figure.to_json())) <= COLORS
    assert {trace.get("meta") for trace in spec["data"]} - {None} <= {choice["name"] for choice in spec["choices"]}
    assert spec["choices"] and spec["layout"]["height"] > 0 and figure.alt
    for trace in spec["data"]:
        assert len({len(trace[key]) for key in LENGTHS[trace["type"]]}) == 1
        assert trace["type"] != "scatter" or set(trace["mode"].split("+")) <= {"lines", "markers"}
        assert trace.get("marker", {}).get("symbol", "circle").removesuffix("-open") in SYMBOLS
