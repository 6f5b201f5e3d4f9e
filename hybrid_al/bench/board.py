"""The dashboard of a bench, from its folder alone."""

from __future__ import annotations

from pathlib import Path

from ..core.seals import read_json
from ..errors import InputError
from ..metrics.domains import parted
from ..report.boards import Board, bench_board
from ..track.base import slug
from ..track.wandb import BENCH_FILE, Wandb
from . import results
from .mirror import areas
from .results import Results


def is_bench(folder: Path) -> bool:
    """Whether a folder holds the results of a bench."""
    return (folder / "tables.md").is_file()


def board_of(folder: Path) -> Board:
    """The dashboard of the bench in a folder, in the project that W&B has it in; else in the default one.

    Error where no variant has a finished cell.
    """
    variants: dict[str, Results] = {}
    for file in sorted(folder.glob("*.csv")):
        variants[file.stem] = results.read(file)
    metric = _metric(variants)
    if metric is None:
        raise InputError(folder, "the folder of a bench with a finished cell", "none")
    text = (folder / "tables.md").read_text(encoding="utf-8")
    sections = [section.splitlines() for section in f"\n{text}".split("\n### ")[1:]]
    tables = [slug(title) for title, *lines in sections if any(line.startswith("| ") for line in lines)]
    summary = areas({name: cells for name, cells in variants.items() if cells.cells}, metric)
    file = folder / BENCH_FILE
    place = read_json(file) if file.is_file() else {}
    name, project, entity = place.get("name") or folder.name, place.get("project"), place.get("entity")
    return bench_board(name, summary, tables, project=project or Wandb().project, entity=entity or "")


def _metric(variants: dict[str, Results]) -> str | None:
    """The first metric of a test split: any will do, as the names that a dashboard has do not depend on it."""
    rows = (row for cells in variants.values() for rows in cells.cells.values() for row in rows)
    return next((row.metric for row in rows if parted(row.metric)[1].startswith("test/")), None)
