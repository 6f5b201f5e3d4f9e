"""Folders of files: which sub-folders are splits or classes, and which mask belongs to which image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Literal

from ..core.manifest import Split
from ..errors import InputError
from .readers import Choice
from .splits import NAMES


def find_masks(folder: Path, images: Sequence[str], readers: Choice) -> dict[str, str]:
    """Path of an image -> file of its mask, at the same path but for the suffix, for the images that have one.

    An empty folder has none yet. InputError where there is no folder, for a mask without an image, and for two masks of
    one image.
    """
    if not folder.is_dir():
        raise InputError(f"data.masks: {folder}", "a folder", "a file" if folder.exists() else "nothing there")
    by_stem = {readers.stem(image): image for image in images}
    mask_of: dict[str, str] = {}
    masks = readers.for_masks
    for file in sorted(files_below(folder, folder, masks.suffixes)):
        image = by_stem.get(masks.stem(file.relative_to(folder).as_posix()))
        if image is None:
            raise InputError(file, "a mask at the path of its image below data.root", "no such image")
        if image in mask_of:
            raise InputError(file, f"one mask for {image}", f"also {mask_of[image]}")
        mask_of[image] = str(file)
    return mask_of


def find_images(
    root: Path, labels: Literal["folders", "none"], readers: Choice
) -> list[tuple[str, Split | None, str | None]]:
    """Path below `root`, split and class name of all images, sorted by path; InputError where there is no image."""
    entries: list[tuple[str, Split | None, str | None]] = []
    for split, base in split_folders(root, readers.suffixes) or [(None, root)]:
        for entry in base.iterdir():
            paths = [path.relative_to(root).as_posix() for path in files_below(root, entry, readers.suffixes)]
            is_class = labels == "folders" and entry.is_dir() and not entry.name.startswith(".")
            if is_class and not paths:
                raise InputError(f"class folder {entry}", "at least one image", "none")
            entries += [(path, split, entry.name if is_class else None) for path in paths]
    if not entries:
        raise InputError(f"data.root: {root}", f"images ({', '.join(readers.suffixes)})", "none")
    return sorted(entries, key=itemgetter(0))


def split_folders(root: Path, suffixes: tuple[str, ...]) -> list[tuple[Split | None, Path]]:
    """Splits and their sub-folders; none unless all visible sub-folders are splits and no image lies beside them."""
    entries = [entry for entry in sorted(root.iterdir()) if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir()]
    beside = any(entry.name.lower().endswith(suffixes) for entry in entries if not entry.is_dir())
    if beside or not all(folder.name.lower() in NAMES for folder in folders):
        return []
    return [(NAMES[folder.name.lower()], folder) for folder in folders]


def files_below(root: Path, path: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files with these suffixes at or below a path, unsorted, without hidden ones; links out of `root` are an error."""
    if path.name.startswith("."):
        return
    if path.is_dir():
        if path.is_symlink():
            raise InputError(path, "a folder", "a symbolic link, which could lead out of the data or in circles")
        for entry in path.iterdir():
            yield from files_below(root, entry, suffixes)
    elif path.name.lower().endswith(suffixes):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise InputError(path, f"a file below {root}", f"a symbolic link to {path.resolve()}")
        yield path
