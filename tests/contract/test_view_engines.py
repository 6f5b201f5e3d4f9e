"""What both engines of views promise: the torch policies of a modality, and pipelines of albumentations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hybrid_al.core.types import IGNORE
from hybrid_al.data.views.albumentations import Pipeline
from hybrid_al.data.views.draws import generator as shared
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.pixels import pixel_views
from hybrid_al.data.views.policies import View, ViewPolicy, Views
from hybrid_al.errors import InputError
from tests.helpers.pipelines import FLIPS, MOVING, STRONG

KINDS = ["torch", "albumentations"]
SIDE = 24


def strong_of(kind: str) -> View:
    return VIEWS["microscopy"].strong if kind == "torch" else Pipeline.of(STRONG, "views.strong")


def moving_of(kind: str) -> View:
    geometry = ViewPolicy(crop=0.5, shift=0.1, hflip=True, rotate=30)
    return geometry if kind == "torch" else Pipeline.of(MOVING, "views.weak")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 5, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, channels, SIDE, SIDE), generator=generator(9)) / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_views_are_images_of_the_same_kind_that_the_generator_alone_decides(kind: str, channels: int) -> None:
    view, x, state = strong_of(kind), images(channels=channels), torch.get_rng_state()
    before = x.clone()
    torch.manual_seed(5)
    first = view(x, generator())
    torch.manual_seed(6)
    again, other = view(x, generator()), view(x, generator(1))
    torch.set_rng_state(state)
    assert first.shape == x.shape and first.dtype == torch.float32 and first.is_contiguous()
    assert float(first.min()) >= 0 and float(first.max()) <= 1 and torch.isfinite(first).all()
    assert torch.equal(first, again) and not torch.equal(first, other) and torch.equal(x, before)
    same = generator()
    assert not torch.equal(view(x, same), view(x, same))  # another view at the next step


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_does_not_depend_on_the_other_images_of_the_batch(kind: str) -> None:
    view, x = strong_of(kind), images()
    other = torch.cat([x[:1], 1 - x[1:]])
    torch.testing.assert_close(view(x, generator())[0], view(other, generator())[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_images_are_refused_in_one_line(kind: str) -> None:
    with pytest.raises(InputError, match=r"views: expected values in \[0, 1\], got"):
        strong_of(kind)(images() * 2, generator())


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_equals_its_map_stays_so(kind: str) -> None:
    y = torch.randint(0, 5, (6, SIDE // 4, SIDE // 4), generator=generator(3))
    y = y.repeat_interleave(4, 1).repeat_interleave(4, 2)
    x = (y * 40 / 255).unsqueeze(1)
    for seed in range(4):
        views, maps = moving_of(kind).with_maps(x, y, generator(seed))
        grey = (views[:, 0] * 255).round()
        if kind == "torch":  # whose images are bilinear: a grey between two classes says neither
            sharp = ((grey / 40).round() * 40 - grey).abs() < 0.5
            flat = torch.nn.functional.max_pool2d(grey, 3, 1, 1) == -torch.nn.functional.max_pool2d(-grey, 3, 1, 1)
            assert torch.equal(maps[sharp & flat] * 40.0, grey[sharp & flat]) and (maps != IGNORE).all()
            continue
        filled = maps == IGNORE
        assert torch.equal(maps[~filled] * 40.0, grey[~filled]) and filled.any()
        assert ((grey[filled] == 255) | (grey[filled] == 0)).all()
        assert not moving_of(kind).with_maps(x, torch.ones_like(y, dtype=torch.bool), generator(seed))[1][filled].any()


@pytest.mark.parametrize("weak", KINDS)
@pytest.mark.parametrize("strong", KINDS)
def test_the_strong_view_of_masks_lies_on_the_weak_one(weak: str, strong: str) -> None:
    views = pixel_views(Views(moving_of(weak), moving_of(weak), strong_of(strong)))
    y = torch.zeros(4, SIDE, SIDE, dtype=torch.bool)
    y[:, 6:18, 4:12] = True
    one, (other, another), valid = views.unlabeled(y.unsqueeze(1).float(), y, generator(), strong=2)
    assert valid.dtype == torch.bool and not torch.equal(other, another)
    for a, b in zip(one.flatten(1), other.flatten(1), strict=True):
        assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) > 0.7


def test_a_pipeline_does_not_mind_the_order_of_the_batch_or_its_shares() -> None:
    view, x = strong_of("albumentations"), images(6)
    whole = view(x, generator())
    assert torch.equal(view(x.flip(0), generator()), whole.flip(0))
    parts = [view(x[3 * rank : 3 * rank + 3], shared(0, rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)


def test_the_transforms_of_a_pipeline_draw_on_their_own() -> None:
    """albumentations gives the seed of a pipeline to each transform, so that all flips come together or not at all."""
    x = torch.tensor([[[[0.0, 0.2], [0.4, 0.6]]]]).repeat(64, 1, 1, 1)  # alike, so each is viewed in its turn
    views = Pipeline.of(FLIPS, "views.weak")(x, generator())
    assert len({tuple(view.flatten().tolist()) for view in views}) == 4
