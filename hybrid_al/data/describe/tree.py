"""What lies in a folder: images, the masks among them, volumes, tables, and all that no reader takes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from ...errors import InputError
from ..folders import hidden
from ..masks import MOST_CLASSES, SMOOTHING
from ..readers import choose
from ..readers.dicom import Dicom
from ..readers.volumes import Volumes
from ..samples import reason
from ..scaling import evenly
from ..studies import is_dicom
from ..tables import SUFFIXES as TABLES
from ..words import plain
from .names import CHANNEL, FIRST_CHANNEL, IMAGE_FOLDERS, MASK_ENDING, MASK_FOLDERS

T = TypeVar("T")
READERS = choose()
SIDE = 64  # pixels; larger images train too slowly for a first try on a CPU
SIDES: dict[str, tuple[int, str]] = {
    "chest_xray": (96, "nodules and fine lines may want 224 or more"),
    "ct": (96, "small lesions may want the 512 px of the scanner"),
    "mr": (96, "small lesions may want all pixels of the scanner"),
    "histology": (96, "as the patches of PCam; nuclei are lost where a pixel is much more than 1 micron"),
    "dermoscopy": (128, "the shipped recipe has 192, for weights that need no training"),
    "fundus": (128, "microaneurysms want 512 or more"),
    "oct": (96, "thin layers and small drusen may want 224"),
    "ultrasound": (96, "the grain of the image may want 224"),
    "mammography": (224, "calcifications are lost below it, and want much more"),
    "endoscopy": (96, "flat and small polyps may want 224"),
    "microscopy": (64, "enough for one cell an image; a field of many wants more"),
}
"""Modality -> the side to begin with, and what it may be too small for; `SIDE` for others."""
SAMPLED = 200
VOLUMES_SAMPLED = 10  # a volume is read as a whole
MOST_VALUES = 20


@dataclass(frozen=True)
class Tree:
    """The visible files below a folder, as sorted paths relative to it; `left` are names that were passed over."""

    root: Path
    files: tuple[str, ...]
    left: tuple[str, ...]
    links: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Look through a folder; linked folders are not followed."""
        files: list[str] = []
        left: set[str] = set()
        links: list[str] = []
        for folder, names, leaves in os.walk(root):
            where = Path(folder)
            left |= {name for name in names if hidden(name)}
            links += [name for name in names if (where / name).is_symlink()]
            names[:] = [name for name in names if not hidden(name) and not (where / name).is_symlink()]
            files += [(where / leaf).relative_to(root).as_posix() for leaf in leaves if not hidden(leaf)]
        return cls(root, tuple(sorted(files)), tuple(sorted(left)), tuple(sorted(links)))

    @cached_property
    def readable(self) -> tuple[str, ...]:
        """Files with the suffix of a reader: images and volumes, masks among them."""
        return tuple(file for file in self.files if file.lower().endswith(READERS.suffixes))

    @cached_property
    def mask_of(self) -> dict[str, str]:
        """Image -> its mask: in a folder named so, or beside the image, its name that of the image and an ending."""
        masks: dict[str, str] = {}
        for file, image in self._masks:
            masks.setdefault(image, file)
        return masks

    @cached_property
    def masks(self) -> frozenset[str]:
        """All files that are masks of images."""
        return frozenset(file for file, _ in self._masks)

    @cached_property
    def _masks(self) -> list[tuple[str, str]]:
        in_folder = {
            f for f in self.readable if any(plain(part) in MASK_FOLDERS for part in PurePosixPath(f).parts[:-1])
        }
        images: dict[str, list[str]] = {}
        stems = {READERS.stem(file): file for file in self.readable}
        for file in self.readable:
            if file not in in_folder:
                images.setdefault(PurePosixPath(READERS.stem(file)).name, []).append(file)
        pairs = []
        for file in self.readable:
            stem = READERS.stem(file)
            name = PurePosixPath(stem).name
            bare = MASK_ENDING.sub("", name)
            if file in in_folder:
                fitting = images.get(name) or images.get(bare) or images.get(name + FIRST_CHANNEL) or []
                pairs += [(file, max(fitting, key=lambda image: _alike(image, file)))] if fitting else []
            elif bare != name and (image := stems.get(stem[: len(stem) - len(name)] + bare)):
                pairs.append((file, image))
        return pairs

    @cached_property
    def strangers(self) -> dict[str, list[str]]:
        """Folder of masks beside a folder of images -> its files, where none of them has the name of an image."""
        strangers: dict[str, list[str]] = {}
        beside = {folder.parent for file in self.images for folder in _named(file, IMAGE_FOLDERS)}
        for file in self.images:
            for folder in _named(file, MASK_FOLDERS):
                if folder.parent in beside and not any(mask.startswith(f"{folder}/") for mask in self.masks):
                    strangers.setdefault(str(folder), []).append(file)
        return strangers

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Images and volumes that are no masks."""
        return tuple(file for file in self.readable if file not in self.masks)

    @property
    def volumes(self) -> bool:
        """Whether all images are volumes."""
        return bool(self.images) and all(image.lower().endswith(Volumes.SUFFIXES) for image in self.images)

    @cached_property
    def dicom(self) -> list[str]:
        """Files of DICOM, by suffix or, where they have none of another kind, by content."""
        other = (*(suffix for suffix in READERS.suffixes if suffix not in Dicom.SUFFIXES), *TABLES, ".npz")
        return [f for f in self.files if not f.lower().endswith(other) and is_dicom(self.root / f)]

    @cached_property
    def tables(self) -> list[Path]:
        """Tables in the folder itself."""
        return [self.root / file for file in self.files if "/" not in file and file.lower().endswith(TABLES)]

    @cached_property
    def others(self) -> str:
        """Files that are nothing of that, counted by suffix; "" where there are none."""
        known = {*self.readable, *self.dicom, *(table.name for table in self.tables)}
        counts = Counter(PurePosixPath(file).suffix or "no suffix" for file in self.files if file not in known)
        return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())

    def folders(self, below: str = "") -> dict[str, list[str]]:
        """Folder directly below a folder -> the images in it, "" for those beside the folders."""
        start = f"{below}/" if below else ""
        images: dict[str, list[str]] = {}
        for image in self.images:
            if image.startswith(start):
                rest = image.removeprefix(start)
                images.setdefault(rest.partition("/")[0] if "/" in rest else "", []).append(image)
        return images

    def empty_folders(self, below: str = "") -> list[str]:
        """Visible folders directly below a folder in which no image lies."""
        entries = sorted((self.root / below).iterdir())
        names = [e.name for e in entries if e.is_dir() and not e.is_symlink() and not hidden(e.name)]
        return [name for name in names if name not in self.folders(below)]


def further_channels(images: Sequence[str]) -> list[str]:
    """The images that are further channels of others, as nnU-Net names them: each image has the same, from _0000 on."""
    channels: dict[str, set[str]] = {}
    for image in images:
        stem = READERS.stem(image)
        channels.setdefault(CHANNEL.sub("", stem), set()).add(stem[-len(FIRST_CHANNEL) :])
    first, *others = channels.values()
    if len(first) < 2 or FIRST_CHANNEL not in first or any(other != first for other in others):
        return []
    return [image for image in images if not READERS.stem(image).endswith(FIRST_CHANNEL)]


def channel_patterns(channels: Iterable[str]) -> list[str]:
    """Patterns of the names of further channels of images, as nnU-Net has them; other files by their own names."""
    patterns = set()
    for image in channels:
        match, name = CHANNEL.search(READERS.stem(image)), PurePosixPath(image).name
        patterns.add(f"*{match.group()}{image[match.end() :]}" if match else glob.escape(name))
    return sorted(patterns)


def _alike(image: str, mask: str) -> int:
    """How many folders two paths share."""
    return len({*PurePosixPath(image).parts[:-1]} & {*PurePosixPath(mask).parts[:-1]})


def _named(file: str, names: Sequence[str] | frozenset[str]) -> list[PurePosixPath]:
    """The folders above a file that are called by one of some names."""
    return [folder for folder in PurePosixPath(file).parents if plain(folder.name) in names]


def spread(items: Sequence[T], count: int = SAMPLED) -> list[T]:
    """At most `count` of the items, evenly spread."""
    return evenly(items, count)


def side_of(side: float, most: int = SIDE) -> int:
    """The side to bring images to: 8 px at least, a multiple of 4."""
    return max(8, 4 * round(min(most, side) / 4))


def look(paths: Sequence[Path]) -> tuple[int, int, float, list[str], dict[Path, tuple[float, ...]]]:
    """Of some of the files: median longer side, channels, samples a file, what cannot be read, spans (`Header.span`).

    InputError where none of them can be read.
    """
    volumes = all(path.name.lower().endswith(Volumes.SUFFIXES) for path in paths)
    sides, channels, planes, problems, spans = [], [], [], [], {}
    for path in spread(paths, VOLUMES_SAMPLED if volumes else SAMPLED):
        try:
            header = READERS.of(path).probe(path)
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {reason(error)}")
        else:
            sides.append(max(header.height, header.width))
            channels.append(header.channels)
            planes.append(1 if header.planes is None else header.planes)
            spans[path] = header.span
    if not sides:
        raise InputError(paths[0].parent, "images that can be read", problems[0] if problems else "none")
    return int(np.median(sides)), max(channels), float(np.mean(planes)), problems, spans


def mask_values(masks: Iterable[Path]) -> list[int]:
    """The values in masks, sorted; InputError where they are not the numbers of a few classes."""
    values: set[int] = set()
    for path in masks:
        try:
            reader = READERS.for_masks.of(path)
            header = reader.probe(path)
            for plane in range(header.planes or 1):
                values |= {int(value) for value in np.unique(reader.values(path, plane))}
        except (OSError, ValueError) as error:
            raise InputError(path, "a mask of whole numbers, one a class", reason(error)) from error
        if len(values) > MOST_VALUES or max(values) > 255:
            came = f"{len(values)} values from {min(values)} to {max(values)}"
            if len(values) > MOST_VALUES:
                came += f", as {SMOOTHING} make them: save the masks without, or round them to their classes first"
            raise InputError(path, f"at most {min(MOST_VALUES, MOST_CLASSES)} values, one a class", came)
    return sorted(values)
