"""The commands of the pages about picks, predictions and exports run as they stand there."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.cli import main
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of

DOCS = Path(__file__).parents[2] / "docs"


def commands_of(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["picks.md", "after_the_labels.md"])
def test_they_run_in_their_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("scans" if page == "picks.md" else "new_scans")
    folder.mkdir()
    for i in range(80):
        Image.fromarray(np.full((16, 16), 3 * i, dtype=np.uint8)).save(folder / f"{i:02d}.png")
    Path("labels.csv").write_text("id,label\n00.png,a\n40.png,b\n", encoding="utf-8")
    if page == "after_the_labels.md":
        play(Path("runs/mine-s0"), recipe_of("classification", learner="frozen", name="mine"))
    commands = commands_of(page)
    assert len(commands) == 3
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "hybrid-al"
        main_or_exit(arguments)
        out = next((Path(b) for a, b in pairwise(arguments) if a == "-o"), Path("scans-picks"))
        assert out.exists(), command


def main_or_exit(arguments: list[str]) -> None:
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, arguments
