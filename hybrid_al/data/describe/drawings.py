"""The draft of a recipe for images whose masks are outlines in files of other tools: COCO, and GeoJSON of QuPath."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import PurePosixPath

from ...errors import InputError
from ..drawn.base import Drawing
from ..drawn.geojson import drawing
from ..drawn.masks import COCO, GEOJSON, UNKNOWN, coco_of, matched
from ..folders import find_images
from ..readers.base import Stamp
from .base import Description, listing
from .groups import group_in_names, groups_of, say_groups
from .plan import Rows
from .tree import READERS, Tree, spread

MOST_FILES = 50  # .json in a folder; where there are more, each is about one image
BACKGROUND = "background"


@dataclass(frozen=True)
class Outlines:
    """The files of a kind that draw masks, and image -> its drawings in them; `refusal` of the first damaged one."""

    kind: str
    files: tuple[str, ...]
    drawings: Mapping[str, tuple[Drawing, ...]]
    refusal: InputError | None = None


def outlines_in(tree: Tree, left: list[str]) -> Outlines | None:
    """The outlines of the images of a tree, None where there are none; `left` gets files that are left, and why."""
    files = [file for file in tree.files if file.lower().endswith(GEOJSON)]
    drawings: dict[str, tuple[Drawing, ...]] = {}
    image_of = {name: image for image in tree.images for name in (READERS.stem(image), image)}
    flat = {PurePosixPath(name).name: image for name, image in image_of.items()}
    refusal = None
    for file in files:
        stem = file[: -len(GEOJSON)]
        image = image_of.get(stem) or flat.get(PurePosixPath(stem).name)
        if image is None:
            left.append(f"{file}: outlines (GeoJSON) of no image here")
            continue
        drawings[image] = ()
        try:
            drawings[image] = (drawing(tree.root / file),)
        except InputError as error:
            refusal = refusal or error
    if drawings:
        return Outlines("GeoJSON", tuple(files), drawings, refusal)
    return _coco(tree, left)


def _coco(tree: Tree, left: list[str]) -> Outlines | None:
    counts = Counter(PurePosixPath(file).parent for file in tree.files if file.lower().endswith(COCO))
    files = []
    drawings: dict[str, tuple[Drawing, ...]] = {}
    for file in tree.files:
        if not file.lower().endswith(COCO) or counts[PurePosixPath(file).parent] > MOST_FILES:
            continue
        try:
            of_name = coco_of(Stamp.of(tree.root / file))
            name_of, missing = matched(tree.root, tree.root / file, list(of_name), tree.images, READERS)
        except InputError as error:
            if "another JSON" not in error.came:
                left.append(f"{file}: {error.expected}, got {error.came}")
            continue
        if missing:
            left.append(f"{file}: COCO, but {len(missing)} of its {len(of_name)} images are not here ({missing[0]})")
        boxes = sum(mark.draw is None for one in of_name.values() for mark in one.marks)
        if boxes or not any(one.marks for one in of_name.values()):
            why = f"{boxes} boxes without outlines, which are no masks" if boxes else "nothing is annotated"
            left.append(f"{file}: COCO, but {why}")
        elif name_of:
            files.append(file)
            for image, name in name_of.items():
                drawings[image] = (*drawings.get(image, ()), of_name[name])
    return Outlines("COCO", tuple(files), drawings) if files else None


def describe_outlines(tree: Tree, outlines: Outlines) -> Description:
    """A description of images and their outlines."""
    about = Description()
    about.saw.append(f"{len(tree.images)} images, {len(outlines.files)} files of {outlines.kind}")
    folder = _common(tree.images)
    root, below = tree.root / folder, f"{folder}/" if folder else ""
    images = [image.removeprefix(below) for image in tree.images]
    about.data = {"source": "folder", "root": str(root), "group": group_in_names(images, about, volumes=False)}
    with about.answering():
        if outlines.refusal is not None:
            raise outlines.refusal
        _masks(tree, outlines, about)
        _classes(tree, outlines, about)
    about.took.append(("images", f"{len(images)} in {folder or './'}, {len(outlines.drawings)} with outlines"))
    bare = sum(not any(d.marks for d in drawings) for drawings in outlines.drawings.values())
    way = "undrawn: unlabeled"
    about.note(
        "data.masks",
        "where outlines overlap the later in the file counts; where nothing is drawn is background",
        f"{way}   # images without any outline are unlabeled: right where not all are annotated yet",
        "undrawn: ignore   # it is not known what is outside of the outlines",
    )
    if bare:
        about.open.append(f"{bare} images of the files have no outline: background alone, or not annotated ({way})?")
    about.sized([root / image for image in images])
    about.pass_over(replace(tree, files=tuple(file for file in tree.files if file not in outlines.files)))
    entries = find_images(root, "none", READERS)
    paths = [path for path, _, _ in entries]
    groups = groups_of(paths, about.data["group"])
    if about.data["group"] != "none":
        say_groups(groups, about)
    answered = [below + path in outlines.drawings for path in paths]
    rows = Rows(groups, [split for _, split, _ in entries], [-1] * len(paths), answered)
    return about.finish(rows, [tree.root.name, *tree.folders(), *spread(paths, 10)])


def _masks(tree: Tree, outlines: Outlines, about: Description) -> None:
    """Where the outlines are."""
    if outlines.kind == "COCO" and len(outlines.files) == 1:
        about.data["masks"] = str(tree.root / outlines.files[0])
        return
    folder = tree.root / _common(outlines.files)
    about.data["masks"] = str(folder)
    about.data["mask_ending"] = GEOJSON
    if outlines.kind == "COCO":
        names = [PurePosixPath(file).name for file in outlines.files]
        columns = zip(*(reversed(name) for name in names), strict=False)
        ending = "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, columns))[::-1]
        about.data["mask_ending"] = ending
        others = [f for f in tree.files if f.endswith(ending) and f not in outlines.files]
        if not ending.lower().endswith(COCO) or others:
            file = outlines.files[0]
            raise InputError(
                tree.root, f"one file of COCO, or several that alone end alike; or give one in data.masks, as {file}",
                listing([*outlines.files, *others]),
            )  # fmt: skip


def _classes(tree: Tree, outlines: Outlines, about: Description) -> None:
    labels = Counter(mark.label for drawings in outlines.drawings.values() for one in drawings for mark in one.marks)
    names = [name for name in labels if name not in (BACKGROUND, *UNKNOWN)]
    if not names:
        raise InputError(tree.root / outlines.files[0], "outlines of classes", ", ".join(labels) or "none")
    about.task, about.data["classes"] = "segmentation", [BACKGROUND, *names]
    about.took.append(("masks", f"{outlines.kind}: " + listing(f"{name} {count}" for name, count in labels.items())))
    if BACKGROUND not in labels:
        about.note("data.classes", "the background is what no outline covers; mask_names: {LABEL: CLASS} merges labels")


def _common(files: Iterable[str]) -> str:
    """The folder that holds all of some files, "" for the root."""
    folder = os.path.commonpath([str(PurePosixPath(file).parent) for file in files])
    return "" if folder == "." else folder
