"""Which column of a table names the images, and how: as a path, or as a name without folder or suffix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from os.path import commonpath
from pathlib import Path, PurePosixPath

from ..paths import is_file
from ..readers import Choice
from ..words import normal, plain
from .names import COLUMNS, IMAGE_FOLDERS
from .tree import READERS, SAMPLED, spread

UNSAFE = re.compile(r"[{}\[\].!:]|^\d+$")  # what the name of a column in a template may not have
ENOUGH = 0.5  # of the cells must name files


@dataclass(frozen=True)
class Place:
    """Files whose path is a folder, the cell of a column, and a suffix.

    folders  relative to the table; several where each file lies in one of them
    outside  a folder beyond that of the table, to which the cells are relative; None for the usual place
    rivals   other folders in which files of the same names lie
    """

    column: str
    folders: tuple[str, ...]
    suffix: str
    outside: Path | None = None
    rivals: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The one folder, or a pattern with * for all of them."""
        parts = zip(*(folder.split("/") for folder in self.folders), strict=True)
        return "/".join(map(_pattern, parts))

    @property
    def template(self) -> str:
        """The value of `columns.path`, relative to the folder of the table."""
        return self.within(f"{self.folder}/" if self.folder else "")

    def within(self, folder: str) -> str:
        """The same with another text in the place of the folder."""
        return self.column if not folder and not self.suffix else f"{folder}{{{self.column}}}{self.suffix}"

    def file(self, cell: str, files: Iterable[str]) -> str:
        """The file of a cell among `files` in the Unicode form NFC, or the path that it would have."""
        options = [_join(folder, cell + self.suffix) for folder in self.folders]
        return next((option for option in options if option in files), options[0])


def find_place(
    header: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    files: Sequence[str],
    readers: Choice = READERS,
) -> Place | None:
    """The column that names most of the files; None where no column names files for half of its cells.

    files  in the Unicode form NFC
    """
    names: dict[str, list[str]] = {}
    for file in files:
        names.setdefault(PurePosixPath(file).name, []).append(file)
    suffixes = sorted({file[len(readers.stem(file)) :] for file in files})
    best: tuple[int, Place] | None = None
    for column in by_name(header, "path"):
        cells = [cell for row in spread(rows) if (cell := _clean(row[column]))]
        for suffix in ("", *suffixes):
            if suffix and (len(set(cells)) < len(cells) or UNSAFE.search(column)):
                continue
            place, hits = _place(column, suffix, cells, names)
            if place and place.folders != ("",) and len(set(cells)) < len(cells):
                continue  # the same names in several folders, of which the table says none
            if place and hits >= ENOUGH * min(len(rows), SAMPLED) and (best is None or hits > best[0]):
                best = hits, place
    return best[1] if best else None


def find_outside(header: Sequence[str], rows: Sequence[Mapping[str, str]], folder: Path) -> Place | None:
    """A column of paths that are absolute, or relative to a folder above that of the table."""
    for column in by_name(header, "path"):
        cells = [cell for row in spread(rows) if (cell := row[column].strip())]
        for base in (folder, folder.parent, folder.parent.parent):
            paths = [base / cell for cell in cells if READERS.stem(cell) != cell and is_file(base / cell)]
            if paths and len(paths) >= ENOUGH * min(len(rows), SAMPLED):
                absolute = all(Path(cell).is_absolute() for cell in cells)
                common = Path(commonpath([path.parent for path in paths])) if absolute else base
                return Place(column, ("",), "", common)
    return None


def by_name(header: Sequence[str], role: str) -> list[str]:
    """All columns, those whose names say a role first, best first."""
    names = COLUMNS[role]
    return sorted(header, key=lambda column: names.index(plain(column)) if plain(column) in names else len(names))


def _place(column: str, suffix: str, cells: Sequence[str], names: Mapping[str, list[str]]) -> tuple[Place | None, int]:
    """The place of the files that cells name with a suffix, and how many do."""
    fits: list[list[str]] = []
    for cell in cells:
        path = cell + suffix
        files = [f for f in names.get(PurePosixPath(path).name, ()) if f == path or f.endswith(f"/{path}")]
        fits.append([file[: len(file) - len(path)].rstrip("/") for file in files])
    counts = Counter(folder for folders in fits for folder in folders)
    hits = sum(map(bool, fits))
    if not counts:
        return None, 0
    whole = sorted((folder for folder, count in counts.items() if count == hits), key=_rank)
    if whole:
        return Place(column, (whole[0],), suffix, rivals=tuple(whole[1:])), hits
    alone = all(len(folders) < 2 for folders in fits) and len({name.count("/") for name in counts}) == 1
    if alone and "" not in counts and not UNSAFE.search(column):
        return Place(column, tuple(sorted(counts)), suffix), hits
    return None, 0  # in some folders more than one file has the name


def _rank(folder: str) -> tuple[bool, str]:
    """Folders that are called images come first."""
    return (plain(PurePosixPath(folder).name) not in IMAGE_FOLDERS, folder)


def _clean(cell: str) -> str:
    """A cell as the path of a file, whichever slashes and Unicode form it has."""
    return normal(cell.strip().replace("\\", "/")).removeprefix("./")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{_clean(name)}" if folder else _clean(name)


def _pattern(names: tuple[str, ...]) -> str:
    """What names have in common, with * between their common start and end."""
    if len(set(names)) == 1:
        return names[0]
    start = _start(names)
    end = _start([name[len(start) :][::-1] for name in names])[::-1]
    return f"{start}*{end}"


def _start(names: Sequence[str]) -> str:
    """The letters with which all names begin."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in same)
