"""Golden runs end as they did when their files were written; see `golden.py`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.golden.golden import DATA, HERE, REAL, RUNS, machine, play

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", RUNS)
def test_a_run_ends_to_the_bit_as_it_did(name: str, tmp_path: Path) -> None:
    kept = json.loads((HERE / f"{name}.json").read_text())
    if not DATA.is_dir() and name.partition("-")[0] in REAL:
        pytest.skip(f"no {DATA}")
    if os.environ.get("OMP_NUM_THREADS") != "1":
        pytest.skip("last bits are those of one thread: OMP_NUM_THREADS=1 (make slow)")
    if kept["machine"] != machine():
        pytest.skip(f"written on {kept['machine']}, last bits may differ on {machine()}")

    assert json.loads(json.dumps(play(name, tmp_path))) == kept["rounds"]
