"""The site of docs/ builds without a warning, shows every verb and public name, and loads nothing from the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import hybrid_al as hal
from hybrid_al.cli import app

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*\b(?:src|href|data)=[\"']?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


@pytest.mark.slow
def test_the_site(site: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert not [path for path, text in pages.items() if LOADED.search(text)]
    assert all("Content-Security-Policy" in text for text in pages.values())
    styles = [
        path
        for path in site.rglob("*.css")
        if re.search(r"(url\([\"']?|@import [\"'])(https?:)?//", path.read_text("utf-8"))
    ]
    assert not styles
    group = typer.main.get_command(app)
    commands, library = pages[site / "reference" / "commands.html"], pages[site / "reference" / "library.html"]
    assert not [verb for verb in group.commands if f'id="{verb}"' not in commands]  # type: ignore[attr-defined]
    public = [name for name in hal.__all__ if name != "__version__"]
    assert not [name for name in public if f'id="hybrid_al.{name}"' not in library]
