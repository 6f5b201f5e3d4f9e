"""Folders of files: which sub-folders are splits or classes, and which mask belongs to which image."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path
from typing import Literal

from ..core.manifest import Split
from ..errors import InputError
from .drawn.masks import COCO, GEOJSON
from .readers import Choice
from .splits import split_named
from .words import normal

Labels = Literal["folders", "parents", "none"]
NUMBER = r"([ _.-]?\(?\d+\)?)?"  # behind the ending of one of several masks
REMAINS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")  # what archives and systems leave behind


def hidden(name: str, ignore: Sequence[str] = ()) -> bool:
    """Whether a file or folder of this name is passed over: hidden, left behind, or of a pattern in `ignore`."""
    return name.startswith(".") or name in REMAINS or any(fnmatchcase(name.lower(), p.lower()) for p in ignore)


def ignored_files(root: Path, suffixes: tuple[str, ...], ignore: Sequence[str] = ()) -> list[str]:
    """A remark on the files below a folder without these suffixes: `11 files ignored in DIR (.dcm 4, none 1)`."""
    counts: Counter[str] = Counter()
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not hidden(name, ignore)]
        for name in names:
            if hidden(name, ignore):
                counts["hidden" if hidden(name) else "data.ignore"] += 1
            elif not name.lower().endswith(suffixes):
                counts[Path(folder, name).suffix.lower() or "none"] += 1
    listing = ", ".join(f"{suffix} {count}" for suffix, count in counts.most_common())
    return [f"{counts.total()} files ignored in {root} ({listing})"] if counts else []


def find_masks(
    folder: Path, images: Sequence[str], readers: Choice, ending: str = "", image_ending: str = ""
) -> dict[str, list[str]]:
    """Path of an image -> files of its mask, at the same path but for endings and suffix, for images that have one.

    ending        of the names of masks; with one, other files in the folder are no masks. With a * behind it, which
                  stands for a number or nothing, an image may have several masks. One that ends in .geojson takes
                  files of outlines, as a folder of these alone does without one; of .json see `drawn_files`
    image_ending  of the names of images; those without it have no mask

    An empty folder has none yet. InputError where there is no folder, for a mask of no image or of two (1.png, 1.jpg),
    and for two masks of one image.
    """
    drawings = drawn_files(folder, ending)
    if drawings:
        return dict.fromkeys(images, drawings)
    if not folder.is_dir():
        expected = "a folder, or a file .json of COCO"
        raise InputError(f"data.masks: {folder}", expected, "a file" if folder.exists() else "nothing there")
    by_stem: dict[str, list[str]] = {}
    for image in images:
        if (stem := readers.stem(image)).endswith(image_ending):
            by_stem.setdefault(normal(stem.removesuffix(image_ending)), []).append(image)
    mask_of: dict[str, list[str]] = {}
    masks, several = readers.for_masks, ending.endswith("*")
    if ending == "*":
        raise InputError("data.mask_ending", "an ending before the *, such as _mask*", repr(ending))
    outlines = ending.lower().endswith(GEOJSON) or (not ending and _only_outlines(folder, masks))
    bare = ending.removesuffix("*") if not outlines else ending[: -len(GEOJSON)]
    end = re.compile(re.escape(bare) + (NUMBER if several else "") + "$")
    for file in sorted(files_below(folder, folder, (GEOJSON,) if outlines else masks.suffixes)):
        path = file.relative_to(folder).as_posix()
        stem = readers.stem(path[: -len(GEOJSON)]) if outlines else masks.stem(path)
        if not (match := end.search(stem)):
            continue
        fitting = by_stem.get(normal(stem[: match.start()]), [])
        if len(fitting) != 1:
            came = f"{len(fitting)}: {', '.join(fitting)}" if fitting else "no such image"
            raise InputError(file, "a mask at the path of its image below data.root", came)
        image = fitting[0]
        if image in mask_of and not several:
            way = "several that draw parts: mask_ending with a * behind it"
            raise InputError(file, f"one mask for {image} ({way})", f"also {mask_of[image][0]}")
        mask_of.setdefault(image, []).append(str(file))
    return mask_of


def drawn_files(masks: Path, ending: str) -> list[str]:
    """The files of COCO that draw the masks of many images: one file, or all below a folder with an ending .json."""
    if masks.is_file() and masks.name.lower().endswith(COCO):
        return [str(masks)]
    if not ending.lower().endswith(COCO):
        return []
    files = sorted(files_below(masks, masks, (ending.lower(),))) if masks.is_dir() else []
    if not files:
        raise InputError(f"data.masks: {masks}", f"files of COCO that end in {ending}", "none")
    return [str(file) for file in files]


def _only_outlines(folder: Path, masks: Choice) -> bool:
    """Whether a folder has files .geojson; InputError where it has masks of another kind, or images, too."""
    outlines = next(files_below(folder, folder, (GEOJSON,)), None)
    other = None if outlines is None else next(files_below(folder, folder, masks.suffixes), None)
    if other is not None:
        expected = f"data.mask_ending: {GEOJSON} for the outlines there, or a folder without them"
        raise InputError(f"data.masks: {folder}", expected, f"{outlines} and {other}")
    return outlines is not None


def masks_beside(folder: Path, images: Sequence[str], name: str, readers: Choice) -> dict[str, list[str]]:
    """Path of an image -> all files of the folder of a name that lies beside its own, for images that have some.

    So is 7/images/1.png drawn by 7/masks/*.png. InputError where two images have the same folder.
    """
    owner: dict[Path, str] = {}
    mask_of: dict[str, list[str]] = {}
    for image in images:
        beside = (folder / image).parent.parent / name
        if beside in owner:
            raise InputError(beside, "masks of one image alone", f"{owner[beside]} and {image}")
        files = sorted(files_below(folder, beside, readers.for_masks.suffixes)) if beside.is_dir() else []
        if files:
            owner[beside], mask_of[image] = image, [str(file) for file in files]
    return mask_of


def find_images(
    root: Path, labels: Labels, readers: Choice, ignore: Sequence[str] = ()
) -> list[tuple[str, Split | None, str | None]]:
    """Path below `root`, split and class name of all images, sorted by path; InputError where there is no image.

    `folders`: the class is the first folder below root or split; `parents`: the folder that holds the image.
    """
    entries: list[tuple[str, Split | None, str | None]] = []
    for split, base in split_folders(root, readers.suffixes, ignore) or [(None, root)]:
        for entry in base.iterdir():
            paths = list(files_below(root, entry, readers.suffixes, ignore))
            is_class = labels != "none" and entry.is_dir() and not hidden(entry.name, ignore)
            if is_class and not paths:
                ignored = "".join(f"; {note}" for note in ignored_files(entry, readers.suffixes, ignore))
                expected = "at least one image (data.ignore leaves a folder out)"
                raise InputError(f"class folder {entry}", expected, f"none{ignored}")
            for path in paths:
                name = (entry if labels == "folders" else path.parent).name if is_class else None
                entries.append((path.relative_to(root).as_posix(), split, name))
    if not entries:
        raise InputError(f"data.root: {root}", f"images ({', '.join(readers.suffixes)})", "none")
    return sorted(entries, key=itemgetter(0))


def split_folders(root: Path, suffixes: tuple[str, ...], ignore: Sequence[str] = ()) -> list[tuple[Split | None, Path]]:
    """Splits and their sub-folders; none unless all visible sub-folders are splits and no image lies beside them."""
    entries = [entry for entry in sorted(root.iterdir()) if not hidden(entry.name, ignore)]
    folders = [entry for entry in entries if entry.is_dir()]
    beside = any(entry.name.lower().endswith(suffixes) for entry in entries if not entry.is_dir())
    splits = [split_named(folder.name) for folder in folders]
    return [] if beside or None in splits else list(zip(splits, folders, strict=True))


def files_below(root: Path, path: Path, suffixes: tuple[str, ...], ignore: Sequence[str] = ()) -> Iterator[Path]:
    """Files with these suffixes at or below a path, unsorted, none `hidden`; links out of `root` are an error."""
    if path != root and hidden(path.name, ignore):
        return
    if path.is_dir():
        if path.is_symlink():
            raise InputError(path, "a folder", "a symbolic link, which could lead out of the data or in circles")
        for entry in path.iterdir():
            yield from files_below(root, entry, suffixes, ignore)
    elif path.name.lower().endswith(suffixes):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise InputError(path, f"a file below {root}", f"a symbolic link to {path.resolve()}")
        yield path
