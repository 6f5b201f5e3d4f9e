"""Views whose pixels stay on their labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.pixels import PixelViews, pixel_views
from hybrid_al.data.views.policies import DYES, ViewPolicy, Views

STILL = ViewPolicy()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def halves(b: int = 6, side: int = 32) -> tuple[Tensor, Tensor]:
    """Images whose grey says their class: areas of 0.2 and 0.8, cut along a line of another angle each."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = torch.arange(b).view(b, 1, 1) * 0.7
    maps = ((x - side / 2) * angles.cos() + (y - side / 2.3) * angles.sin() > 0).long()
    return (0.2 + 0.6 * maps).unsqueeze(1).float(), maps


@pytest.mark.parametrize("modality", VIEWS)
def test_labels_move_with_the_pixels(modality: str) -> None:
    images, maps = halves()
    views = PixelViews(pixel_views(VIEWS[modality]).geometry, STILL, STILL)
    x, y = views.labeled(images, maps, generator())
    assert not torch.equal(x, images)  # it moved
    nearest = (x[:, 0] > 0.5).long()
    border = (x[:, 0] > 0.21) & (x[:, 0] < 0.79)  # between two classes bilinear grey says neither
    assert torch.equal(y[~border], nearest[~border]) and border.float().mean() < 0.1


def test_the_geometry_of_a_map_is_nearest_pixel_for_pixel() -> None:
    """Against a slow reference: each new pixel has the label of the old pixel whose grey it has."""
    side = 16
    images = (torch.arange(side * side).float() / (side * side)).view(1, 1, side, side)
    maps = torch.arange(side * side).view(1, side, side)
    flips = PixelViews(ViewPolicy(hflip=True, vflip=True), STILL, STILL)
    mirrors = set()
    for seed in range(8):
        x, y = flips.labeled(images, maps, generator(seed))
        expected = np.rint(x[0, 0].numpy() * side * side).astype(int)
        np.testing.assert_array_equal(y[0].numpy(), expected)
        mirrors.add(tuple(expected[0, :2].tolist()))
    assert len(mirrors) == 4  # all four mirror images came


def test_without_geometry_nothing_moves() -> None:
    images, maps = halves()
    x, y = PixelViews(STILL, STILL, STILL).labeled(images, maps, generator())
    assert torch.equal(x, images) and torch.equal(y, maps)


def test_strong_views_lie_on_weak_ones() -> None:
    images, maps = halves(side=48)
    weak, (strong,), valid = pixel_views(VIEWS["microscopy"]).unlabeled(
        images.repeat(1, 3, 1, 1), maps == 1, generator()
    )
    assert weak.shape == strong.shape == (6, 3, 48, 48) and valid.dtype == torch.bool and not torch.equal(weak, strong)
    for one, other in zip(weak, strong, strict=True):  # contrast may shrink, but what was light stays the lighter one
        assert np.corrcoef(one[0].flatten().numpy(), other[0].flatten().numpy())[0, 1] > 0.9
    inside = (weak[:, 0] > 0.79) | (weak[:, 0] < 0.21)
    assert torch.equal(valid[inside], (weak[:, 0] > 0.5)[inside])


def test_the_same_generator_gives_the_same_views() -> None:
    images, maps = halves()
    views = pixel_views(VIEWS["mr"])
    (weak, strong, valid), (again, strong_again, valid_again) = (
        views.unlabeled(images, maps == 1, generator(3), strong=2) for _ in range(2)
    )
    assert torch.equal(weak, again) and torch.equal(valid, valid_again) and len(strong) == 2
    assert all(torch.equal(a, b) for a, b in zip(strong, strong_again, strict=True))
    assert not torch.equal(*strong)


def test_what_is_split_is_all_there_is() -> None:
    policy, views = VIEWS["histology"], pixel_views(VIEWS["histology"])
    geometry, weak, strong = views.geometry, views.weak, views.strong
    assert isinstance(policy.weak, ViewPolicy) and isinstance(policy.strong, ViewPolicy)
    assert isinstance(geometry, ViewPolicy) and isinstance(weak, ViewPolicy) and isinstance(strong, ViewPolicy)
    assert weak.stain == policy.weak.stain > 0 and strong.stain == policy.strong.stain > 0
    assert strong.erase == 0 < policy.strong.erase and geometry.crop == policy.weak.crop < 1
    assert weak.crop == strong.crop == 1 and strong.rotate == 0 < policy.strong.rotate


@pytest.mark.parametrize("modality", VIEWS)
def test_the_slices_of_a_stack_lie_on_each_other_in_every_view(modality: str) -> None:
    """Five slices that are the same picture stay the same picture: one geometry, and light that is no colour."""
    images, maps = halves(side=16)
    stack = images.repeat(1, 5, 1, 1)
    views = VIEWS[modality].without_colour()
    masked = pixel_views(views)
    x, _ = masked.labeled(stack, maps, generator())
    weak, strong, _ = masked.unlabeled(stack, maps > 0, generator(), strong=2)
    for view in (x, weak, views.weak(stack, generator())):
        torch.testing.assert_close(view, view[:, :1].expand_as(view))
    for kind, view in (("strong", strong[0]), ("strong", strong[1]), ("pretrain", views.pretrain(stack, generator()))):
        noise = getattr(VIEWS[modality], kind).noise  # which each slice of a volume has of its own
        assert (view - view[:, :1]).abs().max() <= 12 * noise + 1e-5


def test_three_slices_are_no_colours() -> None:
    grey = ViewPolicy(saturation=0.5, gray=1.0, stain=0.5)
    images = torch.rand(4, 3, 8, 8, generator=generator())
    assert torch.equal(Views(grey, grey, grey).without_colour().strong(images, generator()), images)
    assert not torch.allclose(grey(images, generator()), images)
    assert Views(grey, grey, grey, grey).without_colour().strong_pixels == ViewPolicy()
    assert VIEWS["ct"].without_colour().strong_pixels == VIEWS["ct"].strong_pixels is not None


def fixture(modality: str, side: int = 64) -> Tensor:
    """Images as the modality makes them: a body on black, stained tissue on white, or skin."""
    g = generator(7)
    fields = nn.functional.interpolate(torch.rand(8, 3, 9, 9, generator=g), (side, side), mode="bicubic").clamp(0, 1)
    fine = 0.03 * torch.randn(8, 1, side, side, generator=g)
    if modality in ("histology", "microscopy"):
        amounts = torch.where(fields[:, :2] > 0.5, fields[:, :2], 0.1)
        return torch.einsum("bdhw,dc->bchw", amounts, torch.tensor(DYES)[:2]).neg().exp().clamp(0, 1)
    if modality == "dermoscopy":
        return (torch.tensor([0.8, 0.6, 0.5]).view(1, 3, 1, 1) * (0.5 + 0.5 * fields[:, :1]) + fine).clamp(0, 1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    body = (0.35 + 0.5 * fields[:, :1] + fine) * (x**2 + y**2 < (1.2 if modality == "fundus" else 1))
    return body.clamp(0, 1).repeat(1, 3 if modality == "fundus" else 1, 1, 1)


@pytest.mark.parametrize("modality", VIEWS)
def test_strong_views_of_pixels_change_them_and_weak_ones_less(modality: str) -> None:
    """By 0.04 of the range on average: a strong view that is nearly the weak one teaches nothing."""
    images, views = fixture(modality), pixel_views(VIEWS[modality])
    changes = []
    for seed in range(20):
        weak = views.weak(images, generator(seed))
        strong = views.strong(weak, generator(seed + 100))
        changes.append([float((weak - images).abs().mean()), float((strong - weak).abs().mean())])
    of_weak, of_strong = np.mean(changes, axis=0)
    assert of_strong >= 0.04 and of_weak < of_strong / 2
