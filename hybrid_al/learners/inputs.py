"""Inputs of a training on masks: views of images with the labels of their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.types import IGNORE, IntArray
from ..data.loaders import blocks
from ..data.masks import inside
from ..data.stores.images import ImageStore
from ..data.stores.masks import MaskStore
from ..data.views.pixels import PixelViews
from ..regions.base import Regions
from ..semi.dense.base import LabeledPixels, UnlabeledPixels
from ..semi.dense.boxes import lines

BATCH_PIXELS = 2**19  # predicted at once: 128 images of 64 x 64

Boxes = Mapping[int, IntArray]
"""Sample -> boxes around its structures (n, 5): class, top, left, bottom, right."""

MaskBatch = tuple[IntArray, LabeledPixels, UnlabeledPixels | None]


@dataclass(frozen=True)
class MaskInputs:
    """Views of images (B, C, H, W) with the labels of their pixels, on the device.

    sizes    (N, 2) height and width of the images in their own pixels, from which the padding follows
    regions  those whose parts the consistency record is about; None: it is about whole images
    """

    store: ImageStore
    views: PixelViews
    sizes: IntArray
    device: torch.device
    regions: Regions | None = None

    def blocks(self, indices: IntArray) -> Iterator[IntArray]:
        """The indices in order, in blocks of as many images as are predicted at once."""
        return blocks(indices, max(1, BATCH_PIXELS // self.store.size**2))

    def plain(self, indices: IntArray) -> tuple[Tensor, Tensor]:
        """Images without augmentation, and masks (B, H, W) that are False in padding."""
        valid = torch.from_numpy(inside(self.sizes[indices], self.store.size))
        return self.store.batch(indices).to(self.device), valid.to(self.device)

    def labeled(
        self, indices: IntArray, masks: MaskStore, generator: torch.Generator, extent: bool, boxes: Boxes | None = None
    ) -> LabeledPixels:
        """New weak views with their label maps (B, H, W); `extent` and `boxes` as in `LabeledPixels`."""
        images, _ = self.plain(indices)
        maps = torch.from_numpy(masks.batch(indices)).long().to(self.device)
        if boxes is None:
            return LabeledPixels(*self.views.labeled(images, maps, generator), extent=extent)
        positions = torch.arange(maps[0].numel(), device=self.device).view(maps.shape[1:]).expand(maps.shape)
        views, place = self.views.labeled(images, positions, generator, filled=-1)
        y = maps.flatten(1).gather(1, place.clamp(min=0).flatten(1)).view(maps.shape).masked_fill(place < 0, IGNORE)
        return LabeledPixels(
            views, y, extent=extent, boxes=lines(place, [boxes[i] for i in indices.tolist()], self.store.size)
        )

    def unlabeled(self, indices: IntArray, generator: torch.Generator, strong: int = 1) -> UnlabeledPixels:
        """New weak views, and `strong` strong ones."""
        images, valid = self.plain(indices)
        if self.regions is None:
            weak, (first, *others), valid = self.views.unlabeled(images, valid, generator, strong)
            return UnlabeledPixels(indices, weak, first, valid, tuple(others))
        weak, (first, *others), parts = self.views.unlabeled(images, self.parts(indices), generator, strong)
        return UnlabeledPixels(indices, weak, first, parts != IGNORE, tuple(others), parts)

    def parts(self, indices: IntArray) -> Tensor:
        """The part of each pixel (B, H, W) of images of the pool, `IGNORE` in padding."""
        assert self.regions is not None
        return torch.from_numpy(self.regions.maps(indices)).to(self.device)
