"""What the routes share: the body of a request, who sends it, files in answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from ..errors import InputError
from ..oracles.readers import check_reader
from ..page.app import Page
from . import forms
from .door import READER, Door
from .sessions import Sessions
from .shelf import Shelf


async def _body(request: Request) -> bytes:
    """The bytes of a request; InputError for too many."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > forms.MOST:
            raise InputError("request", f"at most {forms.MOST // 2**20} MB", "more")
    return bytes(body)


Body = Annotated[bytes, Depends(_body)]


@dataclass(frozen=True)
class Calls:
    """What a server answers with, and who calls it."""

    shelf: Shelf
    page: Page
    door: Door
    sessions: Sessions

    def client(self, request: Request, params: dict[str, Any]) -> str:
        """Who sends a request, as far as one knows: the reader of the server, of the token, or what the client says."""
        return self.page.desk.reader or request.scope[READER] or str(params.get("client_id") or "")

    def reader(self, request: Request, params: dict[str, Any]) -> str:
        """Who answers; InputError where nobody says it."""
        if name := self.client(request, params):
            return check_reader(name)
        raise InputError("reader", "a name: client_id in params, a token, or hybrid-al serve --reader NAME", "none")


def file_of(data: bytes, name: str, kind: str = "application/octet-stream") -> Response:
    """A file that clients save under `name`."""
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
