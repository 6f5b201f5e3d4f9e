"""Small whole-slide images for tests: pink tissue on glass, as pyramids of several kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile

Kind = Literal["subifds", "pages", "flat"]
PINK, GLASS = (200, 110, 170), 243


def picture(
    height: int, width: int, tissue: tuple[slice, slice] | None, seed: int = 0, colour: tuple[int, ...] = PINK
) -> npt.NDArray[np.uint8]:
    """Glass (height, width, 3) with a rectangle of tissue, both with a little noise."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), GLASS, dtype=np.uint8)
    if tissue is not None:
        pixels[tissue] = colour
    return pixels + rng.integers(0, 4, pixels.shape, dtype=np.uint8)


def write_slide(
    file: Path,
    pixels: npt.NDArray[np.uint8],
    *,
    mpp: float | None = 0.5,
    kind: Kind = "subifds",
    shrink: tuple[int, ...] = (4,),
    **options: Any,
) -> Path:
    """A tiled TIFF of 64 px tiles with levels that are `shrink` times smaller, by averages; lossless."""
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None, **options}
    unit: dict[str, Any] = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    levels = () if kind == "flat" else shrink
    with tifffile.TiffWriter(file) as out:
        out.write(pixels, subifds=len(levels) if kind == "subifds" else None, **unit, **options)
        for k in levels:
            h, w = pixels.shape[0] // k, pixels.shape[1] // k
            small = pixels[: h * k, : w * k].reshape(h, k, w, k, 3).mean(axis=(1, 3)).round().astype(np.uint8)
            out.write(small, subfiletype=1, **options)
    return file
