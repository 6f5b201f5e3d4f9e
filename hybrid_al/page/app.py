"""The server of the page: its files, images and answers over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ..core.registry import component
from ..data.answers import to_png
from ..errors import HybridALError, InputError
from ..models.promptable import Prompt
from ..report.overview import readers_owe, standing
from .desk import Desk, Refused
from .gate import Gate
from .pictures import Pictures
from .proposing import Proposing

STATIC = Path(__file__).parent / "static"
SILENT: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


class NextStep(Protocol):
    """What plays the loop up to its next query."""

    @property
    def runs(self) -> bool:
        """Whether it is at work."""
        ...

    @property
    def failed(self) -> bool:
        """Whether the last one ended in an error."""
        ...

    def start(self) -> None:
        """Begin, where none is at work."""
        ...

    def stop(self) -> None:
        """End the one at work; the last commit stays."""
        ...

    def state(self) -> dict[str, Any]:
        """What the page shows of it."""
        ...


class Page:
    """What the routes share.

    trains     go on by itself where a query is answered
    proposing  what draws masks from boxes and points; None where the recipe names no segmenter
    """

    def __init__(
        self, desk: Desk, pictures: Pictures, training: NextStep, *, trains: bool, proposing: Proposing | None = None
    ) -> None:
        self.desk, self.pictures, self.training, self.trains = desk, pictures, training, trains
        self.proposing = proposing if desk.kind == "mask" else None
        self._began = -1  # the round that was last trained by itself, once: what fails waits for a person

    def state(self) -> dict[str, Any]:
        """See `Desk.state`; where no image waits, also what is next."""
        state, training = self.desk.state(), self.training
        progress = state["progress"]
        is_complete = progress["total"] and progress["done"] == progress["total"]
        is_held = bool(is_complete and (training.runs or self.desk.is_held()))
        if is_complete and not is_held and self._may_go_on(progress["round"]):
            self.go_on(progress["round"])
            is_held = True
        phase = "open" if progress["total"] else "none"
        if is_complete:
            phase = "training" if is_held else "answered"
        owed = self.desk.owed() if phase in ("answered", "none") else {}
        lines = standing(self.desk.run) if phase in ("answered", "none") and not owed else []
        lines += [readers_owe(owed, progress["round"])] * bool(owed)  # the commands beside it are not for a reader
        more = {"waits": phase == "answered" and bool(owed), "segments": self.proposing is not None}
        return state | {"phase": phase, "standing": lines, "training": training.state(), **more}

    def _may_go_on(self, round: int) -> bool:
        """Whether the loop goes on by itself: once a round, and not while another reader owes an answer."""
        return self.desk.settle(0) and self.trains and self._began != round and not self.desk.owed()

    def go_on(self, round: int) -> None:
        """Train on the answers of a round."""
        self._began = round
        self.training.start()

    def item(self, index: int) -> dict[str, Any]:
        """What is shown beside an image."""
        pictures, round = self.pictures, self.desk.round()
        about = pictures.about(index)
        if self.proposing is not None:
            self.proposing.prepare(index)
        asked = pictures.asked(index, round) is not None
        return about | {"similar": pictures.similar(index, self.desk.labels()), "asked": asked}

    def segment(self, index: int, plain: Mapping[str, object]) -> bytes:
        """A PNG of the structure that a prompt means."""
        if self.proposing is None:
            raise InputError("segment", "a run that asks for masks, whose recipe has label.segmenter", "another")
        prompt = component({"prompt": Prompt}, "prompt", "prompt", plain)
        return to_png(self.proposing.mask(index, prompt, self.pictures.size(index)))


def create_app(page: Page, gate: Gate) -> ASGIApp:
    """The app behind its gate."""
    desk, pictures = page.desk, page.pictures

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, telemetry=SILENT)

    @app.exception_handler(HybridALError)
    def refuse(_: Request, error: HybridALError) -> JSONResponse:
        kind = error.kind if isinstance(error, Refused) else "bad"
        return JSONResponse({"error": str(error), "kind": kind}, 409 if isinstance(error, Refused) else 422)

    @app.exception_handler(RequestValidationError)
    def refuse_form(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "request: expected a mapping of keys", "kind": "bad"}, 422)

    @app.exception_handler(OSError)
    @app.exception_handler(ValueError)
    def refuse_file(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"the disk or an image: {error}", "kind": "disk"}, 500)

    @app.get("/")
    def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/api/state")
    def state() -> dict[str, Any]:
        return page.state()

    @app.get("/api/item/{index}")
    def item(index: int) -> dict[str, Any]:
        return page.item(index)

    @app.post("/api/answer")
    def answer(plain: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        if page.training.runs:
            raise Refused("stale", "the round is being trained, so this answer was not taken")
        return desk.answer(plain)

    @app.post("/api/train")
    def train() -> dict[str, Any]:
        progress = desk.progress()
        if progress["done"] < progress["total"]:
            raise InputError("train", "a query that is answered", f"{progress['total'] - progress['done']} missing")
        desk.settle()
        if owed := desk.owed():
            raise InputError("train", "the answers of all readers", readers_owe(owed, progress["round"]))
        page.go_on(progress["round"])
        return page.state()

    @app.get("/image/{index}.png")
    def image(index: int) -> Response:
        return _picture(pictures.image(index))

    @app.get("/thumbnail/{index}.jpg")
    def thumbnail(index: int) -> Response:
        return _picture(pictures.thumbnail(index), "image/jpeg")

    @app.get("/proposal/{index}.png")
    def proposal(index: int) -> Response:
        return _picture(pictures.proposal(index))

    @app.get("/doubt/{index}.png")
    def doubt(index: int) -> Response:
        return _picture(pictures.doubt(index))

    @app.post("/api/segment/{index}")
    def segment(index: int, plain: Annotated[dict[str, Any], Body()]) -> Response:
        return _picture(page.segment(index, plain))

    @app.get("/asked/{index}.png")
    def asked(index: int) -> Response:
        return _picture(pictures.asked(index, desk.round()))

    @app.get("/drawn/{index}")
    def drawn(index: int) -> Response:
        file = desk.drawing(index)
        kind = "application/json" if file is not None and file.suffix == ".json" else "image/png"
        return _picture(None if file is None else file.read_bytes(), kind)

    app.mount("/static", StaticFiles(directory=STATIC))
    return gate.guard(app)


def _picture(data: bytes | None, kind: str = "image/png") -> Response:
    """The bytes of a file; "no content" where there is none."""
    return Response(status_code=204) if data is None else Response(data, media_type=kind)
