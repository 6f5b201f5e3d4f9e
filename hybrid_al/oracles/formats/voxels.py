"""Masks as voxels: images and volumes with their geometry go out, label maps that lie on them come in."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...core.types import BoolArray, LabelMap
from ...data.drawn.base import Mark
from ...data.masks import SHIFT
from ...data.readers.volumes import AXES, Axis, Volumes, load_volume, upright_slices
from ...data.volume_masks import mask_on
from .base import Asked, Given, Item, Plane, Reference, Sheet

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

WHOLE = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings of volumes in one file."""

FLAT = np.diag([-1.0, -1.0, 1.0, 1.0])
"""The affine of an image as one slice, as tools read PNG: columns to the left, rows to the back, a pixel a mm."""

STEPS = (
    "load the files of images/, each with the file of its name in start/: it has the classes, and the model's proposal",
    "slices.csv says which slices of a volume are asked about, others are not read; draw there, and save the "
    "segmentation under the name of the image, all in one folder",
)
EMPTY = "hand the folder in; where nothing is drawn an image waits, --empty says that there is nothing to draw"


@dataclass(frozen=True)
class Block:
    """The items of one file: a single image, or the slices that are asked about of a volume."""

    name: str
    items: tuple[Item, ...]

    @property
    def suffix(self) -> str:
        """Of the image file: its own where the file holds all of a volume."""
        plane = self.items[0].plane
        name = "" if plane is None else plane.file.name.lower()
        return next((end for end in WHOLE if name.endswith(end)), ".nii.gz")

    def write_image(self, path: Path) -> None:
        """Write the volume as it is, or the image as one slice."""
        plane = self.items[0].plane
        if plane is not None and plane.file.name.lower().endswith(WHOLE):
            shutil.copyfile(plane.file, path)
            return
        if plane is not None:
            volume = load_volume(plane.file)
        else:
            with Image.open(io.BytesIO(self.items[0].png())) as image:
                volume = flat(np.asarray(image))
        path.write_bytes(gzip.compress(volume.to_bytes(), mtime=0))

    def start(self) -> Nifti1Image:
        """A mask to begin with, in numbers of classes: the model's proposal on the slices that are asked about."""
        maps = [item.proposal.labels if item.proposal else None for item in self.items]
        plane = self.items[0].plane
        if plane is None:
            size = self.items[0].size
            return flat(np.zeros(size, dtype=np.uint8) if maps[0] is None else maps[0])
        planes = Volumes(cast(Axis, plane.axis)).probe(plane.file).planes
        slices = np.zeros((cast(int, planes), *self.items[0].size), dtype=np.uint8)
        for item, labels in zip(self.items, maps, strict=True):
            if labels is not None and item.plane is not None:
                slices[item.plane.z] = labels
        return mask_on(plane.file, slices, cast(Axis, plane.axis))


def flat(pixels: npt.NDArray[np.uint8]) -> Nifti1Image:
    """An image (H, W), or of colours (H, W, 3), as a volume of one slice."""
    import nibabel

    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels).view([(name, "u1") for name in "RGB"])[:, :, 0]
    image = nibabel.Nifti1Image(np.ascontiguousarray(pixels.T[:, :, None]), FLAT)
    image.header.set_xyzt_units("mm")
    return image


def blocks(sheet: Sheet) -> list[Block]:
    """The items of a query by the file that they lie in."""
    by_name: dict[str, list[Item]] = {}
    for item in sheet.items:
        by_name.setdefault(item.name if item.plane is None else item.plane.name, []).append(item)
    return [Block(name, tuple(items)) for name, items in by_name.items()]


def write_images(sheet: Sheet, folder: Path) -> Iterator[tuple[Block, Nifti1Image]]:
    """Write `images/`, and `slices.csv`; each file's items with the mask to begin with."""
    (folder / "images").mkdir()
    rows: list[tuple[object, ...]] = []
    for block in blocks(sheet):
        name = f"{block.name}{block.suffix}"
        block.write_image(folder / "images" / name)
        start = block.start()
        rows += [(name, item.id, *_place(item, start)) for item in block.items if item.plane is not None]
        yield block, start
    if rows:
        out = io.StringIO()
        header = ("file", "id", "axis", "millimetres", "voxel from 1")
        csv.writer(out, lineterminator="\n").writerows([header, *rows])
        (folder / "slices.csv").write_text(out.getvalue(), encoding="utf-8")


def _place(item: Item, volume: Nifti1Image) -> tuple[str, str, str]:
    """Where a slice is: its axis, millimetres along it, and the voxel in its middle as ITK-SNAP counts."""
    assert item.plane is not None
    middle = middle_of(item.plane)
    voxel = np.rint(np.linalg.solve(volume.affine, middle)[:3]).astype(int) + 1
    return item.plane.axis, f"{millimetres(item.plane):.2f}", " ".join(map(str, voxel.tolist()))


def middle_of(plane: Plane) -> npt.NDArray[np.float64]:
    """The place (4,) of the middle of a slice, in millimetres."""
    header = Volumes(cast(Axis, plane.axis)).probe(plane.file)
    affine = np.asarray(header.affine).reshape(4, 4)
    place: npt.NDArray[np.float64] = affine @ [plane.z, (header.height - 1) / 2, (header.width - 1) / 2, 1]
    return place


def millimetres(plane: Plane) -> float:
    """Where a slice lies along its axis."""
    return float(middle_of(plane)[AXES[cast(Axis, plane.axis)][0]])


def given(
    file: Path,
    voxels: Sequence[tuple[str, npt.NDArray[np.bool_]]],
    affine: npt.NDArray[np.float64],
    asked: Asked,
) -> list[Given]:
    """What voxels of each label say of the slices that may be answered; `asked.say` tells of labels on other slices.

    ValueError where they lie elsewhere than the image.
    """
    reference = asked.reference(file.name)
    numbers = np.zeros(reference.shape, dtype=np.uint8)
    for k, (name, mask) in enumerate(voxels, 1):
        whole = place(mask, affine, reference)
        if (whole & (numbers > 0)).any():
            raise ValueError(f"voxels of {name} that are {voxels[int(numbers[whole].max()) - 1][0]} too")
        numbers[whole] = k
    names = [name for name, _ in voxels]
    if reference.axis is None:
        return [_image(file.name, reference.images[0], numbers[:, :, 0].T, names)]
    slices = upright_slices(numbers, reference.affine, cast(Axis, reference.axis))
    others = [z for z in np.flatnonzero(slices.any(axis=(1, 2))).tolist() if z not in reference.images]
    if others:
        asked.say(f"{file.name}: labels on {len(others)} slices that nobody asked about are not read")
    return [_image(f"{file.name} slice {z}", name, slices[z], names) for z, name in reference.images.items()]


def _image(where: str, image: str, numbers: LabelMap, names: Sequence[str]) -> Given:
    marks = []
    for k, name in enumerate(names, 1):
        if (mask := numbers == k).any():
            marks.append(Mark(name, draw=partial(_same, mask)))
    return Given(where, image, (int(numbers.shape[0]), int(numbers.shape[1])), (), tuple(marks))


def _same(mask: BoolArray, height: int, width: int) -> BoolArray:
    return mask


def place(voxels: BoolArray, affine: npt.NDArray[np.float64], reference: Reference) -> BoolArray:
    """Voxels on the grid of an image, of which they may be a part, with axes in another order or turned round.

    ValueError where they lie between its voxels, or beyond them.
    """
    to = np.linalg.solve(reference.affine, affine)
    turn = np.rint(to[:3, :3]).astype(int)
    far = np.abs(to[:3, :3] - turn) @ np.asarray(voxels.shape)
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all() or far.max() > SHIFT:
        raise ValueError("voxels of another size or direction than those of its image: resample it onto that")
    shift = np.rint(to[:3, 3]).astype(int)
    apart = float(np.abs(to[:3, 3] - shift).max())
    if apart > SHIFT:
        raise ValueError(f"it lies {apart:.2g} voxels beside its image, at most {SHIFT:g} is taken as the same place")
    order = [int(np.flatnonzero(row)[0]) for row in turn]
    signs = [int(row[k]) for row, k in zip(turn, order, strict=True)]
    moved = voxels.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    begin = [s - (n - 1) * (sign < 0) for s, n, sign in zip(shift.tolist(), moved.shape, signs, strict=True)]
    out = np.zeros(reference.shape, dtype=np.bool_)
    inside, part = [], []
    for b, n, size in zip(begin, moved.shape, reference.shape, strict=True):
        inside.append(slice(max(b, 0), min(b + n, size)))
        part.append(slice(max(-b, 0), max(min(b + n, size) - b, 0)))
    beyond = int(moved.sum()) - int(moved[tuple(part)].sum())
    if beyond:
        raise ValueError(f"{beyond} labeled voxels beyond its image of {' x '.join(map(str, reference.shape))} voxels")
    out[tuple(inside)] = moved[tuple(part)]
    return out


def by_values(voxels: npt.NDArray[np.generic], values: Mapping[int, str]) -> list[tuple[str, BoolArray]]:
    """(label, mask) of each value beside that of the background; ValueError for values that mean nothing."""
    found = np.unique(voxels).tolist()
    if unknown := [value for value in found if value not in values]:
        known = ", ".join(f"{value} {name}" for value, name in sorted(values.items()))
        raise ValueError(f"the value {unknown[0]:g}, which is none of {known}")
    return [(values[int(value)], voxels == value) for value in found]
