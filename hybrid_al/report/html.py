"""What all HTML pages share: one file that loads nothing from anywhere and lets no script run but its own two.

plotly.js is inside the page once; a content security policy with the digests of the scripts keeps everything else
out, whatever the ids and names from people's files may hold.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent


def render(
    template: str, values: Mapping[str, object], *, folder: Path = HERE, filters: Mapping[str, Callable[..., object]]
) -> str:
    """The page of a template that extends page.html.j2; `folder` holds it and what it includes."""
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    plotly, (script, style) = (
        get_plotlyjs(),
        ((HERE / name).read_text(encoding="utf-8") for name in ("report.js.j2", "report.css.j2")),
    )
    hashes = [_hash(plotly), _hash(script)]
    return environment.get_template(template).render(
        {**values, "plotly": plotly, "script": script, "style": style, "hashes": hashes}
    )


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
