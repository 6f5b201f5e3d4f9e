"""What all HTML pages share: one file that loads nothing from anywhere and lets no script run but its own.

A content security policy with the digests of the scripts keeps everything else out, whatever the ids and names from
people's files may hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent


def render(
    template: str,
    values: Mapping[str, object],
    *,
    folder: Path = HERE,
    filters: Mapping[str, Callable[..., object]] | None = None,
    scripts: Sequence[str] = (),
    refresh: int = 0,
) -> str:
    """The page of a template that extends page.html.j2; `folder` holds it and what it includes.

    scripts  further files beside this one, after those of every page; refresh: seconds after which the page loads
             itself anew, 0 for never
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    sources = [(HERE / name).read_text(encoding="utf-8") for name in ("page.js", "charts.js", *scripts)]
    page = {
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "scripts": sources,
        "hashes": [_hash(script) for script in sources],
        "refresh": refresh,
    }
    return environment.get_template(template).render({**values, **page})


def inert(value: object) -> str:
    """A value as JSON for a script element: nothing in it can close the element. Numbers are finite."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
