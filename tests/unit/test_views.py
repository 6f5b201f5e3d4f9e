"""Views: range, shape, determinism, what each switch does, and the invariant on the input."""

from __future__ import annotations

import pytest
import torch

from hybrid_al.data.views import VIEWS, ViewPolicy
from hybrid_al.errors import InputError


def images(n: int = 6, channels: int = 3, size: int = 20) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def draw(policy: ViewPolicy, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return policy(x, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("modality", VIEWS)
@pytest.mark.parametrize("kind", ["pretrain", "weak", "strong"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_policy_keeps_shape_and_range_and_depends_on_the_generator_alone(
    modality: str, kind: str, channels: int
) -> None:
    policy: ViewPolicy = getattr(VIEWS[modality], kind)
    x = images(channels=channels)
    before, state = x.clone(), torch.get_rng_state()
    first, again, other = draw(policy, x), draw(policy, x), draw(policy, x, seed=1)
    assert first.shape == x.shape and first.dtype == torch.float32
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)


def test_the_empty_policy_is_the_identity() -> None:
    assert torch.equal(draw(ViewPolicy(), images()), images())


def test_flips_are_exact_mirrors() -> None:
    x = images(n=32)
    views = draw(ViewPolicy(hflip=True), x)
    for image, view in zip(x, views, strict=True):
        assert torch.allclose(view, image, atol=1e-5) or torch.allclose(view, image.flip(2), atol=1e-5)
    flipped = sum(torch.allclose(v, i.flip(2), atol=1e-5) for i, v in zip(x, views, strict=True))
    assert 4 < flipped < 28


def test_chest_xrays_are_never_upside_down() -> None:
    for kind in ("pretrain", "weak", "strong"):
        policy: ViewPolicy = getattr(VIEWS["chest_xray"], kind)
        assert not policy.vflip and policy.rotate <= 15


def test_crop_shows_a_part_of_the_image() -> None:
    ramp = torch.linspace(0, 1, 32).expand(8, 1, 32, 32).contiguous()
    views = draw(ViewPolicy(crop=0.2), ramp)
    spread = views.amax(dim=(1, 2, 3)) - views.amin(dim=(1, 2, 3))
    assert float(spread.min()) < 0.8 and float(spread.max()) <= 1


def test_brightness_scales_every_image_by_its_own_factor() -> None:
    x = torch.full((16, 1, 4, 4), 0.5)
    levels = draw(ViewPolicy(brightness=0.4), x)[:, 0, 0, 0]
    assert len(set(levels.tolist())) == 16
    assert float(levels.min()) >= 0.3 - 1e-6 and float(levels.max()) <= 0.7 + 1e-6


def test_dropping_the_colour_leaves_grey() -> None:
    views = draw(ViewPolicy(gray=1.0), images())
    assert torch.allclose(views[:, 0], views[:, 1], atol=1e-6)


def test_erase_paints_a_square_with_the_mean() -> None:
    x = images(n=16, size=32)
    changed = (draw(ViewPolicy(erase=0.5), x) != x).any(dim=1)
    sides = []
    for image in changed:
        rows, columns = image.any(dim=1).nonzero().flatten(), image.any(dim=0).nonzero().flatten()
        assert image.sum() == len(rows) * len(columns)
        sides += [len(rows), len(columns)]
    assert 8 <= max(sides) <= 17


@pytest.mark.parametrize("bad", [images() * 2, images() - 1, images().double(), images() * float("nan")])
def test_images_outside_the_unit_range_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(InputError, match="views: expected"):
        draw(VIEWS["microscopy"].weak, bad)
