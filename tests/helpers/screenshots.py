"""Pictures of the report for docs/, of runs that are played where they are not there yet.

python -m tests.helpers.screenshots [FOLDER OF RUNS]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Literal

from PIL import Image

from hybrid_al.report.overview import write_reports
from tests.helpers.browser import PHONE, chromium, visit
from tests.helpers.command import call

DOCS = Path(__file__).parents[2] / "docs"
SIZE = (1200, 900)
COLORS = 96  # of a picture, which keeps it below 200 KB
RUNS = {
    "classes": ["quickstart"],
    "masks": ["segment", "data.n_pool=150", "loop.budgets=[5, 5, 5, 10]", "pretrain.epochs=2", "train.steps=60"],
}
SHOTS: tuple[tuple[str, str, str, tuple[int, int], Literal["light", "dark"]], ...] = (
    ("report_wide.png", "classes", "", SIZE, "light"),
    ("report_dark.png", "classes", "#bought", SIZE, "dark"),
    ("report_phone.png", "classes", "#wrong", PHONE, "light"),
    ("report_masks.png", "masks", "#asked", SIZE, "light"),
    ("report_wrong.png", "masks", "#wrong", SIZE, "light"),
)
"""(file, run, place on the page, window, theme)."""


def shoot(runs: Path, docs: Path = DOCS) -> None:
    """Play what is not there yet, write its report, and take the pictures."""
    pages = {}
    for name, (recipe, *overrides) in RUNS.items():
        if not (runs / name / "run.json").is_file():
            call("run", recipe, *overrides, "--run-dir", runs / name)
        pages[name] = write_reports([runs / name], runs / f"{name}-report")
    with chromium() as browser:
        for file, run, place, size, theme in SHOTS:
            page = visit(browser, pages[run], size, theme).page
            if place:
                page.evaluate("(place) => document.querySelector(place).scrollIntoView()", place)
            page.wait_for_timeout(300)
            with Image.open(io.BytesIO(page.screenshot())) as shot:
                shot.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(docs / file, optimize=True)
            print(f"{docs / file}: {(docs / file).stat().st_size // 1024} KB")
            page.close()


if __name__ == "__main__":
    shoot(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/screenshots"))
