"""The next step of a loop in a process of its own, started from the page."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from ..core.rundir import RunDir

WAITING = 3  # exit code of a run that asks people
LOG = "page.log"
TAIL = 8192  # bytes


class Training:
    """`hybrid-al run` on a run directory: at most one at a time, its output in the file `page.log` there."""

    def __init__(self, run: RunDir, device: str = "cpu") -> None:
        self._run, self._device = run, device
        self._process: subprocess.Popen[bytes] | None = None
        self._start = threading.Lock()

    @property
    def runs(self) -> bool:
        """Whether it is at work."""
        return self._process is not None and self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether the last one ended in an error."""
        return self._process is not None and self._process.poll() not in (None, 0, WAITING)

    def start(self) -> None:
        """Begin, where none is at work."""
        with self._start:
            if self.runs:
                return
            command = [sys.executable, "-m", "hybrid_al.cli", "run", str(self._run.path), "--device", self._device]
            with (self._run.path / LOG).open("wb") as out:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def stop(self) -> None:
        """End the one at work: the last commit stays, and the next begins anew from there."""
        if self._process is not None and self.runs:
            self._process.terminate()
            self._process.wait()

    def state(self) -> dict[str, Any]:
        """Whether it runs or failed, its last line, and the last number that it logged."""
        lines = tail(self._run.path / LOG) if self._process is not None else []
        return {"runs": self.runs, "failed": self.failed, "line": lines[-1] if lines else "", **self._step()}

    def _step(self) -> dict[str, Any]:
        for line in reversed(tail(self._run.path / "metrics.jsonl") if self.runs else []):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row.get("step") is not None:
                return {"stage": row["stage"], "step": row["step"]}
        return {}


def tail(file: Path) -> list[str]:
    """The last lines of a file, none where it is not there."""
    if not file.is_file():
        return []
    with file.open("rb") as data:
        data.seek(max(0, file.stat().st_size - TAIL))
        return [line for line in data.read().decode("utf-8", "replace").splitlines() if line.strip()]
