"""Source of a table that lists files, one row a file or a slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...core.registry import Count
from ..base import Dataset
from ..drawn.masks import Outlines, Undrawn
from ..files import files_dataset
from ..index import FileIndex
from ..readers import AUTO, choose
from ..samples import OnError, Unit, check_settings, kept_slices
from ..scaling import Intensity
from ..tables import NONE, Table
from ..words import Mark


@dataclass(frozen=True)
class Csv:
    """Rows of a table that name files: CSV in UTF-8 with commas, semicolons or tabs, Excel (.xlsx), or JSON lines.

    root     the table, or a folder with an index.csv
    sheet    of an Excel file; by default the first. Its cells are texts: leading zeros stay, dates are 2024-01-31
    columns  role -> column: {path: file, label: dx, mask: mask, group: patient, split: split}. A role that is not
             listed has the column of its own name, where the table has one; path and group also that of another usual
             name (file, image, ...; patient, subject, ...). "none" says that no column has the role.
             path (and mask) may be a template of columns: "{split}/{file}.jpg"; in that of path, * stands for any part
             of a name, where one file fits: "part_*/{id}.jpg". A file of several slices gives a sample
             for each, with the row's label; with {slice: z} a row is one slice, and column z has its number from 0
    images   the folder that paths are relative to and may not leave; by default the folder of the CSV
    group    "none", which must be set on purpose, or a column (`columns: {group: ...}` is the same), or a regular
             expression that is searched in a column, without one in the path: {column: Path, pattern: 'patient(\\d+)'};
             or {tag: PatientID}, the value in the header of DICOM files
    domain   the site, device or stain of a sample, said as group is (a column, a pattern, {tag: Manufacturer}); "" none
    classes  names or number of the classes; by default the values of the label column, sorted. Labels are names of the
             list, or numbers from 0
    labels   columns of 0 or 1 (or 0.0 and 1.0), of a task with several labels a sample; their names are the classes
    separator  what stands between several labels in the label column: "|" in "Edema|Mass"; `classes` are their names
    none     the text in that column that means none of the labels, such as "No Finding"
    empty    what an empty cell in `labels` means: -1 unknown, or 0 not there
    unknown  texts that mean not labeled: [NA, "?"]. An empty cell does (`empty`), and -1 where labels are numbers
    holdout  {val: f, test: f}, shares to draw where the table has no such split; `seed` fixes the draw
    on_error stop | skip, see `files.files_dataset`
    reader   reader of the files, see `readers.choose`; auto chooses by content and suffix
    window   [low, high] of the values that become 0 and 1, or a rule, see `Folder`
    sample, slices   see `Folder`

    With a mask column and no label column the classes are those of the pixels, the background first; an empty cell is
    an unknown mask. `mask_values: {0: background, 255: nucleus, 128: ignore}` names the class of each value in the
    files; by default values are the numbers of the classes. A mask may be a file of outlines, .geojson of QuPath or
    .json of COCO; for these, `mask_names` and `undrawn` see `Folder`. A sample's id is its path as in the table; that
    of a slice has `#` and the number behind it.
    """

    root: Path
    columns: Mapping[str, str]
    images: Path | None = None
    group: str | Mapping[str, str] = ""
    classes: int | Sequence[str] | None = None
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    reader: str | Mapping[str, object] = AUTO
    window: Intensity | None = None
    mask_values: Mapping[int, str] = field(default_factory=dict)
    mask_names: Mapping[str, str] = field(default_factory=dict)
    undrawn: Undrawn = "background"
    labels: Sequence[str] = ()
    unknown: Sequence[Mark] = ()
    empty: Literal[-1, 0] = -1
    separator: str = ""
    none: str = ""
    sheet: str = ""
    domain: str | Mapping[str, str] = ""
    sample: Unit = "slice"
    slices: Count | None = None

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Read the table and look at its files; rows keep the order of the table."""
        check_settings(self.window, self.on_error)
        table = Table(
            self.root,
            self.columns,
            self.images,
            self.group,
            self.classes,
            self.labels,
            unknown=self.unknown,
            empty=self.empty,
            separator=self.separator,
            none=self.none,
            sheet=self.sheet,
            domain=self.domain,
        )
        images, classes, samples = table.find()
        masked = self.columns.get("mask", NONE) != NONE or any(sample.mask for sample in samples)
        return files_dataset(
            images,
            samples,
            choose(self.reader, self.window),
            classes=classes,
            holdout=self.holdout,
            seed=self.seed,
            on_error=self.on_error,
            index=index,
            slices=kept_slices(self.sample, self.slices),
            values=self.mask_values if masked else None,
            outlines=Outlines(self.mask_names, self.undrawn),
        )
