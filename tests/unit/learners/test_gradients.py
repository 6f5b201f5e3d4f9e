"""The gradient of a last convolution against differences of a loss that is written with loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hybrid_al.learners.gradients import last_layer_gradients
from hybrid_al.models.encoder import build_encoder
from hybrid_al.models.segmenter import Segmenter, build_segmenter

CLASSES, SIDE = 3, 12


def network(name: str = "unet", seed: int = 0) -> Segmenter:
    encoder = build_encoder("test_resnet", channels=1, image_size=SIDE, seed=seed)
    settings: dict[str, dict[str, object]] = {
        "unet": {"decoder_channels": [4, 4], "encoder_depth": 2},
        "fpn": {"decoder_pyramid_channels": 8, "decoder_segmentation_channels": 64},
    }
    segmenter = build_segmenter(
        name,
        encoder,
        encoder_name="test_resnet",
        classes=CLASSES,
        image_size=SIDE,
        seed=seed,
        dropout=0.2,
        settings=settings[name],  # type: ignore[arg-type]
    )
    return segmenter.double().eval().requires_grad_(False)


def slow_loss(logits: np.ndarray, labels: np.ndarray, valid: np.ndarray) -> float:
    """Cross-entropy and Dice of one image (C, H, W), pixel by pixel."""
    products, sums, entropy = np.zeros(CLASSES), np.zeros(CLASSES), 0.0
    for i, j in np.argwhere(valid):
        top = np.exp(logits[:, i, j] - logits[:, i, j].max())
        probs = top / top.sum()
        entropy -= math.log(probs[labels[i, j]]) / valid.sum()
        for c in range(CLASSES):
            products[c] += probs[c] * (labels[i, j] == c)
            sums[c] += probs[c] + (labels[i, j] == c)
    dice = [(2 * products[c] + 1) / (sums[c] + 1) for c in range(1, CLASSES)]
    return (entropy + 1 - float(np.mean(dice))) / 2


@pytest.mark.parametrize("name", ["unet", "fpn"])  # a side of 3; a side of 1 and logits that are enlarged
def test_gradients_equal_differences_of_a_slow_loss(name: str) -> None:
    net = network(name)
    images = torch.rand(2, 1, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(2, SIDE, SIDE, dtype=torch.bool)
    valid[1, 9:] = False
    gradients = last_layer_gradients([net], images, valid).numpy()
    weight = next(m.weight for m in net.classifier.modules() if isinstance(m, nn.Conv2d))
    assert gradients.shape == (2, weight.numel()) and abs(gradients).max() > 1e-4
    labels = net(images).argmax(dim=1).numpy()
    for k in np.random.default_rng(0).permutation(weight.numel())[:12].tolist():
        place = tuple(int(x) for x in np.unravel_index(k, weight.shape))
        ends = []
        for step in (1e-5, -1e-5):
            weight.data[place] += step
            logits = net(images).numpy()
            ends.append([slow_loss(logits[b], labels[b], valid[b].numpy()) for b in range(2)])
            weight.data[place] -= step
        np.testing.assert_allclose(gradients[:, k], (np.asarray(ends[0]) - ends[1]) / 2e-5, atol=1e-8)


def test_gradients_of_a_committee_lie_side_by_side_and_networks_do_not_change() -> None:
    nets = [network(seed=0), network(seed=1)]
    images, valid = torch.rand(2, 1, SIDE, SIDE, dtype=torch.float64), torch.ones(2, SIDE, SIDE, dtype=torch.bool)
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in nets]
    both = last_layer_gradients(nets, images, valid)
    assert both.shape == (2, 2 * CLASSES * 4 * 9)
    alone = last_layer_gradients([nets[0], nets[0]], images, valid)
    torch.testing.assert_close(alone[:, : alone.shape[1] // 2], last_layer_gradients([nets[0]], images, valid))
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
        assert not any(p.requires_grad for p in net.parameters())
