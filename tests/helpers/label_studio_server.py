"""A real server of Label Studio on loopback with a throw-away database; `make labelstudio` installs it.

`python -m tests.helpers.label_studio_server` makes the empty database that tests copy: its migrations take a minute.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[2] / ".labelstudio"
PROGRAM, BLANK = HOME / "bin" / "label-studio", HOME / "blank"
KEY = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 600.0  # seconds until it answers: its imports alone take 15 s of a core
QUIET = {
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "FEATURE_FLAGS_OFFLINE": "true",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "DEBUG": "false",
}
"""Settings by which it asks nothing of the network."""


@dataclass(frozen=True)
class RealServer:
    """A server that is up."""

    url: str

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The JSON that it answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {KEY}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_project(self, title: str) -> int:
        """The number of a new project, which is empty."""
        return int(self.ask("POST", "/api/projects/", {"title": title})["id"])

    def personal_token(self) -> str:
        """A personal access token, which is no key by itself."""
        self.ask("POST", "/api/jwt/settings", {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True})
        return str(self.ask("POST", "/api/token/")["token"])

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """The tasks of a project with annotations and predictions, as the page loads them."""
        listed = self.ask("GET", f"/api/tasks?project={project}&page_size=100&fields=all")["tasks"]
        return [self.ask("GET", f"/api/tasks/{one['id']}/") for one in sorted(listed, key=lambda one: one["id"])]

    def annotate(self, task: int, results: list[dict[str, Any]], **more: Any) -> int:
        """What a person submits about a task; its number."""
        return int(self.ask("POST", f"/api/tasks/{task}/annotations/", {"result": results, **more})["id"])


@contextmanager
def real_server(folder: Path) -> Iterator[RealServer]:
    """A server with its data in `folder`, up within the block."""
    if BLANK.is_dir():
        shutil.copytree(BLANK, folder, dirs_exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    account = ("--username", "tests@example.com", "--password", "throw-away", "--user-token", KEY)
    command = [str(PROGRAM), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port), *account]
    environment = {**os.environ, **QUIET, "LABEL_STUDIO_BASE_DATA_DIR": str(folder)}
    environment.pop("PYTHONPATH", None)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            server = RealServer(f"http://127.0.0.1:{port}")
            _wait(server, process, folder / "server.log")
            yield server
        finally:
            process.terminate()
            process.wait()


def _wait(server: RealServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            server.ask("GET", "/api/projects/")
            return
        except (OSError, ValueError):
            text = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            assert process.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.5)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        with real_server(Path(scratch)):
            pass
        (Path(scratch) / "server.log").unlink()
        shutil.copytree(scratch, BLANK)
