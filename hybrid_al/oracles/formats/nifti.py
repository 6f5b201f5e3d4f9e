"""NIfTI label maps, as ITK-SNAP and most programs for volumes save them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core.types import AnnotationKind
from ...data.readers.volumes import Volumes, load_volume
from ...errors import reading
from .base import Asked, Given, Sheet, colour
from .content import Content
from .voxels import EMPTY, STEPS, by_values, given, write_images

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd")
LABELS = "labels.txt"


class Nifti:
    """Images with their geometry, and masks in the values of `data.mask_values`."""

    TOOL: ClassVar[str] = "ITK-SNAP, and programs that read NIfTI"
    KINDS: ClassVar[tuple[AnnotationKind, ...]] = ("mask",)
    STEPS: ClassVar[tuple[str, ...]] = (f"Segmentation > Import label descriptions: {LABELS}", *STEPS, EMPTY)

    @staticmethod
    def claims(content: Content) -> bool:
        """See `Format.claims`: a NIfTI file or MetaImage, or a folder of them; NRRD has names of segments."""
        return any(Volumes.claims(head) and not head.startswith(b"NRRD") for head in content.heads)

    @staticmethod
    def write(sheet: Sheet, folder: Path) -> None:
        """See `Format.write`."""
        values = {name: int(value) for value, name in sheet.values.items()}
        table = np.asarray([values[name] for name in sheet.classes], dtype=np.uint16)
        (folder / "start").mkdir()
        for block, start in write_images(sheet, folder):
            numbers = np.asarray(start.dataobj)
            mask = type(start)(table[numbers.clip(0, len(table) - 1)], start.affine, start.header)
            mask.header.set_data_dtype(np.uint16)
            (folder / "start" / f"{block.name}.nii.gz").write_bytes(gzip.compress(mask.to_bytes(), mtime=0))
        (folder / LABELS).write_text(descriptions(sheet), encoding="utf-8")

    @staticmethod
    def read(content: Content, asked: Asked) -> Sequence[Given]:
        """See `Format.read`; InputError for a file that lies elsewhere than its image, or whose values mean nothing."""
        out: list[Given] = []
        for file in content.files:
            if file.name.lower().endswith(SUFFIXES):
                out += read_values(file, asked)
        return out


def descriptions(sheet: Sheet) -> str:
    """What values mean, as ITK-SNAP reads it."""
    lines = ["# value red green blue alpha visible mesh name"]
    for k, (value, name) in enumerate(sheet.values.items()):
        text = colour(k)
        red, green, blue = (int(text[i : i + 2], 16) for i in (1, 3, 5))
        shown = int(name != sheet.classes[0])
        lines.append(f'{value:>5} {red:>4} {green:>4} {blue:>4} {shown:>8} {shown} {shown} "{name}"')
    return "\n".join(lines) + "\n"


def read_values(file: Path, asked: Asked) -> list[Given]:
    """What a label map says of each image that it lies on, by `asked.values`; see `Format.read` for errors."""
    with reading(file, "a mask that lies on an image of the query"):
        image = load_volume(file)
        reference = asked.reference(file.name)
        if sorted(image.shape[:3]) != sorted(reference.shape) or any(n != 1 for n in image.shape[3:]):
            shapes = (" x ".join(map(str, shape)) for shape in (image.shape, reference.shape))
            raise ValueError("{} voxels, its image has {}".format(*shapes))
        voxels = np.asarray(image.dataobj).reshape(image.shape[:3])
        background = next(iter(asked.values.values()))
        drawn = [(name, mask) for name, mask in by_values(voxels, asked.values) if name != background]
        return given(file, drawn, image.affine, asked)
