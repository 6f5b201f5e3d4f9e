"""Who is let in to the page: nobody without its link, no other host or origin; nothing is loaded from afar."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hybrid_al.errors import InputError
from hybrid_al.page import server
from hybrid_al.page.app import STATIC, Page, create_app
from hybrid_al.page.desk import Desk
from hybrid_al.page.gate import Gate
from hybrid_al.page.training import Training
from tests.helpers.label_page import PORT, MadeUp, client_of, open_run, submission

HOME = f"http://127.0.0.1:{PORT}"
PATHS = ["/", "/static/app.js", "/api/state", "/image/0.png", "/thumbnail/0.jpg", "/drawn/0"]


def test_a_link_opens_once(tmp_path: Path) -> None:
    run, links = open_run(tmp_path / "run"), list[str]()

    def say(link: str) -> None:
        links.append(link)
        raise BrokenPipeError  # as `| head -1` leaves it

    gate = Gate(PORT, say)
    page = Page(Desk(run, reader=None, size=MadeUp().size), MadeUp(), Training(run), trains=False)
    app, link = create_app(page, gate), gate.link
    first, second = (TestClient(app, base_url=HOME) for _ in range(2))
    for path in PATHS:
        assert first.get(path).status_code == 403
    assert first.get("/?token=wrong").status_code == first.get("/?token=").status_code == 403
    assert first.get(link).status_code == 200
    assert all(first.get(path).status_code in (200, 204) for path in PATHS)
    assert second.get(link).status_code == 403
    assert links == [gate.link] and second.get(gate.link).status_code == 200
    cookie = first.cookies.get(f"hybrid_al_{PORT}")
    assert cookie and cookie not in link


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": f"evil.example:{PORT}"},
        {"host": "127.0.0.1:80"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:80"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_other_hosts_and_origins_are_turned_away(tmp_path: Path, headers: dict[str, str]) -> None:
    run = open_run(tmp_path / "run")
    with client_of(run) as client:
        assert client.post("/api/answer", json=submission("first"), headers=headers).status_code == 403
        assert client.get("/api/state", headers=headers).status_code == 403
        assert client.post("/api/answer", json=submission("first"), headers={"origin": HOME}).status_code == 200


def test_paths_that_are_none(tmp_path: Path) -> None:
    with client_of(open_run(tmp_path / "run")) as client:
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/docs", "/openapi.json", "/image/x.png"):
            assert client.get(path).status_code in (404, 422)
        policy = client.get("/").headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy


def test_static_files_load_nothing_from_afar_and_are_short() -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org)[a-z]+\.", text), file
        assert len(text.splitlines()) <= 300, file
        assert "innerHTML" not in text


def test_a_port_that_is_taken_and_a_bad_name_are_one_line(tmp_path: Path) -> None:
    taken = server.listener_on(0)
    with pytest.raises(InputError, match="--port: expected a free port"), taken:
        server.listener_on(taken.getsockname()[1])
    with pytest.raises(InputError, match="a name of 1 to 60"):
        Desk(open_run(tmp_path / "run"), reader="\t", size=MadeUp().size)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'hybrid-al\[page\]'"):
        server.check_extra("label")
