"""Images as a caller has them (an array, paths, a folder) as the `data` section of a recipe, which a source reads."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.files import replacement, write_atomic
from ..errors import InputError

Images = npt.NDArray[np.generic] | Sequence[Path | str] | Path | str
"""(N, H, W), (N, H, W, 1) or (N, H, W, 3) of uint8, wider unsigned integers or floats in [0, 1]; files; or a folder of
them, in the order of their paths."""


def data_of(images: Images, folder: Path, image_size: int) -> dict[str, object]:
    """The `data` section that finds the images as one pool without labels, each a group of its own, in their order.

    An array is written to `folder` as an NPZ file, paths as a CSV, named by what they hold.
    Errors: nothing, an array that is not of images, a folder that is none. What sources refuse, they refuse later.
    """
    common: dict[str, object] = {"group": "none", "image_size": image_size}
    if isinstance(images, str | Path):
        return {"source": "folder", "root": str(images), "labels": "none", **common}
    if len(images) == 0:
        raise InputError("images", "at least one", "none")
    if isinstance(images, np.ndarray):
        return {"source": "npz", "root": str(_array(images, folder)), **common}
    for path in images:
        if not isinstance(path, str | Path):
            raise InputError("images", "an array (N, H, W) or (N, H, W, C), paths, or a folder", type(path).__name__)
    files = [Path(path).resolve() for path in images]
    root = Path(os.path.commonpath([file.parent for file in files]))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([["path"], *([file.relative_to(root)] for file in files)])
    file_list = folder / f"images-{_digest(table.getvalue().encode())}.csv"
    write_atomic(file_list, table.getvalue())
    return {"source": "csv", "root": str(file_list), "images": str(root), "columns": {"path": "path"}, **common}


def _array(images: npt.NDArray[np.generic], folder: Path) -> Path:
    if images.ndim not in (3, 4) or images.dtype.kind not in "ufb":
        raise InputError("images", "an array (N, H, W) or (N, H, W, C) of pixels", f"{images.dtype} {images.shape}")
    rows = np.ascontiguousarray(images)
    path = folder / f"images-{_digest(str((rows.dtype, rows.shape)).encode(), rows.data.cast('B'))}.npz"
    if not path.is_file():
        with replacement(path) as file:
            np.savez(file, images=rows)
    return path


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
