"""Views of images with label maps: the strong view has the geometry of the weak one, pixel for pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.types import IGNORE
from .policies import View, ViewPolicy, Views


@dataclass(frozen=True)
class PixelViews:
    """The policies for images with label maps; `pixel_views` makes them from the views of a modality.

    geometry  of both views: that of the weak view, or all of it where it is a pipeline, which moves maps by itself
    weak      the weak view without what `geometry` did
    strong    the strong view of pixels without its geometry, applied to the weak one. It erases nothing: CutMix, in the
              objectives, replaces pixels by those of another image, which have a pseudo-label
    """

    geometry: View
    weak: View
    strong: View

    def labeled(
        self, images: Tensor, maps: Tensor, generator: torch.Generator, filled: int = IGNORE
    ) -> tuple[Tensor, Tensor]:
        """Weak views (B, C, H, W) of images in [0, 1], and their label maps (B, H, W), resampled by nearest pixel.

        filled  the value of pixels that no pixel of the image lies behind
        """
        views, labels = self.geometry.with_maps(images, maps, generator, filled)
        return self.weak(views, generator), labels

    def unlabeled(
        self, images: Tensor, valid: Tensor, generator: torch.Generator, strong: int = 1
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Weak views (B, C, H, W), `strong` strong ones, and which pixels (B, H, W) of them are `valid`: no padding."""
        views, valid_views = self.geometry.with_maps(images, valid, generator)
        weak = self.weak(views, generator)
        return weak, [self.strong(weak, generator) for _ in range(strong)], valid_views


def pixel_views(views: Views) -> PixelViews:
    """The views of a modality, or pipelines in their place, split into the geometry and the rest."""
    strong = (views.strong_pixels or views.strong).in_place()
    if isinstance(views.weak, ViewPolicy):
        return PixelViews(views.weak.geometry(), views.weak.in_place(), strong)
    return PixelViews(views.weak, ViewPolicy(), strong)
