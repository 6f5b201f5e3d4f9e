"""Readers by name; adding one = one file, one line here. Which of them a file gets: by its content, then its suffix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...core.registry import component
from ...errors import InputError
from ..pixels import Window
from .arrays import Arrays
from .base import Reader
from .images import Images
from .volumes import Volumes

READERS: dict[str, type[Reader]] = {
    "arrays": Arrays,
    "images": Images,
    "volumes": Volumes,
}
AUTO = "auto"
CONTAINERS = frozenset({"arrays"})
"""Readers of files that are seldom images where they lie beside some: folders leave them, unless they are named."""

HEAD = 4096  # bytes of a file that are looked at


@dataclass(frozen=True)
class Choice:
    """The readers that files may get, by name: one alone, or of several the one whose kind a file is."""

    members: Mapping[str, Reader]

    def name(self, file: Path) -> str:
        """Which of them a file gets; OSError or ValueError with the reason where it gets none."""
        if len(self.members) == 1:
            return next(iter(self.members))
        with file.open("rb") as opened:
            head = opened.read(HEAD)
        for name, reader in self.members.items():
            if reader.claims(head):
                return name
        for name, reader in self.members.items():
            if file.name.lower().endswith(reader.SUFFIXES):
                return name
        raise ValueError(f"a file of no known kind ({', '.join(self.members)}): data.reader would name one")

    @cached_property
    def for_masks(self) -> Choice:
        """The readers that masks may get: all kinds, and those of the images with the same settings."""
        return Choice({**self.members, **{k: kind() for k, kind in READERS.items() if k not in self.members}})

    def of(self, file: Path) -> Reader:
        """The reader that a file gets; raises as `name`."""
        return self.members[self.name(file)]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes that a folder is searched for, sorted."""
        several = len(self.members) > 1
        named = (reader for name, reader in self.members.items() if not (several and name in CONTAINERS))
        return tuple(sorted({suffix for reader in named for suffix in reader.SUFFIXES}))

    def stem(self, path: str) -> str:
        """A path without the suffix of a reader; the path itself where it has none."""
        fitting = [suffix for suffix in self.suffixes if path.lower().endswith(suffix)]
        return path[: -max(map(len, fitting))] if fitting else path

    def __str__(self) -> str:
        """All that decides what is decoded, besides the files."""
        return "; ".join(f"{name} {identity(reader)}" for name, reader in self.members.items())


def choose(reader: str | Mapping[str, object] = AUTO, window: Window | None = None) -> Choice:
    """The readers that a recipe says (`data.reader`).

    auto, all of the registry; a name of it, or `my_pkg.my_mod:Mine` from outside; or a mapping of `name` and the keys
    that this reader has: {name: volumes, axis: coronal}. A window goes to each of them.
    """
    keys: dict[str, object] = dict(reader) if isinstance(reader, Mapping) else {"name": reader}
    name = keys.pop("name", AUTO)
    if not isinstance(name, str) or (name == AUTO and keys):
        raise InputError("data.reader", "a name, or a mapping of a name and the keys of this reader", str(reader))
    if window is not None:
        keys["window"] = window
    names = list(READERS) if name == AUTO else [name]
    return Choice({name: component(READERS, "data.reader", name, keys) for name in names})


def identity(reader: Reader) -> str:
    """What a reader is in digests: its version and its settings."""
    return f"{reader.VERSION} {reader!r}"
