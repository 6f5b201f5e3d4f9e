"""Volumes whose slices are asked about: each is one image, and a label volume is parted into those slices."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..core.manifest import Manifest
from ..core.types import LabelMap
from ..data.readers.volumes import Axis, Volumes, load_volume
from ..data.volume_masks import mask_on
from ..oracles.formats.base import Plane, Reference, image_name
from ..oracles.formats.voxels import millimetres

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image


@lru_cache(maxsize=2)  # a client asks for what it says of an image, then for the image
def _packed(file: Path, time: int) -> bytes:
    image = load_volume(file)
    voxels = np.asarray(image.dataobj)
    plain = type(image)(voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels, image.affine)
    plain.header.set_xyzt_units("mm")
    return gzip.compress(plain.to_bytes(), compresslevel=1, mtime=0)


@dataclass(frozen=True)
class Slices:
    """The slices of one volume that a query asks about: position -> slice, best first; never none."""

    planes: Mapping[int, Plane]

    @property
    def first(self) -> Plane:
        """The best of them."""
        return next(iter(self.planes.values()))

    @property
    def name(self) -> str:
        """Of the volume, without ending."""
        return self.first.name

    @classmethod
    def by_volume(cls, planes: Iterable[tuple[int, Plane | None]]) -> dict[str, Slices]:
        """Those of slices (position, slice) by the name of their volume; images are left out."""
        found: dict[str, dict[int, Plane]] = {}
        for index, plane in planes:
            if plane is not None:
                found.setdefault(plane.name, {})[index] = plane
        return {name: cls(each) for name, each in found.items()}

    def image(self) -> bytes:
        """The voxels as packed NIfTI, in their place in space; nothing else of the file."""
        return _packed(self.first.file, self.first.file.stat().st_mtime_ns)

    def labels(self, maps: Mapping[int, LabelMap]) -> Nifti1Image:
        """Label maps (H, W) of slices by position as a volume, 0 elsewhere."""
        axis = cast(Axis, self.first.axis)
        header = Volumes(axis).probe(self.first.file)
        voxels = np.zeros((cast(int, header.planes), header.height, header.width), dtype=np.uint8)
        for index, labels in maps.items():
            voxels[self.planes[index].z] = labels
        return mask_on(self.first.file, voxels, axis)

    def reference(self, manifest: Manifest) -> Reference:
        """What a label volume lies on; its slices have the names of their images."""
        image = load_volume(self.first.file)
        names = {plane.z: image_name(manifest, index) for index, plane in self.planes.items()}
        return Reference(tuple(image.shape[:3]), image.affine, dict(sorted(names.items())), self.first.axis)

    def told(self, manifest: Manifest) -> dict[str, Any]:
        """What a client is told of them: number from 0, place in millimetres, sample."""
        places = [
            {"slice": plane.z, "axis": plane.axis, "millimetres": round(millimetres(plane), 2),
             "sample": manifest.ids[index]}
            for index, plane in self.planes.items()
        ]  # fmt: skip
        return {"slices": places}
