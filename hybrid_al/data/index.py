"""What was found in files, by path, size and times: a file that has not changed is not read again."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..core.rundir import write_atomic

T = TypeVar("T")
SETTLED = 2_000_000_000
"""Nanoseconds that a file must have lain still before its times are trusted: clocks of file systems are coarse."""


class FileIndex:
    """Findings of sources, kept in one file; without a path nothing is kept.

    A finding is believed while the file has the size, the time of change (mtime) and the time of change of its entry
    (ctime, which no copying tool can set back) that it had. What is found is the digest of the content, and that stays
    the key of everything else: a file that changed unseen would at worst be missed here, never mixed up there.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path, self._changed = path, False
        self._found: dict[str, list[Any]] = {} if path is None else _read(path)

    def look(self, file: Path, how: str, find: Callable[[], T]) -> T:
        """What `find()` says of a file, from the index where it can be; of JSON types (lists, no tuples).

        how  what else decides the finding, such as the reader's version. Errors of `find` pass through, unkept.
        """
        stat = file.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        key = f"{file.absolute()}\x1f{how}"
        kept = self._found.get(key)
        if kept is not None and kept[0] == stamp:
            known: T = kept[1]
            return known
        found = find()
        if time.time_ns() - max(stamp[1:]) > SETTLED:
            self._found[key], self._changed = [stamp, found], True
        return found

    def save(self) -> None:
        """Write what is new."""
        if self.path is not None and self._changed:
            text = json.dumps(self._found)
            write_atomic(self.path, f"{_digest(text)}\n{text}")
            self._changed = False


def _read(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        return {}
    try:
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
    except UnicodeDecodeError:
        digest = text = ""
    if digest != _digest(text):
        print(f"{path}: damaged; the files of the data are read again", file=sys.stderr)
        return {}
    found: dict[str, list[Any]] = json.loads(text)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
