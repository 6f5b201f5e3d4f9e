"""Source of the MNI152 brain template with its tissue classes, from the nilearn package: real NIfTI, no download."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from ...core.files import home, write_atomic
from ...core.types import LabelMap
from ...errors import InputError
from ..base import Dataset
from ..files import files_dataset
from ..index import FileIndex
from ..readers import choose
from ..tables import Table

CLASSES = ("background", "gray matter", "white matter")
SLAB = 10  # axial slices of 1 mm in one volume
TURN = ("train", "train", "val", "train", "test")
VERSION = "1"


@dataclass(frozen=True)
class Mni152:
    """Axial slices of the ICBM152 2009a symmetric T1 template (Fonov et al., NeuroImage 2011), gray and white matter.

    The template is one brain, so it is cut into slabs of 10 mm from below to above, which count as volumes: two of
    five are held out. Slabs lie side by side in the same head: scores say that the code works, not how well it would
    find tissue in another brain. The truth is the tissue, or the rest, whose probability is the largest.

    root   folder of the slabs, NIfTI files with an index.csv, which are written at first; default ~/.hybrid-al/mni152
    stack  see `Volumes`

    The package nilearn (`pip install 'hybrid-al[mni]'`) is needed until the files are there.
    """

    root: Path | None = None
    stack: int = 1

    def load(self, index: FileIndex | None = None) -> Dataset:
        """Cut the template into slabs the first time, and read their slices."""
        root = home("data.root") / ".hybrid-al" / "mni152" if self.root is None else Path(self.root)
        if root.exists() and not root.is_dir():
            raise InputError(f"data.root: {root}", "a folder", "a file")
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "lock"):
            if not (root / "index.csv").is_file():
                _cut(root)
        columns = {"path": "{id}.nii.gz", "mask": "{id}_tissue.nii.gz", "split": "split"}
        folder, _, volumes = Table(root, columns, group="none").find()
        return files_dataset(
            folder,
            volumes,
            choose({"name": "volumes", "stack": self.stack}, window=(0, 1)),
            classes=CLASSES,
            holdout={},
            seed=0,
            on_error="stop",
            values={},
            index=index,
        )


def tissue(gray: np.ndarray, white: np.ndarray) -> LabelMap:
    """The likeliest class of gray matter (1), white matter (2) and all else (0), by the probabilities of the first two.

    All arrays have one shape.
    """
    labels: LabelMap = np.stack([1 - gray - white, gray, white]).argmax(axis=0).astype(np.uint8)
    return labels


def slabs(classes: LabelMap) -> list[slice]:
    """Slabs of axial slices (X, Y, Z), from the lowest to the highest slice that shows tissue; the last may be thin."""
    levels = np.flatnonzero((classes > 0).any(axis=(0, 1)))
    low, high = int(levels[0]), int(levels[-1]) + 1
    return [slice(z, min(z + SLAB, high)) for z in range(low, high, SLAB) if high - z > 1]


def _cut(root: Path) -> None:
    """Write a volume and a mask for each slab, and index.csv last, as a sign that all are there."""
    if importlib.util.find_spec("nilearn") is None:
        raise InputError("data", "the package nilearn, which has the template (pip install 'hybrid-al[mni]')", "none")
    import nibabel
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    brain, gray, white = (
        load(resolution=1) for load in (load_mni152_template, load_mni152_gm_template, load_mni152_wm_template)
    )
    light = np.asarray(brain.dataobj, dtype=np.float32)
    classes = tissue(np.asarray(gray.dataobj, dtype=np.float32), np.asarray(white.dataobj, dtype=np.float32))
    light = (light / light.max()).clip(0, 1)
    lines = ["id,split"]
    for k, slab in enumerate(slabs(classes)):
        for name, values in ((f"slab{k:02d}", light), (f"slab{k:02d}_tissue", classes)):
            image = nibabel.Nifti1Image(values[:, :, slab], brain.affine)
            write_atomic(root / f"{name}.nii.gz", _gzip(image.to_bytes()))
        lines.append(f"slab{k:02d},{TURN[k % len(TURN)]}")
    write_atomic(root / "index.csv", "\n".join(lines) + "\n")


def _gzip(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, mtime=0)  # the same slabs are the same bytes
