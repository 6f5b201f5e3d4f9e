"""Source of a folder of files: its sub-folders are the classes, or the splits with the classes below them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...errors import InputError, UnknownName
from ..base import Dataset
from ..files import files_dataset
from ..folders import find_images, find_masks, ignored_files
from ..index import FileIndex
from ..pixels import Window
from ..readers import AUTO, choose
from ..samples import OnError, Sample, check_settings


@dataclass(frozen=True)
class Folder:
    """Images, or volumes whose slices are samples, at root/<class>/..., root/<split>/<class>/..., or without classes.

    root     the folder; where all its sub-folders are called train, val, test or the like, they are the splits
    group    "none", which must be set on purpose, or a regular expression that is searched in the path below root: its
             first group, or else the whole match, names the patient, volume or slide
    labels   "folders": the first folder below root (or the split) is the class; images beside the class folders are
             unlabeled. "none": no folder is a class, all images are unlabeled
    classes  names of the classes in the order of their numbers: of the class folders (by default sorted), or, where all
             images are unlabeled, of the classes that an annotator may give
    holdout  {val: f, test: f}, shares to draw where the data has no such split; `seed` fixes the draw
    on_error stop | skip, see `files.files_dataset`
    reader   reader of the files, see `readers.choose`; auto chooses by content and suffix
    window   [low, high] of the values that become 0 and 1
    masks    a folder of masks, each at the path of its image but for the suffix; images without one are unlabeled. Then
             `classes` are those of the pixels, the background first, and no folder is a class
    mask_values   see `Csv`

    Hidden files and files without the suffix of a reader are ignored, and counted (`Dataset.notes`). A sample's id is
    its path below root. A volume gives a sample for each slice, with the volume's class and group; its id is the path,
    `#` and the number.
    """

    root: Path
    group: str = ""
    labels: Literal["folders", "none"] = "folders"
    classes: Sequence[str] | None = None
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
    reader: str | Mapping[str, object] = AUTO
    window: Window | None = None
    masks: Path | None = None
    mask_values: Mapping[int, str] = field(default_factory=dict)

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Look at the folder; rows are sorted by path."""
        root = Path(self.root).resolve()
        if not root.is_dir():
            raise InputError(f"data.root: {self.root}", "a folder", "a file" if root.exists() else "nothing there")
        check_settings(self.window, self.on_error, self.group, "a regular expression on the path")
        group = _grouping(self.group)
        readers = choose(self.reader, self.window)
        entries = find_images(root, "none" if self.masks else self.labels, readers)
        folders = sorted({name for _, _, name in entries if name is not None})
        classes = tuple(folders if self.classes is None else self.classes)
        for name in folders:
            if name not in classes:
                raise UnknownName(f"class folder of {root}", name, classes)
        number = {name: i for i, name in enumerate(classes)}
        paths = [path for path, _, _ in entries]
        masks, notes = dict[str, str](), ignored_files(root, readers.suffixes)
        if self.masks:
            masks = find_masks(Path(self.masks).resolve(), paths, readers)
            notes += ignored_files(Path(self.masks).resolve(), readers.for_masks.suffixes)
        samples = [
            Sample(path, path, group(path), split, -1 if name is None else number[name], mask=masks.get(path, ""))
            for path, split, name in entries
        ]
        return files_dataset(
            root,
            samples,
            readers,
            classes=classes,
            holdout=self.holdout,
            seed=self.seed,
            on_error=self.on_error,
            index=index,
            values=self.mask_values if self.masks else None,
            notes=notes,
        )


def _grouping(group: str) -> Callable[[str], str]:
    """Path below root -> group."""
    if group == "none":
        return str
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise InputError("data.group", "a regular expression", f"{group!r} ({error})") from error

    def group_of(path: str) -> str:
        match = pattern.search(path)
        name = match and match.group(1 if pattern.groups else 0)
        if not name:
            raise InputError(f"data.group: {path}", f"a path in which {group!r} finds a group", "no match")
        return name

    return group_of
