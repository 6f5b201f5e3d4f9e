"""A page that is stopped: by whatever signal, the training that it began ends, and the answers are in the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
import uvicorn

from hybrid_al.oracles.ledger import pending, taken
from hybrid_al.page.app import Page, create_app
from hybrid_al.page.desk import Desk
from hybrid_al.page.gate import Gate
from hybrid_al.page.server import listener_on, serve_until_stopped
from hybrid_al.page.training import Training
from tests.helpers.label_page import MadeUp, open_run, submission


@pytest.mark.parametrize("end", [SystemExit(143), KeyboardInterrupt()])
def test_a_signal_ends_the_training_and_puts_the_answers_into_the_run(
    end: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path / "run")
    desk, training = Desk(run, reader=None, size=MadeUp().size), Training(run)
    page = Page(desk, MadeUp(), training, trains=True)

    def stopped(*_: object, **__: object) -> None:
        desk.answer(submission("one"))
        training._process = subprocess.Popen(["sleep", "600"])  # in the place of one that goes on
        assert training.runs
        raise end

    monkeypatch.setattr(uvicorn.Server, "run", stopped)
    with pytest.raises(SystemExit) if isinstance(end, SystemExit) else nullcontext():
        serve_until_stopped(create_app(page, Gate(8999)), listener_on(0), page)
    assert not training.runs and not pending(desk._ledger.entries(), taken(run), shared=False)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_server_that_a_signal_stops_says_nothing(
    number: signal.Signals, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = open_run(tmp_path / "run")
    page = Page(Desk(run, reader=None, size=MadeUp().size), MadeUp(), Training(run), trains=False)
    before = signal.signal(number, lambda n, _: sys.exit(128 + n))
    timer = threading.Timer(0.3, os.kill, [os.getpid(), number])
    try:
        timer.start()
        with pytest.raises(SystemExit) as end:
            serve_until_stopped(create_app(page, Gate(8999)), listener_on(0), page)
    finally:
        timer.join()
        signal.signal(number, before)
    assert end.value.code == 128 + number and capfd.readouterr().err == ""
