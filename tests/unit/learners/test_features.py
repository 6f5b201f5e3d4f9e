"""Mean features of the classes of an image against loops over its pixels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from hybrid_al.core.types import IGNORE
from hybrid_al.learners.features import class_features, part_features
from hybrid_al.models.pooling import mean_features
from hybrid_al.models.segmenter import Segmenter

CLASSES, SIDE = 3, 6


class Body(nn.Module):
    """Channels of the image, which is padded to a multiple of 4, are the decoder's features."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Identity(), nn.Identity()
        self.encoder.output_stride = 4  # type: ignore[assignment]
        self.segmentation_head = nn.Conv2d(2, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x


def segmenter(seed: int) -> Segmenter:
    torch.manual_seed(seed)
    encoder = SimpleNamespace(mean=torch.zeros(1, 2, 1, 1), std=torch.full((1, 2, 1, 1), 0.5))
    return Segmenter(Body(), cast(Any, encoder), dropout=0.5).eval()


def test_class_features_equal_loops_over_pixels() -> None:
    """Of two networks, whose mean says the class of a pixel; padding and classes of few pixels count nothing."""
    networks = [segmenter(0), segmenter(1)]
    images, valid = torch.randn(3, 2, SIDE, SIDE), torch.ones(3, SIDE, SIDE, dtype=torch.bool)
    valid[1, 4:] = False
    found = class_features(networks, images, valid).reshape(3, 2, CLASSES, 2)
    with torch.no_grad():
        classes = torch.stack([network(images).softmax(dim=1) for network in networks]).mean(dim=0).argmax(dim=1)
    few = 0
    for b in range(3):
        for c in range(CLASSES):
            own = [(i, j) for i in range(SIDE) for j in range(SIDE) if valid[b, i, j] and classes[b, i, j] == c]
            pixels = [images[b, :, i, j] for i, j in own]
            few += 0 < len(pixels) < 10
            expected = 2 * torch.stack(pixels).mean(dim=0) if len(pixels) >= 10 else torch.zeros(2)
            for member in range(2):
                torch.testing.assert_close(found[b, member, c], expected)
    assert few


def test_part_features_equal_loops_over_pixels() -> None:
    networks, images = [segmenter(0), segmenter(1)], torch.randn(2, 2, SIDE, SIDE)
    parts = torch.randint(0, 3, (2, SIDE, SIDE), dtype=torch.uint8)
    parts[:, 5], parts[1][parts[1] == 1] = IGNORE, 0
    found = part_features(networks, images, parts, 4)
    assert found.shape == (2, 4, 4) and not found[:, 3].any() and not found[1, 1].any()
    for b, part in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)]:
        mean = 2 * images[b][:, parts[b] == part].mean(dim=1)
        torch.testing.assert_close(found[b, part], torch.cat([mean, mean]))


def test_features_of_a_coarser_decoder_are_weighted_by_the_pixels_inside() -> None:
    decoded = torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]])
    maps = torch.zeros(1, 2, 6, 6)  # padded to 8: a feature is of 4 x 4 pixels
    maps[0, 0, :4, 3:6] = 1  # 4 pixels of the first feature, 8 of the second
    torch.testing.assert_close(mean_features(decoded, maps, 4), torch.tensor([[[(4 * 1 + 8 * 2) / 12], [0.0]]]))
