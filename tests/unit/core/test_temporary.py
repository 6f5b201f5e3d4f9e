"""Temporary files: those of killed processes go, also where their number is another's by now or the clock jumped."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from hybrid_al.core.rundir import RunDir
from hybrid_al.core.temporary import clear_left_overs, scratch_folder, temporary_name

DAY = 86400.0


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is over."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def test_left_overs_go_and_what_a_living_process_writes_stays(tmp_path: Path, dead: int) -> None:
    own, theirs = temporary_name(tmp_path / "round.json"), tmp_path / "rounds" / f".labels.jsonl.{dead}-77.tmp"
    reused = tmp_path / f".query.csv.{os.getpid()}-1.tmp"  # of a process that had our number, as 1 in a container
    earlier, folder = tmp_path / f".x.npz.{dead}.tmp", tmp_path / f".export.{dead}-1.tmp"
    ours = tmp_path / "notes.tmp"
    for path in (own, theirs, reused, earlier, folder / "a", ours):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    with RunDir(tmp_path).lock():
        assert own.is_file() and ours.is_file()
        assert not any(path.exists() for path in (theirs, reused, earlier, folder))


def test_a_process_that_ended_is_over_though_nobody_asked_how(tmp_path: Path) -> None:
    """As the first process of a container, which takes over those whose own one was killed, may never do."""
    with subprocess.Popen(["sleep", "100"]) as process:
        ticks = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        file = tmp_path / f".seconds.json.{process.pid}-{ticks}.tmp"
        file.write_text("half")
        clear_left_overs(tmp_path)
        assert file.exists()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it ended, and stays in the table of processes
        clear_left_overs(tmp_path)
        assert not file.exists()


@pytest.mark.parametrize(("age", "stays"), [(0.0, True), (DAY, False), (-DAY, False)])
def test_of_caches_go_those_of_another_time_also_where_the_clock_was_set_back(
    tmp_path: Path, dead: int, age: float, stays: bool
) -> None:
    file = tmp_path / f".images.{dead}-1.tmp"
    file.write_text("half")
    os.utime(file, (time.time() - age,) * 2)
    clear_left_overs(tmp_path, idle=600)
    assert file.exists() == stays


def test_folders_that_killed_processes_left_in_the_temporary_folder_go(
    tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (old := tmp_path / f"hybrid-al-abc.{dead}-1.tmp").mkdir()
    (old / "patient.png").write_bytes(b"pixels")
    with scratch_folder() as mine:
        with scratch_folder():
            assert Path(mine).is_dir() and not old.exists()
        assert Path(mine).stat().st_mode & 0o77 == 0
    assert not list(tmp_path.iterdir())
