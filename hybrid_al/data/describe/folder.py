"""The draft of a recipe for a folder: classes, splits, patients, parts of an archive, masks, volumes."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from ...core.manifest import Split
from ...errors import HybridALError, InputError, reading
from ..folders import NUMBER, Labels, find_images
from ..splits import split_named
from ..words import in_order
from .base import MAX_CLASSES, Description, counted, listing
from .groups import group_in_names, groups_of, say_groups
from .names import FIRST_CHANNEL, MASK_ENDING, PART, PATIENT
from .plan import Rows
from .tree import READERS, Tree, channel_patterns, further_channels, spread

CHANNELS = "further channels (_0001, ...): an image has the first of them alone"
FIRST = "^[^/]+"  # of a path: its first folder
SECOND = "^[^/]+/([^/]+)"  # below a split, or a class
THIRD = "^[^/]+/[^/]+/([^/]+)"


def describe_folder(tree: Tree) -> Description:
    """A description of a folder of images or volumes."""
    about = Description()
    counts = {folder or "./": len(images) for folder, images in tree.folders().items()}
    kind = "volumes" if tree.volumes else "images"
    masks = f", {len(tree.masks)} masks" if tree.masks else ""
    about.saw.append(f"{len(tree.images)} {kind}{masks}: " + listing(f"{k} {n}" for k, n in counts.items()))
    if tree.strangers:
        masks_of, name = _by_folder(tree)
        if masks_of:
            return _objects(tree, masks_of, name, about)
        folder, files = next(iter(tree.strangers.items()))
        raise InputError(
            tree.root / folder,
            "one mask an image, called as it is (1.png for 1.png), as 1_mask.png, or of nnU-Net 1.png for 1_0000.png; "
            "several masks of an image are first drawn into one, a value for each class; or the folder of images alone",
            f"{len(files)} files whose names fit no image, as {PurePosixPath(files[0]).name}",
        )
    pair = _pair(tree)
    if pair is not None and (pair.apart or not _beside_classes(tree)):
        return _segmentation(tree, pair, about)
    if tree.masks and pair is None and not _masks_beside(tree):
        image, mask = next(iter(tree.mask_of.items()))
        expected = "masks in one folder, at the paths of their images, such as images/train/1.png, masks/train/1.png"
        raise InputError(tree.root, expected, f"{mask} for {image}")
    return _classification(tree, pair, about)


# -- masks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """A folder of images and one of masks, whose names have an ending more; `apart`: they are two folders.

    image_ending  what the names of images have more
    """

    images: str
    masks: str
    ending: str
    image_ending: str
    mask_of: Mapping[str, str]

    @property
    def apart(self) -> bool:
        return self.images != self.masks


def _pair(tree: Tree) -> _Pair | None:
    """The folders of images and masks; None where there are no masks, or where they lie in no such way."""
    if not tree.mask_of:
        return None
    images, masks = _common(tree.mask_of.keys()), _common(tree.mask_of.values())
    endings = set()
    for image, mask in tree.mask_of.items():
        stem = READERS.stem(os.path.relpath(image, images or "."))
        mask_stem = READERS.stem(os.path.relpath(mask, masks or "."))
        channel = FIRST_CHANNEL if stem == mask_stem + FIRST_CHANNEL else ""
        if not mask_stem.startswith(stem.removesuffix(channel)):
            return None
        endings.add((mask_stem.removeprefix(stem.removesuffix(channel)), channel))
    return _Pair(images, masks, *endings.pop(), tree.mask_of) if len(endings) == 1 else None


def _common(files: Iterable[str]) -> str:
    """The folder that holds all of some files, "" for the root."""
    folder = os.path.commonpath([str(PurePosixPath(file).parent) for file in files])
    return "" if folder == "." else folder


def _masks_beside(tree: Tree) -> bool:
    return all(PurePosixPath(i).parent == PurePosixPath(m).parent for i, m in tree.mask_of.items())


def _beside_classes(tree: Tree) -> bool:
    """Whether masks lie beside images in several folders, which may be classes."""
    return len(tree.folders()) > 1 or not all(split_named(name) for name in tree.folders() if name)


def _mask_patterns(tree: Tree) -> list[str]:
    """Patterns of names of masks that lie beside their images."""
    patterns = set()
    for mask in tree.masks:
        name = PurePosixPath(mask).name
        match = MASK_ENDING.search(READERS.stem(name))
        if match and tree.root / mask:
            patterns.add("*" + glob.escape(name[match.start() :]))
    return sorted(patterns)


def _segmentation(tree: Tree, pair: _Pair, about: Description) -> Description:
    root, masks = tree.root / pair.images, tree.root / pair.masks
    kind, below = "volumes" if tree.volumes else "images", f"{pair.images}/" if pair.images else ""
    images = [image.removeprefix(below) for image in tree.images if image.startswith(below)]
    flat = all("/" not in image for image in images)
    group = group_in_names(images, about, volumes=tree.volumes)
    bare = flat and group == "none" and not (pair.ending or pair.image_ending)
    source = "nifti" if tree.volumes and bare else "folder"
    about.data = {"source": source, "root": str(root), "masks": str(masks), "group": group}
    ignore = [] if source == "nifti" else _ignored(tree, pair.images, about)
    if not pair.apart:
        ignore += _mask_patterns(tree)
    ending, strange = _endings(tree, pair)
    if ending:
        about.data["mask_ending"] = ending
    if pair.image_ending:
        about.data["image_ending"] = pair.image_ending
        channels = [image for image in images if not READERS.stem(image).endswith(pair.image_ending)]
        ignore += channel_patterns(channels)
        images = [image for image in images if image not in set(channels)]
        if channels:
            about.leave(f"{len(channels)} {CHANNELS}")
    if ignore:
        about.data["ignore"] = ignore
    outside = len(tree.images) - sum(image.startswith(below) for image in tree.images)
    if outside:
        about.leave(f"{outside} images outside of {pair.images}, which have no masks")
    _say_several(tree, pair, strange, about)
    about.took.append(("images", f"{len(images)} {kind} in {pair.images or './'}, {len(pair.mask_of)} with a mask"))
    names, words = _names_of_data(tree)
    with about.answering():
        about.masked([tree.root / mask for mask in sorted(tree.masks)], names)
    planes = about.sized([root / image for image in images])
    if source == "nifti":
        entries: list[tuple[str, Split | None, str | None]] = [(image, None, None) for image in images]
    else:
        entries = find_images(root, "none", READERS, ignore)
    about.pass_over(tree)
    masked = {image.removeprefix(below) for image in pair.mask_of}
    paths = [path for path, _, _ in entries]
    groups = groups_of(paths, group)
    if group != "none":
        say_groups(groups, about)
    rows = Rows(
        groups,
        [split for _, split, _ in entries],
        [-1] * len(paths),
        [path in masked for path in paths],
        planes,
    )
    return about.finish(rows, [tree.root.name, *words, *tree.folders(), *spread(paths, 10)])


def _endings(tree: Tree, pair: _Pair) -> tuple[str, list[str]]:
    """The ending of all masks of images, with a * where several of an image differ by a number; masks without it."""
    more = sorted(tree.masks - set(pair.mask_of.values()))
    bare = re.sub(f"{NUMBER}$", "", pair.ending)
    end = re.compile(f"{re.escape(bare)}{NUMBER}$")
    stems = {READERS.stem(os.path.relpath(image, pair.images or ".")) for image in pair.mask_of}
    names = {mask: READERS.stem(os.path.relpath(mask, pair.masks or ".")) for mask in more}
    strange = [mask for mask, name in names.items() if not bare or end.sub("", name) not in stems]
    return (f"{bare}*" if more and bare else pair.ending), strange


def _say_several(tree: Tree, pair: _Pair, strange: Sequence[str], about: Description) -> None:
    """That images have several masks; InputError for those that do not differ by a number."""
    if strange:
        expected = "one mask an image, or several that differ by a number (1_mask.png, 1_mask_1.png)"
        raise InputError(tree.root / strange[0], expected, "another mask of an image that has one")
    if more := len(tree.masks) - len(pair.mask_of):
        about.took.append(("parts", f"{more} more masks of the same images: what any of them draws counts"))


def _by_folder(tree: Tree) -> tuple[dict[str, list[str]], str]:
    """Image -> the masks in the folder beside its own, and the name of those folders; none in another layout."""
    folders = {PurePosixPath(file).parent for files in tree.strangers.values() for file in files}
    names = {folder.name for folder in folders}
    strange = {file for files in tree.strangers.values() for file in files}
    images = [image for image in tree.images if image not in strange]
    owners = [PurePosixPath(image).parent.parent for image in images]
    if len(names) != 1 or len(set(owners)) < len(owners) or {folder.parent for folder in folders} - set(owners):
        return {}, ""
    masks: dict[str, list[str]] = {}
    for file in sorted(strange):
        masks.setdefault(str(PurePosixPath(file).parent.parent), []).append(file)
    return {image: masks.get(str(owner), []) for image, owner in zip(images, owners, strict=True)}, names.pop()


def _objects(tree: Tree, masks: Mapping[str, Sequence[str]], name: str, about: Description) -> Description:
    """A description of images in folders of their own, with a folder of masks beside each, as of dsb2018."""
    images = sorted(masks)
    files = [file for image in images for file in masks[image]]
    about.saw[0] = f"{len(images)} images, {len(files)} masks, in {len(images)} folders"
    about.data = {"source": "folder", "root": str(tree.root), "masks": str(tree.root), "mask_folder": name}
    about.data |= {"ignore": [glob.escape(name)], "group": "none"}
    masked = [bool(masks[image]) for image in images]
    about.took.append(("images", f"{len(images)}, {sum(masked)} with masks in the folder {name} beside theirs"))
    about.took.append(("parts", f"{len(files)} masks of {sum(masked)} images: what any of them draws counts"))
    with about.answering():
        about.masked([tree.root / file for file in files])
    about.sized([tree.root / image for image in images])
    about.data["group"] = group_in_names(images, about, volumes=False)
    about.pass_over(tree)
    groups = groups_of(images, about.data["group"])
    rows = Rows(groups, [None] * len(images), [-1] * len(images), masked)
    return about.finish(rows, [tree.root.name, *spread(images, 10)])


def _names_of_data(tree: Tree) -> tuple[dict[int, str], list[str]]:
    """Value -> class, and words of the modality: from the dataset.json of the Decathlon or of nnU-Net."""
    file = tree.root / "dataset.json"
    with suppress(HybridALError), reading(file, "the names of a data set"):
        facts = json.loads(file.read_text(encoding="utf-8"))
        labels, channels = facts.get("labels", {}), facts.get("modality") or facts.get("channel_names") or {}
        pairs = [(k, v) if str(k).isdigit() else (v, k) for k, v in labels.items()]
        names = {int(value): str(name) for value, name in pairs if not isinstance(value, list)}  # a list is a region
        return names, [str(word) for word in channels.values()]
    return {}, []


# -- classes ----------------------------------------------------------------------------------------------------------


def _classification(tree: Tree, pair: _Pair | None, about: Description) -> Description:
    about.data = {"source": "folder", "root": str(tree.root), "group": "none"}
    folders = tree.folders()
    splits = [name for name in folders if name and split_named(name)]
    ignore = _ignored(tree, "", about)
    split_layout = bool(splits) and any(split_named(name) == "pool" for name in splits)
    if split_layout:
        ignore += _beside_splits(tree, splits, about)
        inner = [tree.folders(split) for split in splits]
        for split in splits:
            ignore += [name for name in _ignored(tree, split, about, f"{split}/") if name not in ignore]
        folders = {name: [i for f in inner for i in f.get(name, [])] for name in sorted({n for f in inner for n in f})}
    if tree.masks:
        _say_masks(tree, pair, about)
        ignore += _mask_patterns(tree)
    if tree.volumes and (channels := further_channels(tree.images)):
        about.leave(f"{len(channels)} {CHANNELS}")
        ignore += channel_patterns(channels)
    labels, group = _reading(folders, about, split=split_layout)
    if ignore:
        about.data["ignore"] = ignore
    if labels != "folders":
        about.data["labels"] = labels
    entries = find_images(tree.root, labels, READERS, ignore)
    paths = [path for path, _, _ in entries]
    about.data["group"] = group or group_in_names(paths, about, volumes=tree.volumes)
    groups = groups_of(paths, about.data["group"])
    if about.data["group"] != "none":
        say_groups(groups, about)
    if tree.volumes and set(folders) == {""} and about.data["group"] == "none" and not split_layout and not ignore:
        about.data = {"source": "nifti", "root": str(tree.root), "group": "none"}
    names = [name for _, _, name in entries if name is not None]
    classes = in_order(names)
    text = f"{len(classes)}, {'the folders' if labels == 'folders' else 'the inner folders'}: {counted(names)}"
    about.took.insert(0, ("images", f"{len(paths)} volumes" if tree.volumes else str(len(paths))))
    about.took.insert(1, ("classes", text if classes else "none: all images are unlabeled"))
    planes = about.sized([tree.root / path for path in paths])
    about.pass_over(tree)
    number = {name: i for i, name in enumerate(classes)}
    truth = [number.get(name or "", -1) for _, _, name in entries]
    answered = [label >= 0 for label in truth]
    rows = Rows(groups, [split for _, split, _ in entries], truth, answered, planes)
    return about.finish(rows, [tree.root.name, *tree.folders(), *spread(paths, 10)])


def _ignored(tree: Tree, below: str, about: Description, shown: str = "") -> list[str]:
    """Folders in which no image lies, and linked ones."""
    empty = tree.empty_folders(below)
    start = f"{below}/" if below else ""
    bare = [shown + name for name in empty if not any(mask.startswith(f"{start}{name}/") for mask in tree.masks)]
    if bare:
        about.left.append(f"folders without an image: {listing(bare)}")
    return [glob.escape(name) for name in [*empty, *tree.links]]


def _beside_splits(tree: Tree, splits: Sequence[str], about: Description) -> list[str]:
    """What lies beside the folders of the splits."""
    folders = tree.folders()
    extra = [name for name in folders if name and name not in splits]
    if extra:
        counts = listing(f"{name} {len(folders[name])}" for name in extra)
        about.open.append(f"folders beside {', '.join(splits)} are left out with their images: {counts}")
        about.unread.append(f"folders beside {', '.join(splits)}: {counts}")
        about.note("data.root", f"left out, as they are no splits: {counts} images")
    if beside := folders.get("", []):
        if len(beside) > MAX_CLASSES:
            raise InputError(tree.root, f"nothing beside the splits {', '.join(splits)}", f"{len(beside)} images")
        about.leave(f"{len(beside)} images beside the folders of the splits ({beside[0]})")
    return [glob.escape(name) for name in [*extra, *beside]]


def _say_masks(tree: Tree, pair: _Pair | None, about: Description) -> None:
    count = len(tree.mask_of)
    about.left.append(f"{len(tree.masks)} masks of {count} images, beside them ({', '.join(_mask_patterns(tree))})")
    if pair is not None:
        about.open.append("masks lie beside the images: this recipe classifies; its comments say how to segment")
        ending, _ = _endings(tree, pair)
        about.note(
            "data.root",
            f"for masks: task: segmentation, learner: finetune, and here masks: {tree.root / pair.masks},",
            f"mask_ending: '{ending}', classes: [background, NAME], mask_values: {{0: background, 255: NAME}}",
        )


def _reading(folders: Mapping[str, Sequence[str]], about: Description, *, split: bool) -> tuple[Labels, str]:
    """What the folders are: (labels, group) of the source; a group of "" is to be looked for in the names."""
    names = [name for name in folders if name]
    first = SECOND if split else FIRST
    shown = listing(names, 4)
    inner = _inner(folders, split=split)
    patients = bool(names) and all(PATIENT.match(name) for name in names)
    if len(inner) > 1 and all(PATIENT.match(name) for name in inner):
        people = listing(inner, 4)
        about.open.append(f"folders {shown} all have {people}: those are taken for patients, {shown} for classes")
        about.note("data.root", f"labels: parents would take {people} for the classes")
        return "folders", THIRD if split else SECOND
    if len(inner) > 1 and not all(map(split_named, inner)):
        about.open.append(f"folders {shown} all have {', '.join(inner)}: those are taken for the classes")
        about.note("data.root", f"labels: folders would take {shown} for the classes, not {', '.join(inner)}")
        return "parents", first if patients else ""
    if len(inner) > 1:
        about.open.append(f"folders {shown} all have {', '.join(inner)}: splits are only read outside of the classes")
    if patients or len(names) > MAX_CLASSES:
        why = "by their names" if patients else "too many for classes"
        about.open.append(f"{len(names)} folders ({shown}) are taken for one patient each, {why}")
        about.note("data.group", f"labels: folders, group: none would take the {len(names)} folders for classes")
        return "none", first
    if names and all(PART.match(name) for name in names):
        about.open.append(f"folders {shown} are taken for parts of one set of images, not for classes")
        about.note("data.root", f"labels: folders would take {shown} for classes")
        return "none", ""
    if len(names) == 1:
        about.left.append(f"folder {names[0]}: alone, it is taken for no class")
    return ("folders" if len(names) > 1 else "none"), ""


def _inner(folders: Mapping[str, Sequence[str]], *, split: bool) -> list[str]:
    """The sub-folders that all of several folders have; none where they are not the same, or images lie beside."""
    depth = 2 if split else 1
    sets = {frozenset("/".join(i.split("/")[depth:-1]) for i in images) for name, images in folders.items() if name}
    common = next(iter(sets)) if len(sets) == 1 and len([n for n in folders if n]) > 1 else frozenset[str]()
    return sorted(common) if common and all(name and "/" not in name for name in common) else []
