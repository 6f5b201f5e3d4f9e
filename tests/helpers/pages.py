"""The blocks of code in the README and in docs/, and how a page of them is played.

As a script it plays the tutorial in the current folder and prints what its commands print, to write it there anew:
python -m tests.helpers.pages
"""

from __future__ import annotations

import csv
import re
import shlex
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from hybrid_al.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r'^(?:<!-- (?P<note>[^\n]*) -->\n)?(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its place, its language, and the comment right above it.

    title  the file that a reader saves it as, else ""
    note   "not run: WHY", or "output: WORDS" of the commands above, or "output: illustration"
    """

    page: str
    line: int
    language: str
    title: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return not self.note.startswith("not run: ")

    def commands(self) -> Iterator[list[str]]:
        """The words of each command of a shell block; `$NAME` is 1."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(re.sub(r"\$\w+", "1", line), comments=True):
                yield words


def blocks_of(page: Path) -> list[Block]:
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))
    return [
        Block(
            name,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            match["title"] or "",
            match["note"] or "",
            textwrap.dedent(match["text"]),
        )
        for match in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def play(page: str, names: dict[str, Any], *, shell: bool) -> None:
    """Run the blocks of a page in order, in the current folder; `names` are there for the Python of it.

    A file of answers that a command takes and nobody wrote is filled in from the paths, as a person would.
    """
    names, output = {"__name__": __name__, **names}, ""
    for block in (block for block in BLOCKS if block.page == page and block.runs):
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        if block.note.startswith("output: ") and shell:
            words = block.note.removeprefix("output: ")
            assert words == "illustration" or words in output, f"{block}: {words!r} is not in\n{output}"
        elif block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)
        elif block.language == "sh" and shell:
            output = "".join(_call(block, words[1:]) for words in block.commands() if words[0] == "hybrid-al")


def _call(block: Block, argv: list[str]) -> str:
    """What a command prints; it may end in waiting for a person."""
    if argv[0] == "labels" and not Path(argv[2]).exists():
        _fill_in(Path(argv[1]), Path(argv[2]))
    code, output = 0, StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        try:
            main(argv)
        except SystemExit as end:
            code = int(end.code or 0)
    assert code in (0, 3), f"{block}: {argv} ended with {code}\n{output.getvalue()}"
    print(f"$ hybrid-al {shlex.join(argv)}\n{output.getvalue()}")
    return output.getvalue()


def _fill_in(run: Path, answers: Path) -> None:
    """Answer the last query of a run whose images lie in folders of their classes."""
    with max(run.glob("rounds/*/query.csv")).open(newline="", encoding="utf-8") as file:
        rows = [(row["id"], Path(row["path"]).parent.name) for row in csv.DictReader(file)]
    with answers.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "label"), *rows])


if __name__ == "__main__":
    play("docs/tutorial.md", {}, shell=True)
