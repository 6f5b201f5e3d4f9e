"""What the machine lacks is one line: files that may be open, a disk to write to, the right time."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.core.hidden import salt_file
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.errors import InputError
from hybrid_al.oracles.ledger import Ledger, collect
from hybrid_al.oracles.worklist import WorklistOracle
from hybrid_al.recipe import parse
from tests.helpers.command import call
from tests.helpers.label_page import CLASSES, client_of, open_run, submission

FILES, FILES_OPEN = 64, Path("/proc/self/fd")


@contextmanager
def open_files(most: int) -> Iterator[None]:
    """No more than so many files open at once."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_images_than_files_that_may_be_open_are_read(tmp_path: Path) -> None:
    for i in range(FILES + 20):
        (folder := tmp_path / "scans" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(folder / f"{i}.{('png', 'tif', 'jpg')[i % 3]}")
    opened = len([*FILES_OPEN.iterdir()])
    with open_files(opened + 16):
        dataset = Folder(tmp_path / "scans", group="none").load()
        store = ImageStore.build(dataset, image_size=8, channels=1, cache=tmp_path / "cache")
    assert len(store) == FILES + 20
    assert len([*FILES_OPEN.iterdir()]) <= opened + 2  # the mapped store


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EMFILE, "Too many open files; a higher limit: ulimit -n 4096"),
        (errno.EROFS, "Read-only file system"),
        (errno.ENOSPC, "No space left on device"),
        (errno.ENOENT, "No such file or directory"),
        (errno.ENOLCK, "No locks available"),
        (errno.EAGAIN, "Resource temporarily unavailable; a higher limit of processes: ulimit -u"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    number: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "run"))

    monkeypatch.setattr("hybrid_al.report.overview.standing", refuse)
    assert call("status", tmp_path / "run") == 2
    assert capsys.readouterr().err == f"{tmp_path / 'run'}: {said}; the last commit is unchanged\n"


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR])
def test_a_path_that_nobody_named_may_be_a_fault_of_ours_and_leaves_its_trace(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), str(run.path / "rounds" / "007"))

    run = open_run(tmp_path / "run")
    monkeypatch.setattr("hybrid_al.report.overview.standing", refuse)
    assert call("status", run.path) == 2
    said = capsys.readouterr().err
    (file,) = run.path.glob("hybrid-al-fault-*.txt")
    assert f"rounds/007: {os.strerror(number)}; the last commit is unchanged; if no other program did that, " in said
    assert f"please send {file} to the authors" in said and said.count("\n") == 1
    assert "in refuse\n" in file.read_text(encoding="utf-8")


def test_a_command_whose_reader_went_away_ends_as_by_sigpipe_without_a_word(tmp_path: Path) -> None:
    """As others do: at the next line that it prints, or at its end. A socket of ours that broke is a fault."""
    code = f"""
import os, sys
import hybrid_al.cli as cli
from hybrid_al.report import overview
def standing(_):
    if not streams:
        raise BrokenPipeError(32, "Broken pipe")
    reads, writes = os.pipe()
    for stream in streams:
        os.dup2(writes, stream)
    os.close(writes)
    os.close(reads)
    print("a line", flush=now, file=sys.stderr if streams == [2] else sys.stdout)
    return ["the standing"]
overview.standing = standing
for now, streams in ((True, [1]), (False, [1]), (True, [1, 2]), (True, [2]), (True, [])):
    if not (child := os.fork()):
        cli.main(["status", {str(tmp_path)!r}])
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.stdout.split() == ["141", "141", "141", "141", "1"]
    assert "not of yours: BrokenPipeError" in process.stderr and process.stderr.count("\n") == 1


class SetBack(datetime):
    """A clock that somebody sets back by an hour whenever it is looked at."""

    hours = count(1)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> SetBack:
        return cls(2026, 1, 9, tzinfo=tz) - timedelta(hours=next(cls.hours))


def test_a_clock_that_is_set_back_changes_no_order_of_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer counts, from the page and from files, whatever time stands beside it."""
    for module in ("page.desk", "oracles.worklist"):
        monkeypatch.setattr(f"hybrid_al.{module}.datetime", SetBack)
    run, file = open_run(tmp_path / "run"), tmp_path / "later.csv"
    with client_of(run) as client:
        for name in ("normal", "pneumonia"):
            answer = submission(f"clock-{name}", classes=[name])
            assert client.post("/api/answer", json=answer).status_code == 200
    people = WorklistOracle(run, run.manifest(), CLASSES)
    with run.lock():
        collect(run)
        for name in ("normal", "pneumonia"):
            file.write_text(f"id,label\nscan2,{name}\n")
            people.take(file, "ann")
    times = [entry.time for entry in Ledger(run).entries()]
    assert len(times) >= 2 and times == sorted(times, reverse=True)
    latest = {a.index: a.target for a in people.latest_answers(np.arange(4), 0)[0]}
    assert latest[0] == latest[2] == CLASSES.index("pneumonia")


def test_a_signal_ends_a_command_whatever_a_library_makes_of_it_and_a_second_one_changes_nothing() -> None:
    """As pydantic does, in whose schemas a kill test hit it."""
    code = """
import os, signal, hybrid_al.cli as cli
from hybrid_al.report import overview
signal.signal(signal.SIGTERM, signal.SIG_DFL)
def standing(_):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except SystemExit:
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("a schema that cannot be built")
overview.standing = standing
try:
    cli.main(["status", "x"])
finally:
    os.kill(os.getpid(), signal.SIGTERM)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 143
    assert process.stderr == "interrupted; the last commit is unchanged, and the same command goes on\n"


def test_a_signal_ends_a_command_that_waits_in_c_for_another_process(tmp_path: Path) -> None:
    """As torch does at a rendezvous to which the other process, killed by its launcher, never comes."""
    code = f"""
import os, signal, threading, torch.distributed
import hybrid_al.cli as cli, hybrid_al.cli.signals as signals
from hybrid_al.report import overview
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signals.GRACE = 0.2
def standing(_):
    threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGTERM]).start()
    torch.distributed.init_process_group("gloo", init_method="file://{tmp_path}/rendezvous", rank=0, world_size=2)
overview.standing = standing
cli.main(["status", "x"])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert process.returncode == 143
    assert process.stderr == "interrupted; the last commit is unchanged, and the same command goes on\n"


def test_a_signal_at_the_very_start_of_a_command_has_its_line_too() -> None:
    code = """
import os, signal, hybrid_al.cli as cli
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.kill(os.getpid(), signal.SIGTERM)
inner = signal.set_wakeup_fd
def woken(*args, **keys):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return inner(*args, **keys)
signal.set_wakeup_fd = woken
cli.main(["status", "x"])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 143
    assert process.stderr == "interrupted; the last commit is unchanged, and the same command goes on\n"


def test_a_machine_without_threads_or_a_place_for_traces_gets_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_more(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    def no_place() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    def fault(*_: object) -> None:
        raise KeyError("of ours")

    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", no_more)
        assert call("status", tmp_path) == 2
    assert capsys.readouterr().err.startswith("this machine lets us start no more threads; a higher limit: ulimit -u")
    monkeypatch.setattr("hybrid_al.report.overview.standing", fault)
    monkeypatch.setattr("tempfile.gettempdir", no_place)
    assert call("status", tmp_path / "nowhere") == 1
    said = capsys.readouterr().err
    assert said.startswith("a fault of hybrid-al, not of yours: KeyError: 'of ours'") and said.count("\n") == 1


def test_an_account_without_a_home_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.delenv("HYBRID_AL_SALT_FILE", raising=False)
    with pytest.raises(InputError, match="HYBRID_AL_SALT_FILE: expected a path, as this account has no home"):
        salt_file()
    with pytest.raises(InputError, match="~/images: expected a path, as this account has no home"):
        parse({"name": "x", "data": {"source": "folder", "root": "~/images"}})


def test_a_full_disk_behind_the_output_is_said_and_closed_streams_are_no_fault(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "hybrid_al.cli"]
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run([*program, "recipes"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 2 and process.stderr.count("\n") == process.stderr.count("No space left") == 1
    code = f"""
import os
for stream in (0, 1, 2):
    os.close(stream)
os.execv({sys.executable!r}, [*{program!r}, "recipes", "quickstart", "-o", {str(tmp_path / "r.yaml")!r}])
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (tmp_path / "r.yaml").read_text().startswith("# Pneumonia")


def test_what_ends_a_forked_child_ends_no_command_and_an_unread_pipe_holds_none() -> None:
    """A pool of processes in a component of a person sends its workers TERM whenever it is left."""
    code = """
import fcntl, os, signal, time
import hybrid_al.cli.signals as signals
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signals.GRACE = 0.05
with signals.stops():
    if not (child := os.fork()):
        signal.pause()
    time.sleep(0.1)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
    time.sleep(0.2)
    reads, writes = os.pipe()
    os.dup2(writes, 2)
    os.write(2, bytes(fcntl.fcntl(2, fcntl.F_GETPIPE_SZ)))
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except SystemExit:
        time.sleep(60)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert process.returncode == 143, process.stderr


@pytest.mark.parametrize("name", ["", "a\nb", "\udcff", "a" * 61])
def test_who_answered_has_a_name_that_a_table_can_show(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("labels", tmp_path, tmp_path / "answers.csv", "--annotator", name) == 2
    assert capsys.readouterr().err.startswith("--annotator: expected a name of 1 to 60 letters, got ")
