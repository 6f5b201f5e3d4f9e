"""Who may call the interface: this machine or an address that was named, with a password where there is one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import HybridALError
from ..oracles.readers import check_reader
from ..page.gate import foreign

PAUSE = 1.0  # seconds after a wrong password
OPEN = ("/auth/", "/auth/token")
"""Paths by which clients learn whether they need a token, and get one."""
READER = "hybrid_al.reader"
"""Key of a request's scope: the reader whose token it has, empty without a password."""


class WrongPassword(HybridALError):
    """Another password than that of the server."""


class Door:
    """Checks where requests come from, and their tokens.

    hosts     addresses that clients may call, with ports; `origins` of pages beside them, as that of OHIF
    password  None lets all of them in
    """

    def __init__(self, hosts: Collection[str], origins: Collection[str] = (), password: str | None = None) -> None:
        self._hosts, self._origins, self._password = hosts, origins, password
        self._readers: dict[str, str] = {}

    @property
    def locked(self) -> bool:
        """Whether a token is needed."""
        return self._password is not None

    def token(self, form: str) -> dict[str, str | None]:
        """A token for the user name and password of a form; WrongPassword, or InputError for a user who is none."""
        fields = {key: values[-1] for key, values in parse_qs(form).items()}
        if self._password is None:
            return {"access_token": None, "token_type": None}
        if not secrets.compare_digest(fields.get("password", "").encode(), self._password.encode()):
            time.sleep(PAUSE)
            raise WrongPassword("another password than that of this server")
        reader, token = check_reader(fields.get("username", "")), secrets.token_urlsafe(32)
        self._readers[token] = reader
        return {"access_token": token, "token_type": "bearer"}

    def guard(self, app: ASGIApp) -> ASGIApp:
        """The app behind the door."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            answer = self._turned_away(scope) if scope["type"] == "http" else None
            await (answer or app)(scope, receive, send)

        return guarded

    def _turned_away(self, scope: Scope) -> ASGIApp | None:
        if said := foreign(scope, self._hosts, self._origins):
            return JSONResponse({"detail": said.strip()}, 403)
        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        scope[READER] = self._readers.get(token.strip(), "") if kind.lower() == "bearer" else ""
        if self._password is None or scope[READER] or scope["path"] in OPEN or scope["method"] == "OPTIONS":
            return None
        return JSONResponse({"detail": "a token is needed: POST /auth/token"}, 401, {"www-authenticate": "Bearer"})
