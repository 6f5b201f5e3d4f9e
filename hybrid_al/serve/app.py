"""The routes of the interface, as the public description of MONAI Label has them: who, the query, images, labels."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp

from ..errors import HybridALError, InputError, UnknownName
from ..page.app import SILENT
from ..page.desk import Refused
from ..page.training import LOG, tail
from . import forms, models
from .door import READER, WrongPassword
from .labels import label_file
from .requests import Body, Calls, file_of
from .shelf import FINAL, Missing

CODES: dict[type[HybridALError], int] = {Missing: 404, Refused: 409, WrongPassword: 401}


def create_app(calls: Calls, *, origins: tuple[str, ...] = ()) -> ASGIApp:
    """The app behind its door; `origins` of pages that may call it."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, telemetry=SILENT)
    _add_errors(app)
    _add_people(app, calls)
    _add_query(app, calls)
    _add_images(app, calls)
    _add_labels(app, calls)
    models.add_inference(app, calls)
    models.add_sessions(app, calls)
    models.add_training(app, calls)
    wrapped = CORSMiddleware(app, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]) if origins else app
    return calls.door.guard(wrapped)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HybridALError)
    def refuse(_: Request, error: HybridALError) -> JSONResponse:
        code = next((code for kind, code in CODES.items() if isinstance(error, kind)), 400)
        return JSONResponse({"detail": str(error)}, code)

    @app.exception_handler(RequestValidationError)
    def refuse_query(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = ", ".join(str(one["loc"][-1]) for one in error.errors())
        return JSONResponse({"detail": f"request: expected another value of {fields}"}, 422)

    @app.exception_handler(OSError)
    @app.exception_handler(ValueError)
    def refuse_file(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": f"the disk or an image: {error}"}, 500)


def _add_people(app: FastAPI, calls: Calls) -> None:
    @app.get("/auth/")
    def auth() -> dict[str, Any]:
        return {"enabled": calls.door.locked, "client_id": "hybrid-al", "realm": ""}

    @app.post("/auth/token")
    def token(body: Body) -> dict[str, str | None]:
        return calls.door.token(body.decode("utf-8", "replace"))

    @app.get("/auth/token/valid")
    def valid(request: Request) -> dict[str, str]:
        return {"username": request.scope[READER]}


def _add_query(app: FastAPI, calls: Calls) -> None:
    @app.get("/info/")
    def info() -> dict[str, Any]:
        calls.page.state()
        return calls.shelf.info()

    @app.post("/activelearning/{strategy}")
    def next_sample(strategy: str, request: Request, body: Body) -> dict[str, Any]:
        params = forms.mapping("params", body)
        calls.page.state()
        return calls.shelf.next_sample(strategy, calls.client(request, params), params)

    @app.get("/datastore/")
    def datastore(output: str = "stats") -> dict[str, Any]:
        if output not in ("stats", "all"):
            raise UnknownName("output", output, ("stats", "all"))
        shelf = calls.shelf
        return shelf.counts() if output == "stats" else {"name": shelf.name, "objects": shelf.objects()}

    @app.get("/logs/")
    def logs(lines: int = 300) -> PlainTextResponse:
        return PlainTextResponse("\n".join(tail(calls.page.desk.run.path / LOG)[-max(1, lines) :]) + "\n")


def _add_images(app: FastAPI, calls: Calls) -> None:
    shelf = calls.shelf

    @app.put("/datastore/")
    @app.put("/datastore/image")
    @app.delete("/datastore/")
    @app.delete("/datastore/image")
    def change_images() -> None:
        raise InputError("image", "the images that this run began with (data.grow takes new files)", "a change")

    @app.api_route("/datastore/image", methods=["GET", "HEAD"])
    def image(image: str) -> Response:
        data, name = shelf.image(image)
        return file_of(data, name, "image/png" if name.endswith(".png") else "application/gzip")

    @app.get("/datastore/image/info")
    def image_info(image: str) -> dict[str, Any]:
        return shelf.about(image)


def _add_labels(app: FastAPI, calls: Calls) -> None:
    shelf = calls.shelf

    @app.put("/datastore/label")
    def save(image: str, request: Request, body: Body, tag: str = FINAL) -> dict[str, Any]:
        form = forms.read(request.headers.get("content-type", ""), body)
        params = form.params()
        return shelf.answer(image, tag, form.file("label"), params, calls.reader(request, params))

    @app.delete("/datastore/label")
    def withdraw(id: str, request: Request, tag: str = FINAL) -> dict[str, Any]:
        shelf.withdraw(id, tag, calls.reader(request, {}))
        return {}

    @app.get("/datastore/label")
    def label(label: str, tag: str = FINAL) -> Response:
        return file(label, tag)

    @app.head("/datastore/label")
    def has_label(image: str, tag: str = FINAL) -> Response:
        return file(image, tag)

    def file(image: str, tag: str) -> Response:
        said, name = shelf.label(image, tag)
        if isinstance(said, bytes):
            return file_of(said, f"{name}.json", "application/json")
        data, suffix = label_file(said, ".nrrd")
        return file_of(data, name + suffix)

    @app.get("/datastore/label/info")
    def label_info(label: str, tag: str = FINAL) -> dict[str, Any]:
        return shelf.label_info(label, tag)
