"""A file or folder that a person hands in, looked at once by all formats."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...data.drawn.base import parse_json
from ...data.sheets import EXCEL, LINES
from ...errors import InputError, reading

HEAD = 600  # bytes, by which formats know their files
MOST = 2**31  # bytes of a file of text
TEXTS = (".json", ".xml", ".geojson")


@dataclass(frozen=True)
class Content:
    """A file or folder; of a .zip with one file of text in it, that file."""

    path: Path

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The files of a folder, without hidden ones, by name; the file itself where it is one."""
        if not self.path.is_dir():
            return (self.path,) if self.path.is_file() else ()
        return tuple(f for f in sorted(self.path.iterdir()) if f.is_file() and not f.name.startswith("."))

    @cached_property
    def heads(self) -> tuple[bytes, ...]:
        """How the files of a folder begin, or the file itself."""
        heads = []
        for file in self.files:
            with file.open("rb") as stream:
                heads.append(stream.read(HEAD))
        return tuple(heads)

    @cached_property
    def text(self) -> bytes:
        """The bytes of a file of text (JSON, XML), out of a .zip too; empty for anything else, as for tables."""
        if not self.path.is_file() or self.path.suffix.lower() in (*EXCEL, *LINES):
            return b""
        if zipfile.is_zipfile(self.path):
            return self._unpacked()
        with self.path.open("rb") as file:
            head = file.read(HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
            if head[:1] not in (b"[", b"{", b"<"):
                return b""
            file.seek(0)
            return file.read(MOST).removeprefix(b"\xef\xbb\xbf")

    def _unpacked(self) -> bytes:
        with reading(self.path, "a whole .zip"), zipfile.ZipFile(self.path) as archive:
            names = [i for i in archive.infolist() if i.filename.lower().endswith(TEXTS) and i.file_size < MOST]
            if len(names) != 1:
                found = ", ".join(i.filename for i in names[:5]) or "none"
                raise InputError(self.path, "a .zip with one file .json or .xml in it", found)
            return archive.read(names[0]).removeprefix(b"\xef\xbb\xbf")

    @cached_property
    def json(self) -> Any:
        """The value of a JSON file, None for another file; InputError for a damaged one."""
        if self.text[:1] not in (b"[", b"{"):
            return None
        return parse_json(self.path, self.text)

    @cached_property
    def xml(self) -> ElementTree.Element | None:
        """The root of an XML file, None for another file; InputError for a damaged one, or with entities."""
        if self.text[:1] != b"<":
            return None
        if b"<!DOCTYPE" in self.text or b"<!ENTITY" in self.text:
            raise InputError(self.path, "XML without a DOCTYPE", "one that has it")
        with reading(self.path, "a whole XML file"):
            return ElementTree.fromstring(self.text)
