"""Source of a folder of images: its sub-folders are the classes, and above them, where there are any, the splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Literal

from ...core.manifest import Split
from ...errors import InputError, UnknownName
from ..base import Dataset
from ..index import FileIndex
from ..readers.images import SUFFIXES, Window
from ..samples import OnError, Sample, check_settings, files_dataset
from ..splits import NAMES


@dataclass(frozen=True)
class Folder:
    """Images at root/<class>/..., root/<split>/<class>/..., or without classes.

    root     the folder; where all its sub-folders are called train, val, test or the like, they are the splits
    group    "none", said on purpose, or a regular expression that is searched in the path below root: its first
             group, or else the whole match, names the patient, volume or slide
    labels   "folders": the first folder below root (or the split) is the class; images beside the class folders are
             unlabeled. "none": no folder is a class, all images are unlabeled
    classes  names of the classes in the order of their numbers: those of the class folders, which are sorted without
             it, or where all images are unlabeled, those that an annotator may give
    holdout  {val: f, test: f}, shares to draw where the data has no such split; `seed` fixes the draw
    on_error stop | skip, see `files_dataset`
    window   [low, high] of the values that become 0 and 1
    masks    a folder of masks, each at the path of its image but for the suffix; images without one are unlabeled. Then
             `classes` name those of the pixels, the background first, and no folder is a class
    mask_values   see `Csv`

    Hidden files and files that are no images are ignored. A sample's id is its path below root.
    """

    root: Path
    group: str = ""
    labels: Literal["folders", "none"] = "folders"
    classes: Sequence[str] | None = None
    holdout: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    on_error: OnError = "stop"
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
        found = find_images(root, "none" if self.masks else self.labels)
        folders = sorted({name for _, _, name in found if name is not None})
        classes = tuple(folders if self.classes is None else self.classes)
        for name in folders:
            if name not in classes:
                raise UnknownName(f"class folder of {root}", name, classes)
        number = {name: i for i, name in enumerate(classes)}
        masks = find_masks(Path(self.masks).resolve(), [path for path, _, _ in found]) if self.masks else {}
        samples = [
            Sample(path, path, group(path), split, -1 if name is None else number[name], mask=masks.get(path, ""))
            for path, split, name in found
        ]
        return files_dataset(
            root,
            samples,
            classes=classes,
            window=self.window,
            holdout=self.holdout,
            seed=self.seed,
            on_error=self.on_error,
            index=index,
            values=self.mask_values if self.masks else None,
        )


def find_masks(folder: Path, images: Sequence[str]) -> dict[str, str]:
    """Path of an image -> file of its mask, for the images that have one.

    InputError where the folder is none, for a mask that belongs to no image, and for two that belong to one.
    """
    if not folder.is_dir():
        raise InputError(f"data.masks: {folder}", "a folder", "a file" if folder.exists() else "nothing there")
    by_stem = {Path(image).with_suffix(""): image for image in images}
    found: dict[str, str] = {}
    for file in sorted(images_below(folder, folder)):
        image = by_stem.get(file.relative_to(folder).with_suffix(""))
        if image is None:
            raise InputError(file, "a mask at the path of its image below data.root", "no such image")
        if image in found:
            raise InputError(file, f"one mask for {image}", f"also {found[image]}")
        found[image] = str(file)
    if not found:
        raise InputError(f"data.masks: {folder}", f"masks ({', '.join(sorted(SUFFIXES))})", "none")
    return found


def find_images(root: Path, labels: Literal["folders", "none"]) -> list[tuple[str, Split | None, str | None]]:
    """Path below `root`, split and name of the class of all images, sorted by path; InputError where there is none."""
    found: list[tuple[str, Split | None, str | None]] = []
    for split, base in split_folders(root) or [(None, root)]:
        for entry in base.iterdir():
            paths = [path.relative_to(root).as_posix() for path in images_below(root, entry)]
            is_class = labels == "folders" and entry.is_dir() and not entry.name.startswith(".")
            if is_class and not paths:
                raise InputError(f"class folder {entry}", "at least one image", "none")
            found += [(path, split, entry.name if is_class else None) for path in paths]
    if not found:
        raise InputError(f"data.root: {root}", f"images ({', '.join(sorted(SUFFIXES))})", "none")
    return sorted(found, key=itemgetter(0))


def split_folders(root: Path) -> list[tuple[Split | None, Path]]:
    """Sub-folders that are splits; none unless all visible sub-folders are, and no image lies beside them."""
    entries = [entry for entry in sorted(root.iterdir()) if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir()]
    beside = any(entry.suffix.lower() in SUFFIXES for entry in entries if not entry.is_dir())
    if beside or not all(folder.name.lower() in NAMES for folder in folders):
        return []
    return [(NAMES[folder.name.lower()], folder) for folder in folders]


def images_below(root: Path, path: Path) -> Iterator[Path]:
    """The image files at or below a path, hidden ones left out, unsorted; links out of `root` are refused."""
    if path.name.startswith("."):
        return
    if path.is_dir():
        if path.is_symlink():
            raise InputError(path, "a folder", "a symbolic link, which could lead out of the data or in circles")
        for entry in path.iterdir():
            yield from images_below(root, entry)
    elif path.suffix.lower() in SUFFIXES:
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise InputError(path, f"a file below {root}", f"a symbolic link to {path.resolve()}")
        yield path


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
