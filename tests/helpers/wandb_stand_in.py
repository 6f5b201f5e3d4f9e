"""A stand-in for W&B's server on loopback: one person who is logged in, and a list of what was written."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER = {
    "id": "u", "name": "me", "username": "me", "email": "", "admin": False, "flags": "{}", "entity": "team",
    "deletedAt": None, "apiKeys": {"edges": []}, "teams": {"edges": []},
}  # fmt: skip
PROJECT = {"id": "1", "name": "hybrid-al", "entityName": "team", "createdAt": "2026-01-01T00:00:00Z", "user": USER}


@contextmanager
def stand_in(*, projects: tuple[str, ...] = ("hybrid-al",)) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and the variables of every view that was written; projects not named are not there."""
    views: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            query, variables = request["query"], request.get("variables") or {}
            answer: dict[str, Any] = {"data": {}}
            if "upsertView" in query and variables["projectName"] not in projects:
                answer = {"errors": [{"message": "project not found"}], "data": None}
            elif "upsertView" in query:
                views.append(variables)
                names = {"projectName": "name", "entityName": "entityName"}
                project = {"id": "p", **{names[k]: variables[k] for k in names}}
                kept = {k: variables[k] for k in ("name", "type", "displayName", "description", "spec")}
                view = {**kept, "id": f"view{len(views)}", "project": project, "updatedAt": "2026-01-01T00:00:00Z"}
                answer = {"data": {"upsertView": {"view": view, "inserted": True}}}
            elif "viewer" in query:
                answer = {"data": {"viewer": USER}}
            elif "models" in query:
                page = {"endCursor": "c", "hasNextPage": False}
                edges = [{"node": {**PROJECT, "isBenchmark": False}, "cursor": "c"}]
                answer = {"data": {"models": {"edges": edges, "pageInfo": page}}}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", views
    finally:
        server.shutdown()
        server.server_close()
