"""Workers: a task that raises or dies is reported, the others go on; workers end with their parent."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_al.bench.pool import run_all, shared_workers
from hybrid_al.errors import HybridALError


def work(task: str) -> str:
    """What the workers of these tests do."""
    kind, _, argument = task.partition(":")
    if kind == "raise":
        raise ValueError(f"no {argument}\nand more")
    if kind == "die":
        os.abort()
    if kind == "unsendable":
        return (letter for letter in argument)  # type: ignore[return-value]
    if kind == "pid":
        return str(os.getpid())
    if kind == "threads":
        return os.environ["OMP_NUM_THREADS"]
    if kind == "linger":
        Path(argument).write_text(str(os.getpid()))
        time.sleep(60)
    return task.upper()


@pytest.mark.parametrize("jobs", [1, 2])
def test_failures_do_not_stop_the_rest(jobs: int) -> None:
    tasks = ["a", "raise:bread", "die:", "b", "die:", "threads:"]
    outcomes = list(run_all(work, tasks, jobs))
    assert sorted(d.task for d in outcomes) == sorted(tasks)
    assert {d.task: d.result for d in outcomes if d.failure is None} == {"a": "A", "b": "B", "threads:": "1"}
    failures = sorted(d.failure for d in outcomes if d.failure is not None)
    assert failures[0] == "ValueError: no bread and more"
    assert len(failures) == 3
    assert all("died" in f and "SIGABRT" in f for f in failures[1:])


def test_a_result_that_cannot_be_sent_is_its_failure_alone() -> None:
    bad, good = run_all(work, ["unsendable:bread", "a"], 1)
    assert bad.failure is not None and "generator" in bad.failure and good.result == "A"


def test_who_stops_listening_ends_the_workers(tmp_path: Path) -> None:
    outcomes, note = run_all(work, [f"linger:{tmp_path / 'pid'}", "a"], 2), tmp_path / "pid"
    assert next(outcomes).result == "A"
    worker = _pid_in(note)
    outcomes.close()  # type: ignore[attr-defined]
    assert not _alive(worker)


def test_several_calls_share_workers() -> None:
    with shared_workers() as workers:
        first, second = (next(run_all(work, ["pid:"], 1, workers=workers)).result for _ in range(2))
        assert first is not None and first == second and _alive(int(first))
    assert not _alive(int(first))


def test_nothing_starts_once_told_to_stop() -> None:
    checks: list[int] = []

    def go_on() -> bool:
        checks.append(1)
        return len(checks) <= 2

    outcomes = [d.task for d in run_all(work, iter("abcdef"), 1, go_on=go_on)]
    assert outcomes == ["a", "b"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.ENOENT, errno.ENOSYS])
def test_without_shared_memory_a_line_says_what_workers_need(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """What a semaphore says where /dev/shm is missing, read-only or full."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("loky.backend.synchronize._SemLock", refuse)
    with pytest.raises(HybridALError, match=r"workers need shared memory \(/dev/shm\): .*; mount it with some room"):
        next(run_all(work, ["a"], 1))


def test_no_tasks() -> None:
    nothing: Iterator[str] = iter(())
    assert list(run_all(work, nothing, 2)) == []


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = "from test_bench_pool import work; from hybrid_al.bench.pool import run_all, shared_workers; "
    code += f"list(run_all(work, ['linger:{note}'], 1))"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    worker, deadline = _pid_in(note), time.monotonic() + 60
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while _alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_ends_the_workers(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # which background jobs ignore
    code += "from test_bench_pool import work; from hybrid_al.bench.pool import run_all, shared_workers; "
    code += f"list(run_all(work, ['linger:{note}'], 1))"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, start_new_session=True, stderr=subprocess.PIPE
    )
    worker = _pid_in(note)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: the whole group
    _, error = parent.communicate(timeout=20)
    assert b"KeyboardInterrupt" in error and not _alive(worker)


def _pid_in(note: Path) -> int:
    """The process id that a worker has written, once it has."""
    deadline = time.monotonic() + 60
    while not (note.is_file() and note.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(note.read_text())


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
