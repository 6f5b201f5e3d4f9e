"""The routes of models: what they say of images, images that are lent for it, and the training of the next round."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from ..core.types import LabelMap
from ..errors import InputError, UnknownName
from ..page.desk import Refused
from ..report.overview import readers_owe
from . import asap, forms
from .labels import label_file
from .requests import Body, Calls, file_of
from .shelf import Missing

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

RESULTS = ("all", "image", "json")


def add_inference(app: FastAPI, calls: Calls) -> None:
    """What the last model says of an image, as a label map or in words."""
    shelf = calls.shelf

    def said(model: str, image: str, session: str, client: str) -> Nifti1Image | LabelMap | dict[str, float]:
        shelf.check_model(model)
        if calls.page.desk.is_blind:
            raise InputError("infer", "readers who may see what the model says (oracle.blind: false)", "blind ones")
        if session:
            return calls.sessions.said(session)
        if not image:
            raise InputError("image", "an image of this run, or a session_id", "none")
        return shelf.says(image, client)

    @app.post("/infer/{model}")
    def infer(
        model: str, request: Request, body: Body, image: str = "", session_id: str = "", output: str = "all"
    ) -> Response:
        if output not in RESULTS:
            raise UnknownName("output", output, RESULTS)
        kind = request.headers.get("content-type", "")
        form = forms.read(kind, body) if kind.startswith("multipart/") else None
        if form is not None and (extra := [name for name in ("file", "label") if name in form.parts]):
            raise InputError(extra[0], "an image by its id or a session, and nothing drawn", "a file")
        params = form.params() if form else forms.mapping("params", body)
        answer = said(model, image, session_id, calls.client(request, params))
        names = {"label_names": shelf.values}
        if isinstance(answer, dict):
            return JSONResponse({**names, **shelf.summary(answer)})
        if output == "json":
            return JSONResponse(names)
        data, suffix = label_file(answer, str(params.get("result_extension") or ".nii.gz"))
        if output == "image":
            return file_of(data, f"label{suffix}")
        content_type, text = forms.write(names, f"label{suffix}", data)
        return Response(text, media_type=content_type)

    @app.post("/infer/wsi/{model}")
    def infer_areas(
        model: str, request: Request, body: Body, image: str = "", session_id: str = "", output: str = "asap"
    ) -> Response:
        if output != "asap":
            raise UnknownName("output", output, ("asap",))
        params = forms.mapping("request", body)
        answer = said(model, image, session_id, calls.client(request, params))
        if not isinstance(answer, np.ndarray | dict):
            raise InputError("image", "an image, or one slice of a volume", "a volume: POST /infer/")
        if isinstance(answer, dict):
            raise InputError("model", "one that draws", "one that gives classes: POST /infer/")
        part = _window(answer, params)
        areas = ((name, part == value) for name, value in shelf.values.items() if (part == value).any())
        return Response(asap.write(areas), media_type="text/xml")


def _window(labels: LabelMap, params: dict[str, Any]) -> LabelMap:
    """A label map where a part of the image is asked for (`location`, `size`, both x and y), 0 elsewhere."""
    try:
        (x, y), (width, height) = (map(int, params.get(key) or (0, 0)) for key in ("location", "size"))
    except (TypeError, ValueError):
        raise InputError("request", "location and size, each two whole numbers", "others") from None
    if width <= 0 or height <= 0:
        return labels
    out, part = np.zeros_like(labels), (slice(max(y, 0), max(y + height, 0)), slice(max(x, 0), max(x + width, 0)))
    out[part] = labels[part]
    return out


def add_sessions(app: FastAPI, calls: Calls) -> None:
    """Images that are lent for a while."""

    @app.put("/session/")
    def open_session(request: Request, body: Body) -> dict[str, Any]:
        return calls.sessions.open(forms.read(request.headers.get("content-type", ""), body).file("files"))

    @app.get("/session/{session_id}")
    def session(session_id: str) -> dict[str, Any]:
        return calls.sessions.about(session_id)

    @app.delete("/session/{session_id}")
    def close_session(session_id: str) -> dict[str, Any]:
        return calls.sessions.close(session_id)


def add_training(app: FastAPI, calls: Calls) -> None:
    """The next round, where the query is answered."""
    trainings = Trainings(calls)

    @app.get("/train/")
    def status(check_if_running: bool = False, all: bool = False) -> Any:
        task = trainings.state()
        if task is None or (check_if_running and task["status"] != "RUNNING"):
            raise Missing("train", "a training that runs" if check_if_running else "a training that was begun", "none")
        return [task] if all else task

    @app.post("/train/")
    def train_all() -> dict[str, Any]:
        return {calls.shelf.name: trainings.start()}

    @app.post("/train/{model}")
    def train(model: str) -> dict[str, Any]:
        calls.shelf.check_model(model)
        return trainings.start()

    @app.delete("/train/")
    def stop() -> dict[str, Any]:
        return trainings.stop()


class Trainings:
    """The training that was begun last, as clients ask for it."""

    def __init__(self, calls: Calls) -> None:
        self._page, self._model = calls.page, calls.shelf.name
        self._id, self._begin, self._end = "", 0, 0

    def start(self) -> dict[str, Any]:
        """Go on with the loop; Refused while it does, InputError where answers are missing."""
        if self._page.training.runs:
            raise Refused("taken", "a training runs already")
        progress = self._page.desk.progress()
        if missing := progress["total"] - progress["done"]:
            raise InputError("train", f"all {progress['total']} images of the query answered", f"{missing} missing")
        self._page.desk.settle()
        if owed := self._page.desk.owed():
            raise InputError("train", "the answers of all readers", readers_owe(owed, progress["round"]))
        self._id, self._begin, self._end = str(uuid.uuid4()), int(time.time()), 0
        self._page.go_on(progress["round"])
        return self._facts()

    def stop(self) -> dict[str, Any]:
        """End it; Missing where none runs."""
        if not self._page.training.runs:
            raise Missing("train", "a training that runs", "none")
        self._page.training.stop()
        return self._facts()

    def state(self) -> dict[str, Any] | None:
        """How it stands; None before the first."""
        return self._facts() if self._id or self._page.training.runs else None

    def _facts(self) -> dict[str, Any]:
        state = self._page.training.state()
        status = "RUNNING" if state["runs"] else "ERROR" if state["failed"] else "DONE"
        if status != "RUNNING":
            self._end = self._end or int(time.time())
        line = state["line"] or status.lower()
        return {
            "id": self._id or "went on by itself",
            "model": self._model,
            "status": status,
            "start_ts": self._begin,
            "end_ts": self._end,
            "details": [line],
            "result": {"line": line},
        }
