"""The committed study of stage 0: what PRETRAINING.md says is what the script makes of the committed CSV."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrain_methods", BENCHMARKS / "pretrain_methods.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_csv() -> None:
    page = (BENCHMARKS / "PRETRAINING.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- pretrain_methods -->\n\n(.*?)\n*<!-- end -->", page, re.DOTALL)
    assert found is not None
    lines = list(script().tables(BENCHMARKS / "pretrain_methods" / "results.csv"))
    assert found[1] == "\n".join(lines).rstrip()
