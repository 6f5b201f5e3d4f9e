"""`hybrid-al label`: the page of a project, served to this machine until it is stopped."""

from __future__ import annotations

import importlib.util
import signal
import socket
import threading
import webbrowser
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..oracles.readers import reading_of

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from ..assemble import Project
    from ..models.promptable import Promptable
    from ..recipe import Recipe
    from .app import Page

FIRST_PORT, PORTS = 20_000, 12_000  # below those that systems give out by themselves


def check_extra(verb: str) -> None:
    """InputError where the packages of the page are not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise InputError(verb, "the packages of the page: pip install 'hybrid-al[page]'", "none of them")


def segmenter_of(recipe: Recipe) -> Promptable | None:
    """The segmenter of a recipe, loaded; None where it names none. InputError as `Promptable`."""
    if (files := recipe.label.segmenter) is None:
        return None
    from ..models.promptable import Promptable

    return Promptable(Path(files.encoder), Path(files.decoder))


def serve(
    project: Project,
    *,
    reader: str | None,
    port: int,
    opens: bool,
    trains: bool,
    proposes: bool,
    segmenter: Promptable | None,
    say: Callable[[str], None],
) -> None:
    """Serve the page of a run until the process is interrupted.

    reader    who answers; None lets the page ask, where readers do not share the run
    port      0 takes the usual one of run and reader, or else a free one
    opens     show the page in a browser
    trains    go on with the loop where a query is answered
    proposes  let the last model draw first, where readers are not blind
    segmenter draws from boxes and points
    say       gets the link, and after each use the next

    InputError: a port that is taken, a bad name.
    """
    from .app import Page, create_app
    from .desk import Desk
    from .gate import Gate
    from .pictures import ProjectPictures
    from .proposing import Proposing
    from .training import Training

    reading = reading_of(project.run)
    pictures = ProjectPictures(project, proposes=proposes and not (reading and reading.blind))
    desk = Desk(project.run, reader=reader, size=pictures.size)
    listener = listener_on(port) if port else usual_listener(project.run.path, reader)
    gate = Gate(listener.getsockname()[1], lambda link: say(f"opened; for another browser: {link}"))
    proposing = None if segmenter is None else Proposing(segmenter, pictures.shown)
    page = Page(desk, pictures, Training(project.run, str(project.device)), trains=trains, proposing=proposing)
    say(f"Label: {gate.link}")
    say("every answer is on the disk at once; Ctrl-C ends")
    if opens:
        threading.Timer(0.5, webbrowser.open, [gate.link]).start()
    try:
        serve_until_stopped(create_app(page, gate), listener, page)
    finally:
        if proposing is not None:
            proposing.close()


def serve_until_stopped(app: ASGIApp, listener: socket.socket, page: Page) -> None:
    """Serve until a signal ends it; then the training at work ends too, and the answers go into the run.

    Those of a query that is answered in part as well.
    """
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    try:
        with suppress(KeyboardInterrupt), _stopped_by_hangup(server):
            server.run(sockets=[listener])
    finally:
        page.training.stop()
        page.desk.settle()


@contextmanager
def _stopped_by_hangup(server: uvicorn.Server) -> Iterator[None]:
    """Let HUP, which a closed terminal sends, stop a server in order, as INT and TERM do, and do its own then."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or (before := signal.getsignal(hangup)) == signal.SIG_IGN:
        yield
        return
    came = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        server.should_exit = True

    signal.signal(hangup, stop)
    try:
        yield
    finally:
        signal.signal(hangup, before)
        if came:
            signal.raise_signal(hangup)


def usual_listener(run: Path, reader: str | None) -> socket.socket:
    """A socket on the port that a run and a reader always get, where it is free.

    So a page that outlived its server, and what its browser keeps, fit the next one.
    """
    text = f"{run.resolve()}\n{reader or ''}"
    try:
        return listener_on(FIRST_PORT + zlib.crc32(text.encode()) % PORTS)
    except InputError:
        return listener_on(0)


def listener_on(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket, of this machine alone unless `host` says otherwise."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError("--port", "a free port", f"{port} on {host} ({error})") from None
    return listener
