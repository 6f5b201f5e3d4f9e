"""Masks, the class of each pixel of an image: from the values in files to label maps in the size of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.types import IGNORE, BoolArray, IntArray, LabelMap
from ..errors import InputError, UnknownName
from .pixels import image_box
from .readers.base import Header
from .readers.images import SIDEWAYS, read_values

MASKS_VERSION = "2"
"""Raise it when reading or resizing gives other label maps than before: the keys of caches contain it."""

MOST_CLASSES = 254
LISTED = 5
SMOOTHED = 4  # values without a class from which on they look like smoothed edges
SMOOTHING = "smoothed edges (antialiasing, interpolation) or a lossy format"
SHIFT = 0.1  # of a voxel by which a mask may lie beside its volume


class EmptyMask(ValueError):
    """A mask all of whose pixels are to be ignored."""


def value_table(values: Mapping[int, str], classes: Sequence[str]) -> dict[int, int]:
    """Value in the mask files -> class number, `IGNORE` for the word ignore; 0 to C - 1 where `values` is empty."""
    if not 2 <= len(classes) <= MOST_CLASSES:
        expected = f"the names of 2 to {MOST_CLASSES} classes of pixels, the background first"
        raise InputError("data.classes", expected, ", ".join(classes) or "none")
    if "ignore" in classes:
        raise InputError("data.classes", "no class ignore: data.mask_values: {VALUE: ignore} says it of a value", "one")
    if not values:
        return {c: c for c in range(len(classes))}
    number = {name: c for c, name in enumerate(classes)} | {"ignore": IGNORE}
    for value, name in values.items():
        if name not in number:
            raise UnknownName(f"data.mask_values.{value}", name, number)
    unnamed = [name for name in classes if name not in values.values()]
    if unnamed:
        raise InputError("data.mask_values", f"a value for each class, also for {unnamed[0]}", str(dict(values)))
    return {value: number[name] for value, name in values.items()}


def in_words(table: Mapping[int, int], classes: Sequence[str]) -> str:
    """What each value in a mask file means: `0 background, 255 nucleus, 128 not known`."""
    names = dict(enumerate(classes)) | {IGNORE: "not known"}
    return ", ".join(f"{value} {names[c]}" for value, c in sorted(table.items()))


def read_mask(file: Path | BinaryIO, table: Mapping[int, int]) -> LabelMap:
    """The label map of an image file; see `read_values` for palettes and colours.

    Raises OSError or ValueError with the reason, as `decode` does, and for values that the table does not have.
    """
    return to_classes(read_values(file), table)


def to_classes(array: npt.NDArray[Any], table: Mapping[int, int]) -> LabelMap:
    """The label map of an array of values, of one mask (H, W) or of all slices of one (Z, H, W).

    Raises ValueError for values that are not in the table, and where no pixel at all has a class.
    """
    classes = classes_of(array, table)
    if (classes == IGNORE).all():
        raise EmptyMask("every pixel is to be ignored, so the mask says nothing")
    return classes


def merged(maps: Sequence[LabelMap]) -> LabelMap:
    """What several label maps (H, W) of one image draw together: a pixel is of the class that any of them gives it.

    It is `IGNORE` where none gives it a class and one ignores it. ValueError where two give it different classes.
    """
    drawn: LabelMap = maps[0].copy()
    for one in maps[1:]:
        free, new = (drawn == 0) | (drawn == IGNORE), (one != 0) & (one != IGNORE)
        if (clash := ~free & new & (one != drawn)).any():
            raise ValueError(
                f"{int(clash.sum())} pixels are of one class in one mask of an image, of another in another"
            )
        drawn[(drawn == 0) & (one == IGNORE)] = IGNORE
        drawn[free & new] = one[free & new]
    return drawn


def classes_of(array: npt.NDArray[Any], table: Mapping[int, int]) -> LabelMap:
    """As `to_classes`, but all pixels may be `IGNORE`, as in a slice whose mask has classes in other slices.

    Numbers mean what the table says and nothing else. White of a file of one bit is 1, or 255 where 1 has no meaning.
    """
    if array.dtype == np.bool_ and 1 not in table and 255 in table:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        raise ValueError("values that are no whole numbers")
    values, where, counts = np.unique(array.astype(np.int64), return_inverse=True, return_counts=True)
    unknown = [int(v) for v in values if int(v) not in table]
    if unknown:
        listing = ", ".join(map(str, unknown[:LISTED])) + (", ..." if len(unknown) > LISTED else "")
        share = f"{int(counts[np.isin(values, unknown)].sum())} of {array.size} pixels"
        how = f"data.mask_values: {{{unknown[-1]}: NAME}} would name one"
        if len(unknown) >= SMOOTHED:
            how += f"; if {SMOOTHING} made them, save the mask without"
        raise ValueError(f"values {listing} outside the classes ({_options(table)}) in {share}: {how}")
    return np.asarray([table[int(v)] for v in values], dtype=np.uint8)[where].reshape(array.shape)


def check_known(array: npt.NDArray[Any], table: Mapping[int, int], classes: Sequence[str]) -> None:
    """ValueError where 255 may be a class: a mask of 0 and 255 alone is how programs save black and white.

    array  (n,) the values that count, of a table in which 255 means not known without that the recipe says so
    """
    values = set(np.unique(array).tolist())
    if 255 in values and {table.get(int(v)) for v in values} == {0, IGNORE}:
        unknown, name = int((array == 255).sum()), classes[1]
        raise ValueError(
            f"values {', '.join(map(str, sorted(map(int, values))))} alone: are the {unknown} pixels of 255 {name}, or "
            f"not known? Here {_options(table)} are {in_words(table, classes)}; only a run that begins with "
            f"data.mask_values: {{0: {classes[0]}, 255: {name}}} (or 255: ignore) reads 255 as that"
        )


def _options(table: Mapping[int, int]) -> str:
    return ", ".join(map(str, sorted(table)))


def resize_mask(mask: LabelMap, size: int) -> LabelMap:
    """The label map (size, size) that belongs to `pixels.resize` of its image: nearest pixel, padding is `IGNORE`."""
    box = image_box(mask.shape[0], mask.shape[1], size)
    out: LabelMap = np.full((size, size), IGNORE, dtype=np.uint8)
    image = Image.fromarray(np.ascontiguousarray(mask)).resize((box.width, box.height), Image.Resampling.NEAREST)
    out[box.rows, box.columns] = np.asarray(image)
    return out


def resize_marks(mask: LabelMap, size: int) -> LabelMap:
    """As `resize_mask`, but thin marks stay: a pixel has the most frequent class of the pixels in it, without `IGNORE`.

    So points and strokes of single pixels survive in a smaller map. Of equals the higher class counts.
    """
    box = image_box(mask.shape[0], mask.shape[1], size)
    rows, columns = np.nonzero(mask != IGNORE)
    place = (rows * box.height // mask.shape[0] + box.top) * size + columns * box.width // mask.shape[1] + box.left
    classes = mask[rows, columns].astype(np.int64)
    counts = np.zeros((int(classes.max(initial=0)) + 1, size * size), dtype=np.int64)
    np.add.at(counts, (classes, place), 1)
    majority = len(counts) - 1 - counts[::-1].argmax(axis=0)
    return np.where(counts.any(axis=0), majority, IGNORE).astype(np.uint8).reshape(size, size)


def inside(sizes: IntArray, size: int) -> BoolArray:
    """Which pixels (B, size, size) of resized images are no padding, by the images' own height and width (B, 2)."""
    valid = np.zeros((len(sizes), size, size), dtype=np.bool_)
    for map_valid, (height, width) in zip(valid, sizes.tolist(), strict=True):
        box = image_box(height, width, size)
        map_valid[box.rows, box.columns] = True
    return valid


def blank(sizes: IntArray, size: int) -> LabelMap:
    """Label maps (B, size, size) of background alone, `IGNORE` in padding; see `inside`."""
    return np.where(inside(sizes, size), 0, IGNORE).astype(np.uint8)


def check_lies_on(path: str, mask: Header, image: Header) -> None:
    """ValueError where a mask has another shape than its image, lies elsewhere in space, or may be turned otherwise."""
    if mask.planes is None and image.planes is None:
        _check_turned(path, mask, image)
    elif (mask.planes, mask.height, mask.width) != (image.planes, image.height, image.width):
        raise ValueError(f"expected {_shape(image)} voxels as its volume, got {_shape(mask)}: resample it onto that")
    if mask.affine and image.affine:
        distance, shift = _apart(mask, image)
        if shift > SHIFT:
            raise ValueError(
                f"it lies elsewhere in space than its volume: {distance:.3g} mm ({shift:.2g} voxels) at the farthest "
                f"corner by their affines, at most {SHIFT:g} voxels are taken as the same place: resample it onto its "
                "volume, or give it the affine of the volume where its header is what is wrong"
            )


def _check_turned(path: str, mask: Header, image: Header) -> None:
    """ValueError for another size, and where one of two files was turned by EXIF and size does not tell the other's."""
    turned, other = ("image", mask) if image.orientation else ("mask", image)
    orientation = max(image.orientation, mask.orientation)
    one_sided = orientation > 1 and not other.orientation
    tag = f"the {turned} has EXIF orientation {orientation}, the other file has none"
    if (mask.height, mask.width) != (image.height, image.width):
        came = f"got {mask.height} x {mask.width}" + (f" ({tag})" if one_sided else "")
        raise ValueError(f"expected {image.height} x {image.width} pixels as {path} has, {came}")
    if one_sided and not (orientation in SIDEWAYS and image.height != image.width):
        raise ValueError(f"{tag}, so that either may be the upright one of {path}: give both the tag, or neither")


def _apart(mask: Header, image: Header) -> tuple[float, float]:
    """How far the corners of two grids of one shape lie apart at most, in mm and in voxels of the image."""
    ours, theirs = (np.asarray(header.affine).reshape(4, 4) for header in (image, mask))
    last = [(image.planes or 1) - 1, image.height - 1, image.width - 1]
    corners = np.asarray([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*last, 1]
    apart = corners @ (theirs - ours).T[:, :3]
    voxels = np.linalg.solve(ours[:3, :3], apart.T)
    return float(np.linalg.norm(apart, axis=1).max()), float(np.abs(voxels).max())


def _shape(header: Header) -> str:
    return f"{header.planes or 1} x {header.height} x {header.width}"
