"""A bounded run of the breaker: the failures that were ever found, and some new inputs of each format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.breaker import outcome, run, table
from tests.fuzz.formats import FORMATS

COUNT, DEAR, SECONDS = 120, {"projects": 40, "flips": 25}, 240.0  # inputs of each format, and the time for all


@pytest.mark.slow
def test_no_input_ends_in_a_traceback_hangs_or_is_taken_in_silence() -> None:
    tallies = run([name for name in FORMATS if name not in DEAR], COUNT, seed=20, seconds=SECONDS, keep=None)
    for name, count in DEAR.items():
        tallies |= run([name], count, seed=20, seconds=SECONDS / 4, keep=None)
    failures = [line for tally in tallies.values() for line in tally.failures]
    assert not failures, "\n".join([table(tallies), *failures])
    assert sum(sum(tally.counts.values()) for tally in tallies.values()) > 2000


class _Bad:
    name = "bad"

    def play(self, file: Path) -> None:
        raise KeyError(file.name)


def test_the_breaker_tells_a_fault_from_an_answer(tmp_path: Path) -> None:
    assert outcome(_Bad(), tmp_path / "x")[0] == "traceback"  # type: ignore[arg-type]
    table = FORMATS["tables"](tmp_path / "seeds")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00")
    assert outcome(table, tmp_path / "t.csv")[0] == "refused"
