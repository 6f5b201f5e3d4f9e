"""The page of a real run, in headless Chromium."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import sync_playwright

from hybrid_al.assemble import open_project
from hybrid_al.errors import AwaitingLabels
from hybrid_al.page.app import Page, create_app
from hybrid_al.page.desk import Desk
from hybrid_al.page.gate import Gate
from hybrid_al.page.pictures import ProjectPictures
from hybrid_al.page.proposing import Proposing
from hybrid_al.page.server import listener_on, segmenter_of
from hybrid_al.recipe import parse
from tests.helpers.played import play


class Played:
    """The next step of a loop, played in a thread of this process."""

    def __init__(self, run: Path, recipe: Mapping[str, Any]) -> None:
        self._run, self._recipe = run, recipe
        self._thread: threading.Thread | None = None
        self.failed = False

    @property
    def runs(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def stop(self) -> None:
        """Nothing: a thread runs to its end."""

    def _play(self) -> None:
        with suppress(AwaitingLabels):
            play(self._run, self._recipe)

    def state(self) -> dict[str, Any]:
        return {"runs": self.runs, "failed": False, "line": ""}


@contextmanager
def served(run: Path, recipe: Mapping[str, Any], *, reader: str | None = "anna") -> Iterator[str]:
    """The link of a server that plays the loop as it is answered, on a port of this machine."""
    with suppress(AwaitingLabels):
        play(run, recipe)
    project = open_project(parse(recipe), run_dir=run)
    pictures, listener = ProjectPictures(project, proposes=True), listener_on(0)
    gate = Gate(listener.getsockname()[1])
    desk = Desk(project.run, reader=reader, size=pictures.size)
    segmenter = segmenter_of(parse(recipe))
    proposing = None if segmenter is None else Proposing(segmenter, pictures.shown)
    app = create_app(Page(desk, pictures, Played(run, recipe), trains=True, proposing=proposing), gate)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield gate.link
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def browser_page(link: str, **options: Any) -> Iterator[BrowserPage]:
    """The page in headless Chromium, its first image shown; an error of its scripts is one of the test."""
    errors = list[str]()
    with sync_playwright() as play_wright:
        browser = play_wright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_context(**options).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(link)
        page.wait_for_selector("body[data-shown]")
        yield page
        browser.close()
    assert not errors
