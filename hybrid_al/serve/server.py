"""`hybrid-al serve`: the interface of MONAI Label for a run, served until it is stopped."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..assemble import Project
    from ..page.app import NextStep
    from .door import Door
    from .requests import Calls

PASSWORD = "HYBRID_AL_PASSWORD"
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Address:
    """Where clients call: a name or an address of this machine, a port, and origins of pages that may call beside it.

    The password is that of the environment variable `HYBRID_AL_PASSWORD`: read when asked, in no file and no log.
    InputError: an address that is that of any, or one of the network without a password; an origin that is none.
    """

    host: str
    port: int
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would let others in."""
        if not self.host or self.host in ("0.0.0.0", "::"):
            raise InputError("--host", "the address of this machine that clients call, as 192.168.0.7", repr(self.host))
        if self.host not in LOOPBACK and not self.password:
            raise InputError("--host", f"a password in {PASSWORD}, as others can reach {self.host}", "none")
        for origin in self.origins:
            parts = urllib.parse.urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise InputError("--origin", "the origin of a page, as http://localhost:3000", repr(origin))

    @property
    def password(self) -> str | None:
        """None where there is none."""
        return os.environ.get(PASSWORD) or None

    def names(self, port: int) -> set[str]:
        """What clients may call it, with the port that it has."""
        hosts = LOOPBACK if self.host in LOOPBACK else (self.host,)
        return {f"{host}:{port}" for host in hosts}


def serve(
    project: Project,
    address: Address,
    *,
    reader: str | None,
    trains: bool,
    asked_only: bool = False,
    say: Callable[[str], None],
) -> None:
    """Serve a run until the process is interrupted.

    reader  who answers; None lets clients say it
    trains  go on with the loop where a query is answered
    say     gets the address
    asked_only  see `Shelf`

    InputError: a port that is taken, a bad name, a run whose answers are boxes.
    """
    from ..page.server import listener_on, serve_until_stopped
    from ..page.training import Training
    from .app import create_app
    from .door import Door

    listener = listener_on(address.port, address.host)
    port = listener.getsockname()[1]
    door = Door(address.names(port), address.origins, address.password)
    training = Training(project.run, str(project.device))
    calls = calls_of(project, door, training, reader=reader, trains=trains, asked_only=asked_only)
    app = create_app(calls, origins=address.origins)
    say(f"MONAI Label server: http://{address.host}:{port}")
    say("every answer is on the disk at once; Ctrl-C ends")
    serve_until_stopped(app, listener, calls.page)


def calls_of(
    project: Project, door: Door, training: NextStep, *, reader: str | None, trains: bool, asked_only: bool = False
) -> Calls:
    """What a server of a run answers with; see `serve`."""
    from ..api.deployed import model_of_run
    from ..page.app import Page
    from ..page.desk import Desk
    from ..page.pictures import ProjectPictures
    from .requests import Calls
    from .sessions import Sessions
    from .shelf import Shelf

    pictures = ProjectPictures(project, proposes=True)
    desk = Desk(project.run, reader=reader, size=pictures.size)
    page = Page(desk, pictures, training, trains=trains)
    shelf = Shelf(project, page, pictures, asked_only=asked_only)
    model = partial(model_of_run, project.run.path, str(project.device))
    return Calls(shelf, page, door, Sessions(model, shelf.said))
