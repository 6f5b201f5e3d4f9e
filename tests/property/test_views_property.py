"""What must hold of the views of every modality, whatever the image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.policies import ViewPolicy
from hybrid_al.errors import InputError

POLICIES = [
    pytest.param(getattr(views, kind), id=f"{modality}-{kind}")
    for modality, views in VIEWS.items()
    for kind in ("pretrain", "weak", "strong")
]
SIZES = st.sampled_from([16, 17, 28, 33, 64, 128])


@st.composite
def batches(draw: st.DrawFn) -> torch.Tensor:
    """Noise, ramps, two greys, black, white or one grey; 1 to 3 images of 1 or 3 channels."""
    n, channels, size = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3])), draw(SIZES)
    kind = draw(st.sampled_from(["noise", "ramp", "binary", "constant"]))
    x = torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    if kind == "ramp":
        x = torch.linspace(0, 1, size).expand_as(x).contiguous()
    elif kind == "binary":
        x = (x > 0.5).float()
    elif kind == "constant":
        x = torch.full_like(x, draw(st.sampled_from([0.0, 1e-7, 0.5, 1.0]) | st.floats(0, 1, width=32)))
    return x


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=12, deadline=None)
@given(x=batches(), seed=st.integers(0, 2**31))
def test_views_are_finite_images_of_the_same_kind(policy: ViewPolicy, x: torch.Tensor, seed: int) -> None:
    before = x.clone()
    views = policy(x, torch.Generator().manual_seed(seed))
    assert views.shape == x.shape and views.dtype == torch.float32
    assert torch.isfinite(views).all() and float(views.min()) >= 0 and float(views.max()) <= 1
    assert torch.equal(x, before)
    assert torch.equal(views, policy(x, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=5, deadline=None)
@given(
    x=batches(), bad=st.sampled_from([float("nan"), float("inf"), -float("inf"), -1e-3, 1.001]), where=st.integers(0)
)
def test_one_bad_pixel_is_refused_in_one_line(policy: ViewPolicy, x: torch.Tensor, bad: float, where: int) -> None:
    x.view(-1)[where % x.numel()] = bad
    with pytest.raises(InputError) as error:
        policy(x, torch.Generator())
    assert str(error.value).startswith("views: expected values in [0, 1], got ") and "\n" not in str(error.value)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_view_depends_on_its_place_in_the_batch_but_not_on_the_other_images(policy: ViewPolicy) -> None:
    x = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[1:] = 1 - other[1:]
    first, second = (policy(batch, torch.Generator().manual_seed(1)) for batch in (x, other))
    assert torch.allclose(first[0], second[0], atol=1e-6)
