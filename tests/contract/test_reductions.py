"""Every reduction of pixels, and one from outside: one finite number an image, of its valid pixels alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hybrid_al.core.registry import component
from hybrid_al.scores.pixels import REDUCTIONS, Reduction
from hybrid_al.testing import unchanged_random_state
from tests.helpers.outside import HERE

B, C, H, W = 6, 3, 7, 9
reductions = pytest.mark.parametrize("name", [*REDUCTIONS, f"{HERE}:Reduction"])


def reduction(name: str) -> Reduction:
    return component(REDUCTIONS, "task.reduction", name, {})


def maps(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Values, classes and valid pixels: of all classes, one class, padding, one valid pixel, none, all again."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(B, H, W, generator=generator).to(dtype)
    prediction = torch.randint(C, (B, H, W), generator=generator)
    prediction[1] = 0
    valid = torch.ones(B, H, W, dtype=torch.bool)
    valid[2, :3], valid[2, :, -2:] = False, False
    valid[3] = False
    valid[3, 2, 2] = True
    valid[4] = False
    return values, prediction, valid


@reductions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_finite_number_an_image(name: str, dtype: torch.dtype) -> None:
    inputs = maps(dtype)
    before = [m.clone() for m in inputs]
    with unchanged_random_state():
        scores = reduction(name)(*inputs)
    assert scores.shape == (B,) and scores.dtype == dtype and torch.isfinite(scores).all()
    assert all(torch.equal(m, b) for m, b in zip(inputs, before, strict=True))
    assert scores[4] == 0  # no pixel is valid
    assert scores[3].item() == pytest.approx(inputs[0][3, 2, 2].item())
    assert torch.equal(reduction(name)(*inputs), scores)


@reductions
@pytest.mark.parametrize("fill", [0.0, 1e6, -1e6])
def test_pixels_that_are_not_valid_say_nothing(name: str, fill: float) -> None:
    values, prediction, valid = maps()
    other = reduction(name)(
        values.where(valid, values.new_tensor(fill)), prediction.where(valid, prediction.new_tensor(2)), valid
    )
    torch.testing.assert_close(other, reduction(name)(values, prediction, valid), rtol=0, atol=0)


@reductions
def test_an_image_is_reduced_by_itself_whatever_its_batch(name: str) -> None:
    inputs = maps()
    alone = torch.cat([reduction(name)(*(m[i : i + 1] for m in inputs)) for i in range(B)])
    torch.testing.assert_close(alone, reduction(name)(*inputs))


@reductions
def test_larger_values_are_no_less(name: str) -> None:
    values, prediction, valid = maps()
    scores = [reduction(name)(values + more, prediction, valid).numpy() for more in (0.0, 0.5)]
    has_valid = valid.flatten(1).any(dim=1).numpy()
    assert (scores[1][has_valid] > scores[0][has_valid]).all() and np.isfinite(scores).all()
