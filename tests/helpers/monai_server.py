"""The interface of MONAI Label of a real run, on a port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from hybrid_al.assemble import open_project
from hybrid_al.errors import AwaitingLabels
from hybrid_al.page.server import listener_on
from hybrid_al.recipe import parse
from hybrid_al.serve.app import create_app
from hybrid_al.serve.door import Door
from hybrid_al.serve.server import calls_of
from tests.helpers.label_browser import Played
from tests.helpers.monai_client import MonaiClient
from tests.helpers.played import play


@contextmanager
def monai_server(
    run: Path, recipe: Mapping[str, Any], *, reader: str | None = None, password: str | None = None, origin: str = ""
) -> Iterator[MonaiClient]:
    """A client of a server whose loop goes on when it is told to."""
    with suppress(AwaitingLabels):
        play(run, recipe)
    project = open_project(parse(recipe), run_dir=run)
    listener = listener_on(0)
    port, origins = listener.getsockname()[1], (origin,) if origin else ()
    door = Door({f"127.0.0.1:{port}"}, origins, password)
    app = create_app(calls_of(project, door, Played(run, recipe), reader=reader, trains=False), origins=origins)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield MonaiClient(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
