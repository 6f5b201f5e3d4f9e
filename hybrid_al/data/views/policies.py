"""Random views of whole batches, in torch, on whatever device the batch is on.

Geometry (crop, flip, rotation) is one affine grid per image, so a batch costs one resampling. Parameters are drawn
on the CPU from a given generator: the same views on every device. Images are float32 in [0, 1], before and after.
What each modality does, what it leaves out and why: docs/views.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.types import IGNORE
from ...errors import InputError
from .draws import rand, randn

GEOMETRY = ("crop", "shift", "hflip", "vflip", "rotate")


class View(Protocol):
    """One kind of random view: a policy of a modality, or a pipeline of albumentations.

    Its text names it in cache keys: what gives other views has another text.
    """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Views (B, C, H, W) of images (B, C, H, W), float32 in [0, 1]."""
        ...

    def with_maps(
        self, images: Tensor, maps: Tensor, generator: torch.Generator, filled: int = IGNORE
    ) -> tuple[Tensor, Tensor]:
        """Views, and maps (B, H, W) that moved with them by nearest pixel.

        Pixels that no pixel of the image lies behind are `filled`, or False.
        """
        ...

    def geometry(self) -> View:
        """What moves pixels, alone."""
        ...

    def in_place(self) -> View:
        """The rest: what neither moves nor erases pixels."""
        ...


@dataclass(frozen=True)
class ViewPolicy:
    """Limits of one kind of random view.

    crop        smallest area kept by the random resized crop (1 = no crop)
    shift       largest translation, as a share of the side
    hflip vflip whether the mirror image is still a possible image
    rotate      largest rotation in degrees
    brightness contrast saturation   largest relative change
    gray        probability of dropping the colour
    blur        probability of a Gaussian blur
    noise       largest standard deviation of additive noise
    erase       largest side of a grey square, as a share of the side (Cutout)

    Differences in acquisition; where 0, they draw nothing and are not in the policy's name:

    stain       largest relative change of the amount of each dye: haematoxylin, eosin, DAB (RGB only)
    gamma       largest |log| of the exponent of a power law: bends the greys, keeps black and white
    bias        largest |log| of a smooth field that the image is multiplied with (coil, lamp, depth gain)
    speckle     largest standard deviation of multiplicative, grainy noise
    """

    crop: float = 1.0
    shift: float = 0.0
    hflip: bool = False
    vflip: bool = False
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    gray: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    stain: float = field(default=0.0, metadata={"named": "if used"})
    gamma: float = field(default=0.0, metadata={"named": "if used"})
    bias: float = field(default=0.0, metadata={"named": "if used"})
    speckle: float = field(default=0.0, metadata={"named": "if used"})

    def __repr__(self) -> str:
        """The policy's name in cache keys; newer fields are in it only where they are not 0."""
        names = [f.name for f in fields(self) if "named" not in f.metadata or getattr(self, f.name)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Views (B, C, H, W) of images (B, C, H, W)."""
        check(images)
        draw = _Draw(len(images), generator, images.device)
        views = self._geometry(images, draw)
        views = self._acquisition(views, draw)
        views = self._colour(views, draw)
        if self.blur:
            views = torch.where(draw.chance(self.blur), _blur(views, draw.uniform(0.1, 1.5)), views)
        if self.noise:
            normal = randn(views.shape, generator).to(views.device)
            views = views + normal * draw.uniform(0, self.noise)
        if self.erase:
            views = self._erase(views, draw)
        return views.clamp(0, 1)

    def with_maps(
        self, images: Tensor, maps: Tensor, generator: torch.Generator, filled: int = IGNORE
    ) -> tuple[Tensor, Tensor]:
        """See `View.with_maps`; of a geometry alone. Nothing is filled: beyond the edge an image is mirrored.

        Two more channels of the image hold each pixel's origin.
        """
        b, c, h, w = images.shape
        down = ((torch.arange(h, device=images.device) + 0.5) / h).view(1, 1, h, 1).expand(b, 1, h, w)
        right = ((torch.arange(w, device=images.device) + 0.5) / w).view(1, 1, 1, w).expand(b, 1, h, w)
        stack = self(torch.cat([images, down, right], dim=1), generator)
        row = (stack[:, c] * h - 0.5).round().long().clamp(0, h - 1)
        column = (stack[:, c + 1] * w - 0.5).round().long().clamp(0, w - 1)
        values = maps.flatten(1).gather(1, (row * w + column).flatten(1)).view(b, h, w)
        return stack[:, :c].contiguous(), values

    def geometry(self) -> ViewPolicy:
        """See `View.geometry`."""
        return ViewPolicy(**{name: getattr(self, name) for name in GEOMETRY})

    def in_place(self) -> ViewPolicy:
        """See `View.in_place`."""
        return replace(self, **{name: getattr(ViewPolicy, name) for name in GEOMETRY}, erase=0.0)

    def _geometry(self, images: Tensor, draw: _Draw) -> Tensor:
        if self.crop == 1 and not (self.shift or self.hflip or self.vflip or self.rotate):
            return images
        area, log_ratio = draw.uniform(self.crop, 1), draw.uniform(-math.log(4 / 3), math.log(4 / 3))
        if self.crop == 1:
            log_ratio = torch.zeros_like(log_ratio)
        width = (area * log_ratio.exp()).sqrt().clamp(max=1).flatten()
        height = (area / log_ratio.exp()).sqrt().clamp(max=1).flatten()
        x = draw.uniform(-1, 1).flatten() * (1 - width + 2 * self.shift)
        y = draw.uniform(-1, 1).flatten() * (1 - height + 2 * self.shift)
        if self.hflip:
            width = width * draw.sign().flatten()
        if self.vflip:
            height = height * draw.sign().flatten()
        angle = draw.uniform(-self.rotate, self.rotate).flatten() * (math.pi / 180)
        cos, sin = angle.cos(), angle.sin()
        theta = torch.stack(
            [torch.stack([width * cos, -height * sin, x], 1), torch.stack([width * sin, height * cos, y], 1)], 1
        )
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _acquisition(self, images: Tensor, draw: _Draw) -> Tensor:
        if self.stain and images.shape[1] == 3:
            images = _restain(images, self.stain, draw)
        if self.gamma:
            images = images.clamp(0, 1) ** draw.uniform(-self.gamma, self.gamma).exp()
        if self.bias:
            images = images * _smooth_field(images.shape[-2:], draw).mul(draw.uniform(0, self.bias)).exp()
        if self.speckle:
            images = images * (1 + _grain(images, draw) * draw.uniform(0, self.speckle))
        return images

    def _colour(self, images: Tensor, draw: _Draw) -> Tensor:
        if self.brightness:
            images = images * draw.uniform(1 - self.brightness, 1 + self.brightness)
        if self.contrast:
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            images = mean + (images - mean) * draw.uniform(1 - self.contrast, 1 + self.contrast)
        if images.shape[1] == 3 and (self.saturation or self.gray):
            luma = (images * images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
            factor = draw.uniform(1 - self.saturation, 1 + self.saturation)
            factor = torch.where(draw.chance(self.gray), torch.zeros_like(factor), factor)
            images = luma + (images - luma) * factor
        return images

    def _erase(self, images: Tensor, draw: _Draw) -> Tensor:
        half = draw.uniform(0, self.erase)
        position = torch.linspace(-1, 1, images.shape[-1], device=images.device)
        inside_x = (position.view(1, 1, 1, -1) - draw.uniform(-1, 1)).abs() < half
        inside_y = (position.view(1, 1, -1, 1) - draw.uniform(-1, 1)).abs() < half
        return torch.where(inside_x & inside_y, images.mean(dim=(2, 3), keepdim=True), images)


@dataclass(frozen=True)
class Views:
    """The three kinds of view of a modality: for self-supervision, and the weak and strong ones of consistency.

    strong_pixels  the strong view of images with label maps, where it is another: without geometry of its own and
                   without erasing, it has nothing but the greys to change
    """

    pretrain: View
    weak: View
    strong: View
    strong_pixels: View | None = None

    def without_colour(self) -> Views:
        """The same views for images whose channels are no colours but the slices of a stack."""

        def plain(kind: View) -> View:
            if not isinstance(kind, ViewPolicy):
                raise InputError("views", "none beside data.stack, whose channels are slices and no colours", "some")
            return replace(kind, saturation=0.0, gray=0.0, stain=0.0)

        pixels = None if self.strong_pixels is None else plain(self.strong_pixels)
        return Views(plain(self.pretrain), plain(self.weak), plain(self.strong), pixels)


# Optical densities (R, G, B) of haematoxylin, eosin and DAB, one a row: Ruifrok and Johnston 2001
DYES = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
GRAIN = 0.7
MONOMIALS = tuple((i, j) for i in range(4) for j in range(4 - i) if i + j)


class _Draw:
    """Per-image random numbers (B, 1, 1, 1), drawn on the CPU."""

    def __init__(self, n: int, generator: torch.Generator, device: torch.device) -> None:
        self.shape, self.generator, self.device = (n, 1, 1, 1), generator, device

    def uniform(self, low: float, high: float) -> Tensor:
        return (rand(self.shape, self.generator) * (high - low) + low).to(self.device)

    def chance(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability

    def sign(self) -> Tensor:
        return self.chance(0.5).float() * 2 - 1

    def normal(self, *shape: int) -> Tensor:
        return randn((self.shape[0], *shape), self.generator).to(self.device)


def _restain(images: Tensor, strength: float, draw: _Draw) -> Tensor:
    """Random change of each dye: its density times U(1 - s, 1 + s), plus U(-s / 10, s / 10).

    HED augmentation of Tellez et al. (Medical Image Analysis 2019) with a smaller second term, which tints bare glass.
    Light falls off exponentially with the dye it passes (Beer-Lambert), so all is linear in -log of the image.
    """
    dyes = torch.tensor(DYES, dtype=torch.float64)
    to_dyes, to_light = dyes.inverse().float().to(images.device), dyes.float().to(images.device)
    scale = torch.cat([draw.uniform(1 - strength, 1 + strength) for _ in DYES], dim=2)[:, 0]  # (B, 3, 1)
    shift = torch.cat([draw.uniform(-strength / 10, strength / 10) for _ in DYES], dim=2)[:, 0]
    density = -images.clamp(1 / 255, 1).log().flatten(2)  # (B, 3, H * W)
    amount = torch.einsum("cd,bcp->bdp", to_dyes, density) * scale + shift
    return torch.einsum("dc,bdp->bcp", to_light, amount).neg().exp().clamp(0, 1).view_as(images)


def _smooth_field(size: torch.Size, draw: _Draw) -> Tensor:
    """A cubic polynomial in x and y with random coefficients, scaled to [-1, 1] at most: (B, 1, H, W)."""
    y, x = (torch.linspace(-1, 1, n, device=draw.device) for n in size)
    terms = torch.stack([y.view(-1, 1) ** i * x.view(1, -1) ** j for i, j in MONOMIALS])
    weights = torch.cat([draw.uniform(-1, 1) for _ in MONOMIALS], dim=1).flatten(1)  # (B, terms)
    total = (weights @ terms.flatten(1)).view(-1, 1, *size)
    return total / total.abs().amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)


def _grain(images: Tensor, draw: _Draw) -> Tensor:
    """Noise of unit variance whose grains span about two pixels, the same in all channels: (B, 1, H, W)."""
    grain = _blur(draw.normal(1, *images.shape[-2:]), images.new_full(draw.shape, GRAIN))
    weights = torch.exp(-(torch.arange(-2.0, 3) ** 2) / (2 * GRAIN**2))
    return grain / float((weights / weights.sum()).square().sum())  # what the blur left of the standard deviation


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Separable Gaussian blur, radius 2, with one sigma (B, 1, 1, 1) per image."""
    b, c, h, w = images.shape
    offsets = torch.arange(-2, 3, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma.view(b, 1) ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, dim=0)
    flat = F.pad(images.reshape(1, b * c, h, w), (2, 2, 2, 2), mode="replicate")
    flat = F.conv2d(flat, kernel.view(b * c, 1, 1, 5), groups=b * c)
    flat = F.conv2d(flat, kernel.view(b * c, 1, 5, 1), groups=b * c)
    return flat.view(b, c, h, w)


def check(images: Tensor) -> None:
    """Refuse what is no batch (B, C, H, W) of float32 images in [0, 1]."""
    if images.ndim != 4 or not images.numel():
        raise InputError("views", "a batch of images (B, C, H, W)", f"shape {tuple(images.shape)}")
    if images.dtype != torch.float32:
        raise InputError("views", "float32 images", str(images.dtype))
    low, high = torch.aminmax(images)
    if not (low >= 0 and high <= 1):
        raise InputError("views", "values in [0, 1]", f"{float(low):.3g} to {float(high):.3g}")
