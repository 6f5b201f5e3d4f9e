"""The head that expects the Dice of the network's own masks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.types import IGNORE
from hybrid_al.learners.quality import dice_of_images, expected_error, quality_loss
from hybrid_al.models.segmenter import Segmenter
from hybrid_al.semi.base import Labeled


class Encoder(nn.Identity):
    """Which halves the image twice, by its own account."""

    output_stride = 4


class Body(nn.Module):
    """Channels of the image are the decoder's features."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.Identity()
        self.segmentation_head = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x


def segmenter() -> Segmenter:
    torch.manual_seed(0)
    encoder = SimpleNamespace(mean=torch.zeros(1, 3, 1, 1), std=torch.ones(1, 3, 1, 1))
    return Segmenter(Body(), cast(Any, encoder), dropout=0.0, classes=2, quality=True)


def test_dice_of_images_equals_loops_over_pixels() -> None:
    rng = np.random.default_rng(0)
    predicted, y = rng.integers(0, 3, (4, 5, 6)), rng.choice([0, 1, 2, IGNORE], (4, 5, 6))
    y[3] = IGNORE
    expected = []
    for p, t in zip(predicted, y, strict=True):
        known, of_classes = t != IGNORE, []
        for c in (1, 2):
            both, either = ((p == c) & (t == c) & known).sum(), ((p == c) & known).sum() + ((t == c) & known).sum()
            of_classes.append((2 * both + 1) / (either + 1))
        expected.append(np.mean(of_classes))
    ours = dice_of_images(torch.from_numpy(predicted), torch.from_numpy(y), 3)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6)
    assert expected[3] == 1


def test_the_head_learns_which_masks_are_bad_and_moves_nothing_else() -> None:
    """Images whose first channel is noise are segmented badly; after some steps the head expects them to be."""
    network, generator = segmenter(), torch.Generator().manual_seed(1)
    last = network.classifier
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[-3.0, 0, 0], [3, 0, 0]])[..., None, None])
        last.bias.zero_()
    y = torch.zeros(16, 6, 6, dtype=torch.long)
    y[:, 2:, 2:] = 1
    x = torch.zeros(16, 3, 6, 6)
    x[:, 0] = 2 * y - 1.0
    bad = torch.arange(16) % 2 == 1
    x[bad, 0] = torch.randn(8, 6, 6, generator=generator)
    x[bad, 1] = 1.0  # how such images can be told
    before = last.weight.clone()
    optimizer = torch.optim.Adam(network.head.parameters(), lr=0.01)
    penalty = quality_loss(1.0)
    for _ in range(150):
        optimizer.zero_grad()
        loss = penalty(network, Labeled(x, y))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert torch.equal(before, last.weight) and loss.item() < 0.01
    error = expected_error([network.eval()], x)
    assert error[bad].min() > error[~bad].max()
    torch.testing.assert_close(expected_error([network, network], x), error)


def test_images_without_a_labeled_pixel_teach_nothing() -> None:
    network, x = segmenter(), torch.randn(2, 3, 6, 6)
    loss = quality_loss(2.0)(network, Labeled(x, torch.full((2, 6, 6), IGNORE)))
    assert loss.item() == pytest.approx(0)
