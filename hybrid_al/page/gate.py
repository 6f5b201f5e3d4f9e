"""Who may talk to the page: whoever opened the link that was printed, from the page itself, on this machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
CLOSED = "Open the link that hybrid-al label printed last in the terminal: each opens this page once.\n"


def foreign(scope: Scope, hosts: Collection[str], origins: Collection[str] = ()) -> str:
    """Why a request may not pass: it names none of `hosts`, or comes from a page of neither these nor `origins`."""
    headers = Headers(scope=scope)
    if headers.get("host") not in hosts:
        return "Expected the address that was printed, got another host.\n"
    origin = headers.get("origin")
    if origin is not None and origin not in {*origins, *(f"http://{host}" for host in hosts)}:
        return "Expected a request of this page, got one of another origin.\n"
    if origin is None and headers.get("sec-fetch-site") == "cross-site" and scope["path"] != "/":
        return "Expected a request of this page, got one of another site.\n"
    return ""


class Gate:
    """Links and sessions of one server on `port`; `say` gets the next link when one was used."""

    def __init__(self, port: int, say: Callable[[str], None] = lambda _: None) -> None:
        self._port, self._say = port, say
        self._cookie = f"hybrid_al_{port}"
        self._sessions: set[str] = set()
        self._token = secrets.token_urlsafe(24)

    @property
    def link(self) -> str:
        """The address that opens the page, once."""
        return f"http://127.0.0.1:{self._port}/?token={self._token}"

    def guard(self, app: ASGIApp) -> ASGIApp:
        """The app behind the gate."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).update(HEADERS)
                await send(message)

            answer = self._turned_away(scope) or app
            await answer(scope, receive, send_with_headers)

        return guarded

    def _turned_away(self, scope: Scope) -> ASGIApp | None:
        """The response to a request that may not pass; None for one that may."""
        if said := foreign(scope, (f"127.0.0.1:{self._port}", f"localhost:{self._port}")):
            return PlainTextResponse(said, 403)
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and token and secrets.compare_digest(token.encode(), self._token.encode()):
            return self._open()
        if self._session(Request(scope)) in self._sessions:
            return None
        return PlainTextResponse(CLOSED, 403)

    def _session(self, request: Request) -> str:
        try:
            morsel = SimpleCookie(request.headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""

    def _open(self) -> ASGIApp:
        """Use the link up: a session for whoever had it, and the next link."""
        session, self._token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._sessions.add(session)
        with suppress(OSError):  # nobody may read on what is printed, and the link is used up
            self._say(self.link)
        response = RedirectResponse("/", 303)
        response.set_cookie(self._cookie, session, httponly=True, samesite="strict")
        return response
