"""What a verb leaves behind for people: a new file or a new folder, whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..core.files import write_atomic
from ..core.temporary import temporary_name
from ..data.readers.volumes import parted
from ..errors import InputError


def check_new(path: Path) -> None:
    """Refuse a path at which something is, or below one where nothing can be made."""
    if path.exists() or path.is_symlink():
        raise InputError(path, "a new folder or file to write to (-o)", "one that exists")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise InputError(path, "a new folder or file to write to (-o)", f"one below {above}, which is no folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(path, "a folder that can be written to (-o)", f"one below {above}, which is read-only")


def check_outside(path: Path, data: Path) -> None:
    """Refuse a place among a person's images, where what is written would be read as images later."""
    if data.is_dir() and data.resolve() in path.resolve().parents:
        raise InputError(path, f"a folder outside the images of {data} (-o)", "one inside")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name `path` at the end of the block; after an error there is none."""
    path = path.absolute()
    check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        check_new(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file (UTF-8), whole or not at all."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomic(path, out.getvalue())


def file_names(ids: Sequence[str], suffix: str) -> list[str]:
    """A file name for each id, below a folder that no name leaves: its own suffix gives way to `suffix`.

    Where two ids would have one name, each keeps its own suffix in front of the new one.
    """
    names = [_inside(sample) for sample in ids]
    short = [f"{_stem(name)}{suffix}" for name in names]
    counts = Counter(name.lower() for name in short)
    unique = [a if counts[a.lower()] == 1 else f"{name}{suffix}" for a, name in zip(short, names, strict=True)]
    if len({name.lower() for name in unique}) == len(unique):
        return unique
    return [f"{i:06d}{suffix}" for i in range(len(ids))]


def _inside(sample: str) -> str:
    parts = [part for part in PurePosixPath(sample.replace("\\", "/")).parts if part not in ("/", "..")]
    return "/".join(parts).replace(":", "_") or "_"


def _stem(name: str) -> str:
    place, _, number = name.rpartition("#")
    file, axis = parted(place)
    if axis is None:
        file, number = (*name.split("#", 1), "")[:2]
    path = PurePosixPath(file)
    stem = path.name.removesuffix(path.suffix).removesuffix(".nii") if path.suffix else path.name
    named = str(path.with_name(stem or path.name)) + (f"_{axis}" if axis else "")
    return named + (f"_{int(number):04d}" if number.isdecimal() else number)
