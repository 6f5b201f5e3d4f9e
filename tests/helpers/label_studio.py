"""A stand-in for a server of Label Studio on loopback, from the public description of its REST API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY, TOKEN = "0123456789abcdef", "aaa.bbb.ccc"
ACCESS = "ddd.eee.fff"


@dataclass
class StandIn:
    """Projects and tasks in memory; `broken` answers every request with that code."""

    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    broken: int = 0
    url: str = ""

    def add_project(self, title: str, label_config: str = "<View></View>") -> int:
        number = len(self.projects) + 1
        self.projects[number] = {"id": number, "title": title, "label_config": label_config}
        return number

    def annotate(self, task: int, results: list[dict[str, Any]], by: int = 1, **more: Any) -> None:
        """What a person submits, in the place of what they submitted before."""
        annotations = self.tasks[task]["annotations"]
        stamp = f"2026-01-01T00:00:{sum(len(t['annotations']) for t in self.tasks.values()):02d}Z-{len(self.requests)}"
        annotations[:] = [a for a in annotations if a["completed_by"] != by]
        one = {
            "id": 100 * task + by,
            "completed_by": by,
            "result": results,
            "was_cancelled": False,
            "updated_at": stamp,
        }
        annotations.append({**one, **more})

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Code and JSON of a request that is allowed."""
        parts = path.strip("/").split("/")
        if parts == ["api", "projects"]:
            first = 100 * (int(query["page"][0]) - 1)
            found = list(self.projects.values())[first : first + 100]
            return 200, {"count": len(self.projects), "next": None, "results": found}
        if parts[:2] == ["api", "predictions"]:
            self.tasks[body["task"]]["predictions"].append(body)
            return 201, body
        if parts[:2] != ["api", "projects"] or int(parts[2]) not in self.projects:
            return 404, {"detail": "Not found."}
        number = int(parts[2])
        project = self.projects[number]
        if method == "PATCH":
            project |= body
        if method == "POST" and parts[3] == "import":
            for one in body:
                task = {"id": len(self.tasks) + 1, "project": number, "annotations": [], "predictions": [], **one}
                self.tasks[task["id"]] = task
            return 201, {"task_count": len(body)}
        if parts[3:] == ["export"]:
            every = query.get("download_all_tasks") == ["true"]
            tasks = [t for t in self.tasks.values() if t["project"] == number]
            return 200, [t for t in tasks if every or any(not a["was_cancelled"] for a in t["annotations"])]
        return 200, project


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A server that is up within the block."""
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            state.requests.append((self.command, parts.path))
            allowed = self.headers.get("Authorization") in (f"Token {KEY}", f"Bearer {ACCESS}")
            if state.broken:
                code, answer = state.broken, {"detail": "x"}
            elif parts.path == "/api/token/refresh/":
                code, answer = (200, {"access": ACCESS}) if body == {"refresh": TOKEN} else (401, {"detail": "x"})
            elif not allowed:
                code, answer = 401, {"detail": "Invalid token."}
            else:
                code, answer = state.answer(self.command, parts.path, parse_qs(parts.query), body)
            text = json.dumps(answer).encode()
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = _handle

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
