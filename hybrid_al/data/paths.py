"""Paths that the cells of a table name: templates of columns, files below a folder, and the groups found in them."""

from __future__ import annotations

import glob
import os
import re
import stat
import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import InputError


def template_columns(where: str, text: str) -> list[str]:
    """The columns that a template names; a text without braces names itself."""
    return [text] if "{" not in text else list(_fields(where, text))


def fill(template: str, row: Mapping[str, str]) -> str:
    """The text of a column, or of a template of columns, in one row."""
    return (template.format_map(row) if "{" in template else row[template]).strip()


def search(images: Path, where: str, template: str, row: Mapping[str, str]) -> str:
    """The path that a template names; where it has a *, as in part_*/{id}.jpg, that of the one file that fits."""
    if "{" not in template or "*" not in template:
        return fill(template, row)
    pattern = fill(template, {name: glob.escape(cell.strip()) for name, cell in row.items()}).lstrip("/")
    files = sorted(file.relative_to(images).as_posix() for file in images.glob(pattern))
    if len(files) > 1:
        raise InputError(where, f"one file of the name {pattern}", f"{files[0]} and {files[1]}")
    return files[0] if files else pattern


def _fields(where: str, template: str) -> Iterator[str]:
    try:
        for _, name, spec, conversion in string.Formatter().parse(template):
            if name is not None:
                if spec or conversion:
                    raise ValueError("a format in the braces")
                yield name
    except ValueError as error:
        raise InputError(where, "a column, or a template such as {split}/{file}", f"{template!r} ({error})") from error


def below(images: Path, where: str, text: str) -> tuple[str, str, Path]:
    """The name that a text gives a file, its path relative to `images`, and the file that it leads to.

    The path has the Unicode form that the file has, and / where the text has the \\ of Windows and that is no file.
    """
    if not text:
        raise InputError(where, "a path", "an empty cell")
    try:
        name = text if (images / text).exists() else _other_name(images, text)
        path = next((form for form in _forms(name) if (images / form).exists()), name)
        file = (images / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(where, "a path", f"{text!r} ({error})") from error
    if not file.is_relative_to(images) or file == images:
        leads = f", which leads to {file}" if (images / path).exists() else ""
        raise InputError(where, f"a path below {images}, links as well", f"{text!r}{leads}")
    if Path(text).is_absolute():
        relative = file.relative_to(images).as_posix()
        return relative, relative, file
    return Path(name).as_posix(), Path(path).as_posix(), file


def regular(file: Path) -> os.stat_result:
    """What the system says of a file; ValueError where it is a FIFO, a socket or a device, of which no end may come.

    OSError where nothing is there. Folders pass.
    """
    state = file.stat()
    if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
        raise ValueError("a FIFO, a socket or a device, and no file")
    return state


def is_file(path: Path | str) -> bool:
    """Whether there is such a file; no as well where the text could name none, as one that is too long."""
    with suppress(OSError, ValueError):
        return Path(path).is_file()
    return False


def _other_name(images: Path, text: str) -> str:
    slashed = text.replace("\\", "/")
    return slashed if any((images / form).exists() for form in _forms(slashed)) else text


def _forms(text: str) -> list[str]:
    return [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]


def grouping(pattern: str, kind: str = "path", key: str = "data.group") -> Callable[[str, str], str]:
    """(place for errors, text) -> what a regular expression finds in the text: its first group, or all of the match."""
    what = key.rpartition(".")[2]
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise InputError(key, "a regular expression", f"{pattern!r} ({error})") from error

    def group_of(where: str, text: str) -> str:
        match = regex.search(text)
        name = match and match.group(1 if regex.groups else 0)
        if not name:
            raise InputError(where, f"a {kind} in which {pattern!r} finds a {what}", repr(text))
        return name

    return group_of
