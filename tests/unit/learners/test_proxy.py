"""The network of proxy tasks and the patterns of an image: values of the images that they are made from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch

from hybrid_al.data.tissue import Tissue, foreground
from hybrid_al.errors import InputError
from hybrid_al.learners import patterns, proxy
from hybrid_al.models.encoder import Encoder
from hybrid_al.testing import unchanged_random_state

CPU = torch.device("cpu")


class Store:
    """Images of discs in 32 pixels; the last is of noise."""

    size, channels, stack, digest = 32, 1, 1, "discs"

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        grid = np.mgrid[:32, :32]
        discs = [np.hypot(*(grid - rng.uniform(10, 22, (2, 1, 1)))) < rng.uniform(5, 9) for _ in range(n)]
        images = 200.0 * np.stack(discs) + 20 * rng.random((n, 32, 32))
        images[-1] = 255 * rng.random((32, 32))
        self.images = images.astype(np.uint8)[..., None]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Any) -> torch.Tensor:
        return torch.from_numpy(self.images[indices].transpose(0, 3, 1, 2)).float() / 255


@pytest.mark.slow
def test_an_image_of_another_kind_is_unsure_and_surprising(tmp_path: Path) -> None:
    store: Any = Store(40)
    pool, tissue = np.arange(2, 40), Tissue(np.ones(40), 110, "black")
    with unchanged_random_state():
        values = proxy.proxy_values(store, pool, tissue, CPU, cache=tmp_path, steps=200)
    for name, array in values.items():
        assert np.isnan(array[:2]).all() and np.isfinite(array[2:]).all(), name
    assert {name: array.shape for name, array in values.items()} == {
        "proxy_entropy": (40, 2),
        "proxy_variance": (40, 2),
        "reconstruction_variance": (40, 2),
        "surprisal": (40, 64),
    }
    assert values["proxy_entropy"][2:, 0].argmax() == 37 and values["surprisal"][2:].mean(axis=1).argmax() == 37
    closed: Any = SimpleNamespace(digest="discs", __len__=lambda: 40)
    again = proxy.proxy_values(closed, pool, tissue, CPU, cache=tmp_path, steps=200)
    np.testing.assert_array_equal(again["surprisal"], values["surprisal"])


def test_padding_is_no_foreground() -> None:
    store: Any = Store(2)
    masks = foreground(store, np.arange(2), Tissue(np.ones(2), 0, "white", np.array([[32, 16], [32, 32]])))
    assert masks[0, :, 8:24].all() and masks[0].sum() == 32 * 16 and masks[1].all()


def test_the_box_is_that_of_the_mask_with_a_margin() -> None:
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, 10:12, 20:31] = True
    box = proxy._box(masks)
    expected = np.zeros((32, 32), dtype=bool)
    expected[7:15, 17:32] = True
    np.testing.assert_array_equal(box[0].numpy(), expected)
    assert box[1].all()


def test_tokens_and_attention_are_those_of_the_network() -> None:
    """Against hooks: what enters the last block, and its softmax."""
    torch.manual_seed(0)
    backbone: Any = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, in_chans=1, num_classes=0, depth=2
    )
    encoder, seen = Encoder(backbone, 1).eval(), dict[str, torch.Tensor]()
    last = backbone.blocks[-1]
    last.attn.fused_attn = False
    last.register_forward_pre_hook(lambda _, args: seen.__setitem__("x", args[0]))
    last.attn.attn_drop.register_forward_pre_hook(lambda _, args: seen.__setitem__("weights", args[0]))
    images = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        encoder(images)
        tokens, attention = patterns.tokens_of(encoder, images)
        torch.testing.assert_close(tokens, backbone.norm(seen["x"])[:, 1:])
    weights = seen["weights"].mean(dim=1)[:, 0, 1:]
    torch.testing.assert_close(attention, weights / weights.sum(dim=1, keepdim=True))


def test_tokens_of_half_of_the_attention_become_centres() -> None:
    attention = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.97, 0.01, 0.01, 0.01]])
    chosen = patterns.attended(attention)
    assert chosen.tolist() == [[False, True, False, True], [True, False, False, False]]
    tokens = torch.tensor([[[9.0, 9], [1, 0], [9, 9], [0, 2]], [[3, 3], [9, 9], [9, 9], [9, 9]]])
    centres = patterns.centres(tokens, chosen)
    assert {tuple(row) for row in centres[0].tolist()} == {(1.0, 0.0), (0.0, 2.0)}
    assert {tuple(row) for row in centres[1].tolist()} == {(3.0, 3.0)}


def test_convolutional_networks_have_cells_and_others_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(timm.create_model("resnet10t", in_chans=1, num_classes=0), 1).eval()
    found = patterns.image_patterns(encoder, Store(3), np.arange(1, 3), CPU, cache=tmp_path)  # type: ignore[arg-type]
    assert found.shape == (3, 5, 512) and np.isnan(found[0]).all() and np.isfinite(found[1:]).all()
    with pytest.raises(InputError, match=r"encoder\.name: expected a network of timm, for .*freesel.*, got Linear"):
        patterns.check(Encoder(torch.nn.Linear(2, 2), 1))
