"""Four processes that answer at once and are killed between any two writes lose, double and mix up nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_al.oracles.ledger import Ledger, collect
from hybrid_al.page.desk import Desk
from tests.helpers import writers
from tests.helpers.label_page import MadeUp, open_run


@pytest.mark.parametrize("count", [160, pytest.param(9100, marks=pytest.mark.slow)])
def test_every_answer_is_there_once_and_its_own(tmp_path: Path, count: int) -> None:
    run = open_run(tmp_path / "run", n=count, asked=count)
    deadly = 8 / count
    command = [sys.executable, "-m", "tests.helpers.writers", str(run.path), str(count), str(deadly)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout) > 3
    expected = [answer for w in range(writers.WRITERS) for answer in writers.answers_of(w, count)]
    entries = {e.id: e for e in Ledger(run).entries()}
    assert len(entries) == len(Ledger(run).entries()) == len(expected) and (count < 1000 or len(expected) >= 10_000)
    for answer in expected:
        entry = entries[answer["id"]]
        assert (entry.sample, entry.reader, [entry.text]) == (answer["sample"], answer["reader"], answer["classes"])
    last = {answer["sample"]: (answer["classes"][0], answer["reader"]) for answer in expected}
    collect(run)
    desk = Desk(run, reader=None, size=MadeUp().size)
    assert {sample: (s.text, s.reader) for sample, s in desk.standings(0).items()} == last
    assert all(s.taken for s in desk.standings(0).values())
