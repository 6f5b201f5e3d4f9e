"""What a run does at the moment: speed and time left, for this terminal and for others."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid_al.core import progress
from hybrid_al.core.progress import FILE, Activity, Pace, activity, current
from hybrid_al.core.rundir import RunDir
from hybrid_al.report import console
from hybrid_al.report.overview import standing
from tests.helpers.fake_run import fake_run


def test_the_pace_is_that_of_this_call_and_this_stage() -> None:
    now = iter([0.0, 10.0, 20.0, 30.0, 34.0])
    pace = Pace(clock=lambda: next(now))
    first = pace.activity(40, 100, "stage 0")  # 40 steps were done by an earlier call
    assert (first.pace, first.left) == (None, None)
    second, third = pace.activity(45, 100, "stage 0"), pace.activity(50, 100, "stage 0")
    assert (second.pace, second.left, third.left) == (2.0, 110.0, 100.0)
    other = pace.activity(0, 5, "round 0")
    assert other.pace is None
    assert pace.activity(1, 5, "round 1").pace == 4.0


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (Activity("reading images", 3, 9, 0.1, 0.6, 0), "reading images (3 of 9), 10 a second, 1 s left"),
        (Activity("round 1", 1, 4, 42.0, 126.0, 0), "round 1 (1 of 4), 42 s each, 2 min left"),
        (Activity("round 1", 1, 4, 1e4, 3e4, 0), "round 1 (1 of 4), 1e+04 s each, 8.3 h left"),
        (Activity("round 0", 0, 4, None, None, 0), "round 0 (0 of 4), time left not known yet"),
    ],
)
def test_it_is_said_in_a_line(now: Activity, line: str) -> None:
    assert now.line() == line


def test_the_file_is_written_once_a_second_and_gone_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(progress, "_write", lambda file, now: written.append(now.done))
    clock = iter(x / 10 for x in range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    (tmp_path / FILE).write_text("left by a call that was killed")
    with activity(tmp_path) as step:
        for done in range(100):
            step(done, 100, "s")
    assert len(written) == 10
    assert not (tmp_path / FILE).exists()


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError), activity(tmp_path) as step:
        step(1, 2, "s")
        assert json.loads((tmp_path / FILE).read_text())["done"] == 1
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_other_terminals_are_told(tmp_path: Path) -> None:
    path = fake_run(tmp_path / "r", budgets=(5, 5))
    assert current(path) is None
    code = (
        "import sys, time; from pathlib import Path\n"
        "from hybrid_al.core.progress import activity; from hybrid_al.core.rundir import RunDir\n"
        "run = RunDir(Path(sys.argv[1]))\n"
        "with run.lock(), activity(run.path) as step:\n"
        "    step(1, 4, 'round 1, the query'); print('there', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "there\n"
    assert standing(RunDir(path))[2] == "  at work: round 1, the query (1 of 4), time left not known yet"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    lines = standing(RunDir(path))
    assert lines[2].startswith("  interrupted on ") and lines[2].endswith(": round 1, the query (1 of 4)")
    assert lines[3] == "  finished"
    with RunDir(path).lock(), activity(path):
        pass
    assert len(standing(RunDir(path))) == 3


def test_the_run_of_somebody_else_is_at_work_while_its_file_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom its lock does not belong to cannot ask it."""

    def refuse(_: RunDir) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", ".lock")

    monkeypatch.setattr(RunDir, "lock", refuse)
    for age, lives in ((5.0, True), (5000.0, False)):
        now = Activity("round 1", 1, 4, None, None, time.time() - age)
        (tmp_path / FILE).write_text(json.dumps(now.__dict__))
        assert current(tmp_path) == (now, lives)


def test_the_expected_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_run(tmp_path / "r", budgets=(5, 5))
    at = time.mktime((2026, 5, 4, 12, 0, 0, 0, 0, -1))
    (path / FILE).write_text(json.dumps(Activity("round 1", 1, 4, 600.0, 1800.0, at).__dict__))
    monkeypatch.setattr(
        "hybrid_al.report.overview.current", lambda run: (Activity("round 1", 1, 4, 600.0, 1800.0, at), True)
    )
    assert standing(RunDir(path))[2] == "  at work: round 1 (1 of 4), 600 s each, 30 min left, until about 12:30"


def test_a_file_that_is_none_says_nothing(tmp_path: Path) -> None:
    for text in ("", "{}", "[]", '{"stage": 1}'):
        (tmp_path / FILE).write_text(text)
        assert current(tmp_path) is None


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 100_000, 4))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    for quiet in (True, False):
        with console.progress(quiet) as step:
            for done in range(1, 101):
                step(done, 100, "reading images")
    lines = capsys.readouterr().err.splitlines()
    assert 5 < len(lines) < 40
    assert all(line.startswith("  reading images (") and "left" in line for line in lines)
