"""Readers by name, and the choice of one for a file by its content, then its suffix; a new one = one file, one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ...core.registry import component
from ...errors import InputError
from ..paths import regular
from ..pixels import Window
from ..scaling import Intensity, Scaling
from .arrays import Arrays
from .base import Reader
from .dicom import Dicom
from .images import Images
from .npy import Npy
from .tiffs import Tiffs
from .volumes import AXES, Volumes

READERS: dict[str, type[Reader]] = {
    "arrays": Arrays,
    "dicom": Dicom,
    "images": Images,
    "npy": Npy,
    "tiffs": Tiffs,
    "volumes": Volumes,
}
AUTO = "auto"
CONTAINERS = frozenset({"arrays", "npy"})
"""Readers of files that are rarely images when they lie in a folder of images: folders skip them unless named."""

HEAD = 4096  # first bytes of a file, by which its kind is recognised


@dataclass(frozen=True)
class Choice:
    """Readers by name, of which each file gets one: the only one, or the one for its kind.

    scaling  how the window of each image is found, where the readers have none
    """

    members: Mapping[str, Reader]
    scaling: Scaling | None = None

    def name(self, file: Path) -> str:
        """Name of the reader for a file; OSError or ValueError with the reason where there is none."""
        regular(file)
        if len(self.members) == 1:
            return next(iter(self.members))
        with file.open("rb") as stream:
            head = stream.read(HEAD)
        for name, reader in self.members.items():
            if reader.claims(head):
                return name
        for name, reader in self.members.items():
            if file.name.lower().endswith(reader.SUFFIXES):
                return name
        raise ValueError(f"a file of no known kind ({', '.join(self.members)}): data.reader would name one")

    @cached_property
    def for_masks(self) -> Choice:
        """The readers for masks: all kinds, with the settings of the readers for images."""
        return Choice({**self.members, **{k: kind() for k, kind in READERS.items() if k not in self.members}})

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The kinds of slices that samples are made of, where volumes are read along several axes; else ("",)."""
        several = any(isinstance(reader, Volumes) and reader.axis == "all" for reader in self.members.values())
        return tuple(AXES) if several else ("",)

    def along(self, axis: str) -> Choice:
        """The same readers for one of `axes`."""
        if not axis:
            return self
        return Choice(
            {name: replace(cast(Any, reader), axis=axis) for name, reader in self.members.items()}, self.scaling
        )

    def of(self, file: Path) -> Reader:
        """The reader for a file; raises as `name`."""
        return self.members[self.name(file)]

    def with_window(self, window: Window) -> Choice:
        """The same readers with a window; InputError where one has none."""
        for name, reader in self.members.items():
            if not hasattr(reader, "window"):
                raise InputError("data.window", "readers with a window", name)
        return Choice({name: replace(cast(Any, reader), window=window) for name, reader in self.members.items()})

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes that a folder is searched for, sorted."""
        several = len(self.members) > 1
        readers = (reader for name, reader in self.members.items() if not (several and name in CONTAINERS))
        return tuple(sorted({suffix for reader in readers for suffix in reader.SUFFIXES}))

    def stem(self, path: str) -> str:
        """A path without the suffix of a reader; the path itself where it has none."""
        suffixes = [suffix for suffix in self.suffixes if path.lower().endswith(suffix)]
        return path[: -max(map(len, suffixes))] if suffixes else path

    def __str__(self) -> str:
        """Names, versions and settings of the readers: with the files, they determine the pixels."""
        return "; ".join(f"{name} {identity(reader)}" for name, reader in self.members.items())


def choose(reader: str | Mapping[str, object] = AUTO, window: Intensity | None = None) -> Choice:
    """The readers of a recipe (`data.reader`).

    auto: all of the registry. A name: that reader, or `my_pkg.my_mod:Mine` from outside. A mapping of `name` and the
    keys of the reader: {name: volumes, axis: coronal}. Each of them gets the window, but no `Scaling`.
    """
    keys: dict[str, object] = dict(reader) if isinstance(reader, Mapping) else {"name": reader}
    name = keys.pop("name", AUTO)
    if not isinstance(name, str) or (name == AUTO and keys):
        raise InputError("data.reader", "a name, or a mapping of a name and the keys of this reader", str(reader))
    scaling = window if isinstance(window, Scaling) else None
    if window is not None and scaling is None:
        keys["window"] = window
    names = list(READERS) if name == AUTO else [name]
    return Choice({name: component(READERS, "data.reader", name, keys) for name in names}, scaling)


def identity(reader: Reader) -> str:
    """Text of a reader for digests: its version and its settings."""
    return f"{reader.VERSION} {reader!r}"
