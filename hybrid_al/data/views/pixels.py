"""Views of images with label maps: the strong view has the geometry of the weak one, pixel for pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .policies import ViewPolicy, Views

GEOMETRY = ("crop", "shift", "hflip", "vflip", "rotate")


@dataclass(frozen=True)
class PixelViews:
    """The policies for images with label maps; `pixel_views` makes them from the views of a modality.

    geometry  of both views: that of the weak view
    weak      the weak view without its geometry
    strong    the strong view of pixels without its geometry, applied to the weak one. It erases nothing: CutMix, in the
              objectives, replaces pixels by those of another image, which have a pseudo-label
    """

    geometry: ViewPolicy
    weak: ViewPolicy
    strong: ViewPolicy

    def labeled(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Weak views (B, C, H, W) of images in [0, 1], and their label maps (B, H, W), resampled by nearest pixel."""
        views, labels = self._resample(images, maps, generator)
        return self.weak(views, generator), labels

    def unlabeled(
        self, images: Tensor, valid: Tensor, generator: torch.Generator, strong: int = 1
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Weak views (B, C, H, W), `strong` strong ones, and which pixels (B, H, W) of them are `valid`: no padding."""
        views, valid_views = self._resample(images, valid, generator)
        weak = self.weak(views, generator)
        return weak, [self.strong(weak, generator) for _ in range(strong)], valid_views

    def _resample(self, images: Tensor, maps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images and maps under one random geometry: two more channels of the image hold each pixel's origin."""
        b, c, h, w = images.shape
        down = ((torch.arange(h, device=images.device) + 0.5) / h).view(1, 1, h, 1).expand(b, 1, h, w)
        right = ((torch.arange(w, device=images.device) + 0.5) / w).view(1, 1, 1, w).expand(b, 1, h, w)
        stack = self.geometry(torch.cat([images, down, right], dim=1), generator)
        row = (stack[:, c] * h - 0.5).round().long().clamp(0, h - 1)
        column = (stack[:, c + 1] * w - 0.5).round().long().clamp(0, w - 1)
        values = maps.flatten(1).gather(1, (row * w + column).flatten(1)).view(b, h, w)
        return stack[:, :c].contiguous(), values


def pixel_views(views: Views) -> PixelViews:
    """The views of a modality, split into the geometry and the rest."""
    plain = ViewPolicy()
    geometry = ViewPolicy(**{name: getattr(views.weak, name) for name in GEOMETRY})
    identity = {name: getattr(plain, name) for name in GEOMETRY}
    strong = views.strong_pixels or views.strong
    return PixelViews(geometry, replace(views.weak, **identity), replace(strong, **identity, erase=0.0))
