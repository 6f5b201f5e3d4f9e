"""What a query of segmentation asks about: from `task.region` to the regions of the pool's images."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.manifest import Manifest
from ..core.registry import Spec, component, parse_spec
from ..core.types import IGNORE, IntArray, LabelMap
from ..data.masks import inside
from ..data.pixels import image_box
from ..data.stores.masks import MaskStore
from ..errors import InputError
from ..regions.adaptive import Adaptive, MergedSuperpixels
from ..regions.base import MOST_PARTS, Parts, Regions
from ..regions.components import Components
from ..regions.fixed import PARTITIONS, Partition, Superpixels, Windows
from ..regions.model_boxes import ModelBoxes
from ..regions.proposals import BOXES, BoxProposer, Peaks, Points, Ripu
from .base import Materials

if TYPE_CHECKING:
    from ..data.stores.images import ImageStore

IMAGE = "image"  # the region that is the whole image


def region_of(spec: Spec) -> Partition | BoxProposer | Adaptive:
    """The regions of images: fixed ones, boxes that the model proposes, or superpixels that it merges."""
    regions: dict[str, type[Partition | BoxProposer | Adaptive]] = {**PARTITIONS, **BOXES, "adaptive": Adaptive}
    return component(regions, "task.region", *parse_spec(spec))


def check(spec: Spec, reduction: Spec, size: int) -> None:
    """Refuse regions that images of `size` pixels cannot hold, and reductions that regions do not have."""
    region, (name, _), (reducer, _) = region_of(spec), parse_spec(spec), parse_spec(reduction)
    if name != IMAGE and reducer != "mean":
        raise InputError("task.reduction", "mean, where regions of images are asked about", reducer)
    if isinstance(region, Superpixels | Adaptive):
        check_skimage("task.region")
    side = region.side if isinstance(region, Windows) else region.largest if isinstance(region, BoxProposer) else 1
    if side > size:
        raise InputError("task.region.side", f"at most the {size} pixels of an image", str(side))
    if isinstance(region, BoxProposer) and (windows := (-(-size // side)) ** 2) > MOST_PARTS:
        raise InputError("task.region.side", f"at most {MOST_PARTS} windows of it in an image", str(windows))


def check_source(spec: Spec) -> None:
    """Refuse regions that follow the model, where masks of a source are given whole."""
    if isinstance(region_of(spec), BoxProposer | Adaptive):
        expected = "whole images, windows or superpixels to ask about (task.region), as a source has no others"
        raise InputError("domains.source", expected, parse_spec(spec)[0])


def check_skimage(where: str) -> None:
    """Refuse what needs scikit-image where that is not installed."""
    if importlib.util.find_spec("skimage") is None:
        raise InputError(where, "scikit-image (pip install hybrid-al[superpixels])", "none")


def in_words(spec: Spec, size: int) -> str:
    """What a query asks about, in words; images have `size` pixels a side."""
    region, (name, _) = region_of(spec), parse_spec(spec)
    if isinstance(region, Superpixels):
        return f"superpixels, about {region.count} an image"
    if isinstance(region, Adaptive):
        return (
            f"superpixels, about {region.count} an image, of which the last model merges those that it predicts alike"
        )
    if isinstance(region, Windows):
        return f"windows of {region.side} x {region.side} px, {(-(-size // region.side)) ** 2} an image"
    if not isinstance(region, BoxProposer):
        return name
    grid = f"the cold start about the {(-(-size // region.largest)) ** 2} windows of a grid of {region.largest} px"
    words = name
    if isinstance(region, Ripu):
        words = f"windows of {region.side} x {region.side} px that the last model finds impure and uncertain"
    if isinstance(region, Points):
        words = f"pixels that the last model doubts, {region.apart} px apart"
    if isinstance(region, Components):
        words = f"boxes of {region.smallest} to {region.largest} px a side around what the last model doubts"
    if isinstance(region, Peaks):
        sides = f"{region.smallest} to {region.largest}" if region.smallest < region.largest else f"{region.largest}"
        words = f"boxes of {sides} px a side around peaks of the last model's uncertainty"
    return f"{words}, {region.most} an image and round at most; {grid}"


def parts_of(spec: Spec, materials: Materials, sizes: IntArray) -> Parts | None:
    """The regions of the pool's images, of own sizes (N, 2), as the network sees them; None for whole images."""
    region, store = region_of(spec), materials.store
    if parse_spec(spec)[0] == IMAGE:
        return None
    manifest = materials.dataset.manifest
    if isinstance(region, Adaptive):
        base = _cut(region.base, manifest, sizes, store, materials.cache)
        return MergedSuperpixels(base, materials.pool, region.epsilon, materials.run)
    if isinstance(region, BoxProposer):
        frames = _frames(sizes, store.size)
        return ModelBoxes(region, materials.pool, frames, store.size, materials.run, materials.device)
    regions = _cut(region, manifest, sizes, store, materials.cache)
    return replace(regions, given=manifest.of_domains(materials.sources)) if materials.sources else regions


def _cut(region: Partition, manifest: Manifest, sizes: IntArray, store: ImageStore, cache: Path) -> Regions:
    pool = manifest.indices("pool")

    def read(i: int) -> LabelMap:
        visible = inside(sizes[i : i + 1], store.size)[0]
        parts = region.parts(store.picture(i), visible)
        if parts.max() >= MOST_PARTS:
            raise InputError("task.region", f"at most {MOST_PARTS} parts an image", str(int(parts.max()) + 1))
        return np.where(visible, parts, IGNORE).astype(np.uint8)

    keys = [f"{store.keys[i]} {sizes[i]} {region}" for i in pool.tolist()]
    names = [f"parts of {manifest.ids[i]}" for i in pool.tolist()]
    maps = MaskStore.build(pool, read, keys, names, size=store.size, cache=cache)
    pixels = np.zeros((len(manifest), int(np.flatnonzero(maps.pixels[:IGNORE])[-1]) + 1), dtype=np.int64)
    for i, parts in zip(pool.tolist(), maps.maps, strict=True):
        pixels[i] = np.bincount(parts.ravel(), minlength=IGNORE + 1)[: pixels.shape[1]]
    return Regions(maps.batch, pixels)


def _frames(sizes: IntArray, size: int) -> IntArray:
    """Top, left, bottom and right (N, 4) of pictures of own height and width (N, 2) in the square of the network."""
    boxes = [image_box(height, width, size) for height, width in sizes.tolist()]
    return np.asarray([(b.top, b.left, b.top + b.height, b.left + b.width) for b in boxes], dtype=np.int64)
