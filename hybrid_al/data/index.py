"""Findings about files, by path, size and times: a file that has not changed is not read again."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..core.files import write_atomic
from ..errors import HybridALError
from .paths import regular

T = TypeVar("T")
SETTLED = 2_000_000_000
"""Nanoseconds since the last change of a file before its times are trusted: clocks of file systems are coarse."""


class FileIndex:
    """Findings of sources about files, in one file of its own; without a path they are in memory only.

    A finding is valid while the file has the same size, time of change (mtime) and time of change of its entry (ctime,
    which no copying tool can set back). A finding is the digest of the content, which is the key of all caches: a
    change that this index does not notice gives an old digest, never data under the wrong digest.

    workers  threads that may look at files
    """

    def __init__(self, path: Path | None = None, workers: int = 1) -> None:
        self.path, self.workers, self._changed = path, workers, False
        self._findings: dict[str, list[Any]] = {} if path is None else _read(path)

    def look(self, file: Path, how: str, find: Callable[[], T]) -> T:
        """The finding of `find()` about a file, from the index where it is valid there; of JSON types (no tuples).

        how  names all else that the finding depends on, such as the reader's version. Errors of `find` pass through and
             are not kept; those of `regular` come first.
        """
        state = regular(file)
        stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        key = f"{file.absolute()}\x1f{how}"
        entry = self._findings.get(key)
        if entry is not None and entry[0] == stamp:
            finding: T = entry[1]
            return finding
        finding = find()
        if time.time_ns() - max(stamp[1:]) > SETTLED:
            self._findings[key], self._changed = [stamp, finding], True
        return finding

    def save(self) -> None:
        """Write the file where there are new findings; a place that cannot be written to costs time alone."""
        if self.path is not None and self._changed:
            text = json.dumps(self._findings)
            try:
                write_atomic(self.path, f"{_digest(text)}\n{text}")
            except (HybridALError, OSError) as error:
                print(f"{error}; the next call reads the files of the data again", file=sys.stderr)
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
    findings: dict[str, list[Any]] = json.loads(text)
    return findings


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
