"""The files of this program: a CSV of classes or boxes, and a folder of masks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ...core.types import AnnotationKind
from ...data.answers import file_name, to_png
from ..base import NONE, SEPARATOR
from ..boxes import COLUMNS
from .base import BOXES, DENSE, WORDS, Asked, Given, Sheet, write_images
from .content import Content

PROPOSALS = "proposals"


class Csv:
    """A table to fill in; what comes back is read by the inbox of the run."""

    TOOL: ClassVar[str] = "a spreadsheet"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = (*WORDS, *BOXES)
    STEPS: ClassVar[tuple[str, ...]] = ("fill in labels.csv, whose images are in images/",)

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`: nothing, the inbox looks itself."""
        return False

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`; proposals of the model are in a column or file of their own, which is not read."""
        write_images(sheet, folder, lambda item: file_name(item.index))
        if sheet.kind == "box":
            rows = [
                (file_name(item.index), name, *edges)
                for item in sheet.items
                for name, edges in (item.proposal.boxes if item.proposal else ())
            ]
            _table(folder / "labels.csv", COLUMNS, [])
            _table(folder / f"{PROPOSALS}.csv", COLUMNS, rows)
            return
        words = [SEPARATOR.join(item.proposal.words) or NONE if item.proposal else "" for item in sheet.items]
        named = [(item.id, f"images/{file_name(item.index)}", item.reason, word, "")
                 for item, word in zip(sheet.items, words, strict=True)]  # fmt: skip
        _table(folder / "labels.csv", ("id", "image", "reason", "proposed", "label"), named)

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`: nothing, the inbox reads."""
        return ()


class Folder:
    """Images to draw masks of the same names for; what comes back is read by the inbox of the run."""

    TOOL: ClassVar[str] = "a program for images"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = DENSE
    STEPS: ClassVar[tuple[str, ...]] = (
        "draw a mask of the same name and size for each image in images/, into a folder of masks",
        "values.json says which value is which class",
    )

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`: nothing, the inbox looks itself."""
        return False

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`: nothing, the inbox reads."""
        return ()

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`."""
        write_images(sheet, folder, lambda item: file_name(item.index))
        (folder / "values.json").write_text(json.dumps(sheet.values, indent=1, ensure_ascii=False), encoding="utf-8")
        values = {name: int(value) for value, name in sheet.values.items()}
        for item in sheet.items:
            if item.proposal is not None and item.proposal.labels is not None:
                labels = item.proposal.labels.copy()
                for number, name in enumerate(sheet.classes):
                    labels[item.proposal.labels == number] = values[name]
                (folder / PROPOSALS).mkdir(exist_ok=True)
                (folder / PROPOSALS / file_name(item.index)).write_bytes(to_png(labels))


def _table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([columns, *rows])
    path.write_text(out.getvalue(), encoding="utf-8")
