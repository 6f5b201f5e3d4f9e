"""Views of images with what is known of their pixels: the strong view lies pixel for pixel on the weak one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .policies import ViewPolicy, Views

GEOMETRY = ("crop", "shift", "hflip", "vflip", "rotate")


@dataclass(frozen=True)
class PixelViews:
    """How images with label maps are viewed; made from the views of a modality by `pixel_views`.

    geometry  where the pixels of both views come from: that of the weak view
    weak      what else the weak view does
    strong    what the strong view does on top of the weak one: light and colour alone, nothing erased (CutMix, in the
              objectives, does that with another image's pixels, for which there is a pseudo-label)
    """

    geometry: ViewPolicy
    weak: ViewPolicy
    strong: ViewPolicy

    def labeled(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Weak views (B, C, H, W) of images in [0, 1], and their label maps (B, H, W), resampled by nearest pixel."""
        moved, labels = self._moved(images, maps, generator)
        return self.weak(moved, generator), labels

    def unlabeled(
        self, images: Tensor, valid: Tensor, generator: torch.Generator, strong: int = 1
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Weak views (B, C, H, W), `strong` strong ones, and which pixels (B, H, W) of them are `valid`: no padding."""
        moved, shown = self._moved(images, valid, generator)
        weak = self.weak(moved, generator)
        return weak, [self.strong(weak, generator) for _ in range(strong)], shown

    def _moved(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Both by one and the same drawn geometry: two more channels of the image say where each pixel came from."""
        b, c, h, w = images.shape
        down = ((torch.arange(h, device=images.device) + 0.5) / h).view(1, 1, h, 1).expand(b, 1, h, w)
        right = ((torch.arange(w, device=images.device) + 0.5) / w).view(1, 1, 1, w).expand(b, 1, h, w)
        moved = self.geometry(torch.cat([images, down, right], dim=1), generator)
        row = (moved[:, c] * h - 0.5).round().long().clamp(0, h - 1)
        column = (moved[:, c + 1] * w - 0.5).round().long().clamp(0, w - 1)
        found = maps.flatten(1).gather(1, (row * w + column).flatten(1)).view(b, h, w)
        return moved[:, :c].contiguous(), found


def pixel_views(views: Views) -> PixelViews:
    """The views of a modality, taken apart."""
    still = ViewPolicy()
    geometry = ViewPolicy(**{name: getattr(views.weak, name) for name in GEOMETRY})
    unmoved = {name: getattr(still, name) for name in GEOMETRY}
    return PixelViews(geometry, replace(views.weak, **unmoved), replace(views.strong, **unmoved, erase=0.0))
