"""What a query of segmentation asks about: from the unit of a recipe to the parts of the pool's images."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.manifest import Manifest
from ..core.registry import component
from ..core.rundir import RunDir
from ..core.types import IGNORE, IntArray, LabelMap
from ..data.readers.images import fitted
from ..data.readers.masks import inside
from ..data.stores.masks import MaskStore
from ..errors import InputError
from ..recipe import Recipe
from ..regions.base import MOST_PARTS, Parts, Regions
from ..regions.fixed import UNITS, Superpixels, Unit, Windows
from ..regions.proposals import BOXES, BoxUnit, Peaks, Ripu
from ..regions.proposed import Following

if TYPE_CHECKING:
    import torch

    from ..data.stores.images import ImageStore

IMAGE = "image"  # the unit that is no part


def unit_of(recipe: Recipe) -> Unit | BoxUnit:
    """How images are taken apart: as they are, or as the model finds it."""
    units: dict[str, type[Unit | BoxUnit]] = {**UNITS, **BOXES}
    return component(units, "segmentation.unit", recipe.segmentation.unit.name, recipe.segmentation.unit.params)


def check_unit(recipe: Recipe) -> None:
    """Refuse parts that images have not, and reductions of which parts have none."""
    chosen, size, unit = recipe.segmentation, recipe.data.image_size, unit_of(recipe)
    if chosen.unit.name != IMAGE and chosen.reduction.name != "mean":
        raise InputError("segmentation.reduction", "mean, where parts of images are asked about", chosen.reduction.name)
    if isinstance(unit, Superpixels):
        check_skimage("segmentation.unit")
    side = unit.side if isinstance(unit, Windows) else unit.largest if isinstance(unit, BoxUnit) else 1
    if side > size:
        raise InputError("segmentation.unit.side", f"at most the {size} pixels of an image", str(side))
    if isinstance(unit, BoxUnit) and (windows := (-(-size // side)) ** 2) > MOST_PARTS:
        raise InputError("segmentation.unit.side", f"at most {MOST_PARTS} windows of it in an image", str(windows))


def check_skimage(where: str) -> None:
    """Refuse what scikit-image makes, where it is not there."""
    if importlib.util.find_spec("skimage") is None:
        raise InputError(where, "scikit-image (pip install hybrid-al[superpixels])", "none")


def unit_said(recipe: Recipe) -> str:
    """A unit in words."""
    unit, size = unit_of(recipe), recipe.data.image_size
    if isinstance(unit, Superpixels):
        return f"superpixels, about {unit.count} an image"
    if isinstance(unit, Windows):
        return f"windows of {unit.side} x {unit.side} px, {(-(-size // unit.side)) ** 2} an image"
    if not isinstance(unit, BoxUnit):
        return recipe.segmentation.unit.name
    grid = f"the cold start about the {(-(-size // unit.largest)) ** 2} windows of a grid of {unit.largest} px"
    said = recipe.segmentation.unit.name
    if isinstance(unit, Ripu):
        said = f"windows of {unit.side} x {unit.side} px that the last model finds impure and uncertain"
    if isinstance(unit, Peaks):
        sides = f"{unit.smallest} to {unit.largest}" if unit.smallest < unit.largest else f"{unit.largest}"
        said = f"boxes of {sides} px a side around peaks of the last model's uncertainty"
    return f"{said}, {unit.most} an image and round at most; {grid}"


def parts_of(
    recipe: Recipe,
    manifest: Manifest,
    sizes: IntArray,
    store: ImageStore,
    cache: Path,
    run: RunDir,
    device: torch.device,
) -> Parts | None:
    """The parts of the pool's images of own sizes (N, 2), as the network sees them; None where images are no parts."""
    unit, pool = unit_of(recipe), manifest.indices("pool")
    if recipe.segmentation.unit.name == IMAGE:
        return None
    if isinstance(unit, BoxUnit):
        return Following(unit, pool, _frames(sizes, store.size), store.size, run, device)
    return _cut(unit, manifest, sizes, store, cache)


def _cut(unit: Unit, manifest: Manifest, sizes: IntArray, store: ImageStore, cache: Path) -> Regions:
    pool = manifest.indices("pool")

    def read(i: int) -> LabelMap:
        shown = inside(sizes[i : i + 1], store.size)[0]
        parts = unit.parts(store.picture(i), shown)
        if parts.max() >= MOST_PARTS:
            raise InputError("segmentation.unit", f"at most {MOST_PARTS} parts an image", str(int(parts.max()) + 1))
        return np.where(shown, parts, IGNORE).astype(np.uint8)

    keys = [f"{store.keys[i]} {sizes[i]} {unit}" for i in pool.tolist()]
    names = [f"parts of {manifest.ids[i]}" for i in pool.tolist()]
    maps = MaskStore.build(pool, read, keys, names, size=store.size, cache=cache)
    found = np.zeros((len(manifest), int(np.flatnonzero(maps.pixels[:IGNORE])[-1]) + 1), dtype=np.int64)
    for i, parts in zip(pool.tolist(), maps.maps, strict=True):
        found[i] = np.bincount(parts.ravel(), minlength=IGNORE + 1)[: found.shape[1]]
    return Regions(maps.batch, found)


def _frames(sizes: IntArray, size: int) -> IntArray:
    """Top, left, bottom and right (N, 4) of pictures of own height and width (N, 2) in the square of the network."""
    boxes = [fitted(height, width, size) for height, width in sizes.tolist()]
    return np.asarray([(b.top, b.left, b.top + b.height, b.left + b.width) for b in boxes], dtype=np.int64)
