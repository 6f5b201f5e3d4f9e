"""Look at a folder or file and draft a recipe for it, with all that a person should know of the guess."""

from __future__ import annotations

from collections.abc import Iterable
from os.path import normpath
from pathlib import Path

from ...errors import InputError
from ..readers.volumes import Volumes
from ..slides import VENDORS
from ..studies import is_dicom
from ..tables import SUFFIXES as TABLES
from .arrays import describe_archive
from .base import Description, listing
from .dicom import describe_dicom
from .drawings import describe_outlines, outlines_in
from .folder import describe_folder
from .slides import describe_slides, slides_of
from .table import Listing, describe_table, listing_of
from .tree import Tree

__all__ = ["Description", "describe"]


def describe(path: Path, *, answers: bool = True) -> Description:
    """Draft a recipe for an NPZ file, a table, a folder that holds one of them, or a folder of images or volumes.

    Raises InputError where there is nothing that a source could read, or where no reading is safe. Without `answers`
    only images count, whatever is wrong with the labels, masks or splits that the data has.
    """
    about = _describe(Path(normpath(Path(path).absolute())))
    if answers and about.refusal is not None:
        raise about.refusal
    return about


def _describe(path: Path) -> Description:
    if path.is_dir():
        return _look_into(path)
    name = path.name.lower()
    if name.endswith(".npz"):
        return describe_archive(path)
    if name.endswith(TABLES):
        tree = Tree.of(path.parent)
        table = listing_of(path, tree)
        if isinstance(table, str):
            raise InputError(path, "a column that names images, by path or by their names without suffix", table)
        return describe_table(table, tree, alone=True)
    came = "nothing there"
    if path.is_file():
        came = f"a file of another kind: give the folder {path.parent}"
        if is_dicom(path):
            came = f"one DICOM file: give the folder {path.parent}"
        elif name.endswith(VENDORS):
            came = f"one slide: give the folder {path.parent}"
        elif name.endswith(Volumes.SUFFIXES):
            came = f"one volume: give the folder {path.parent}"
    raise InputError(path, "a folder of images or volumes, a CSV or an NPZ file", came)


def _look_into(path: Path) -> Description:
    tree, passed = Tree.of(path), list[str]()
    while (folder := _only_folder(tree)) is not None:
        if beside := [file for file in tree.files if not file.startswith(f"{folder}/")]:
            passed.append(f"files beside {folder}: {listing(beside, 3)}")
        tree = Tree.of(tree.root / folder)
    about = _describe_tree(tree)
    about.left += passed
    return about


def _only_folder(tree: Tree) -> str | None:
    """The folder in which everything lies, or every image and the only tables; None without one."""
    whole = len(_first_parts(tree.files)) == 1
    folders = _first_parts(tree.files if whole else tree.readable)
    folder = min(folders, default="")
    if len(folders) != 1 or not (tree.root / folder).is_dir():
        return None
    tables = any(f.startswith(f"{folder}/") and f.count("/") == 1 and f.lower().endswith(TABLES) for f in tree.files)
    return folder if whole or (tables and not tree.tables) else None


def _first_parts(files: Iterable[str]) -> set[str]:
    return {file.partition("/")[0] for file in files}


def _describe_tree(tree: Tree) -> Description:
    archives = [file for file in tree.files if "/" not in file and file.lower().endswith(".npz")]
    if not tree.readable and archives:
        if len(archives) > 1:
            raise InputError(tree.root, "one NPZ file", ", ".join(archives) + ": name one of them")
        return describe_archive(tree.root / archives[0])
    if slides := slides_of(tree):
        return describe_slides(tree, slides)
    if tree.dicom and set(tree.images) <= set(tree.dicom):
        return describe_dicom(tree)
    if not tree.readable:
        expected = "images, NIfTI volumes, DICOM files, slides, a CSV or an NPZ file"
        raise InputError(tree.root, expected, tree.others or "no file")
    return _of_images(tree)


def _of_images(tree: Tree) -> Description:
    """By the table that names most images, if one does; else by the folders."""
    listings: list[Listing] = []
    left = []
    for table in tree.tables:
        found = listing_of(table, tree)
        if isinstance(found, str):
            left.append(f"{table.name}: {found}")
        else:
            listings.append(found)
    outlines = outlines_in(tree, left)
    best = max(listings, key=lambda listing: (listing.answers, listing.count), default=None)
    others = [listing for listing in listings if listing is not best]
    left += [f"{other.table.name}: names {other.count} images too; a recipe reads one table" for other in others]
    if best is not None and not (best.answers or tree.mask_of) and _has_classes(tree):
        left.append(f"{best.table.name}: names {best.count} images, but has no labels, which the folders have")
        best = None
    taken = "" if outlines is None else "the masks" if tree.masks else best.table.name if best and best.answers else ""
    if outlines is not None and taken:
        left.append(f"{listing(outlines.files, 3)}: outlines too; a recipe has one task, and takes {taken}")
    if outlines is not None and not taken:
        description = describe_outlines(tree, outlines)
    else:
        description = describe_folder(tree) if best is None else describe_table(best, tree)
    description.left[:0] = left
    return description


def _has_classes(tree: Tree) -> bool:
    """Whether the folders alone say classes."""
    return any(what == "classes" and not text.startswith("none") for what, text in describe_folder(tree).took)
