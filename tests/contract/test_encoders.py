"""Encoders, those of `ENCODERS`, some of timm and one from outside, and the networks of segmentation around them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hybrid_al.core.rng import derive
from hybrid_al.errors import InputError
from hybrid_al.models.checkpoint import digest_of, save_weights
from hybrid_al.models.encoder import ENCODERS, Encoder, build_encoder, check_name
from hybrid_al.models.pretrained import PRETRAINED, Option
from hybrid_al.models.segmenter import NETWORKS, build_segmenter, padded_size
from hybrid_al.recipe import parse
from hybrid_al.testing import unchanged_random_state
from tests.helpers.networks import SMALL
from tests.helpers.outside import HERE

OUTSIDE = f"{HERE}:encoder"
VIT: dict[str, Option] = {"patch_size": 8, "depth": 4, "embed_dim": 32, "num_heads": 2}
TIMM: dict[str, dict[str, Option]] = {"test_resnet": {}, "test_efficientnet": {}, "vit_tiny_patch16_224": VIT}
OPTIONS = {**{name: {} for name in (*ENCODERS, OUTSIDE)}, **TIMM}
SIZE = 32
encoders = pytest.mark.parametrize("name", OPTIONS)


def make(
    name: str, *, channels: int = 1, seed: int = 0, weights: Path | None = None, size: int | None = None
) -> Encoder:
    return build_encoder(
        name, channels=channels, image_size=SIZE, seed=seed, weights=weights, options=OPTIONS[name], input_size=size
    )


def images(channels: int = 1, size: int = SIZE) -> Tensor:
    return torch.rand(5, channels, size, size, generator=torch.Generator().manual_seed(0))


@encoders
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_an_image_gives_one_finite_vector(name: str, channels: int) -> None:
    with unchanged_random_state():
        encoder = make(name, channels=channels)
    assert not encoder.training
    with torch.no_grad():
        vectors = encoder(images(channels))
        again = encoder(images(channels))
        alone = torch.cat([encoder(image[None]) for image in images(channels)])
    assert vectors.ndim == 2 and len(vectors) == 5 and vectors.shape[1] > 1 and torch.isfinite(vectors).all()
    assert torch.equal(vectors, again)
    torch.testing.assert_close(alone, vectors, rtol=1e-4, atol=1e-5)  # whoever else is in its batch
    assert (vectors.std(dim=0) > 0).any()


@encoders
def test_the_seed_alone_decides_its_weights(name: str) -> None:
    torch.manual_seed(5)
    first = digest_of(make(name, seed=3))
    torch.manual_seed(6)
    assert digest_of(make(name, seed=3)) == first != digest_of(make(name, seed=4))


@encoders
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    encoder, file = make(name, seed=3), tmp_path / "encoder.safetensors"
    save_weights(file, encoder.state_dict())
    copy = make(name, seed=8, weights=file)
    assert digest_of(copy) == digest_of(encoder)
    with torch.no_grad():
        assert torch.equal(copy(images()), encoder(images()))


@encoders
def test_images_of_another_size_are_scaled_where_it_is_said(name: str) -> None:
    encoder = make(name, size=48)
    assert digest_of(encoder) != digest_of(make(name))
    with torch.no_grad():
        assert encoder(images()).shape == encoder(images(size=48)).shape


@encoders
def test_a_recipe_may_name_it(name: str) -> None:
    check_name(parse({"name": "x", "encoder": {"name": name}}).encoder.name)


@encoders
def test_what_it_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"encoder\.options: expected what .* takes") as caught:
        build_encoder(name, channels=1, image_size=SIZE, seed=0, options={"nothing_like_it": 3})
    assert "\n" not in str(caught.value)


def test_names_of_nothing_are_refused() -> None:
    for name, words in (
        ("resnet19", "did you mean 'resnet18"),
        (f"{HERE}:nothing", r"expected an importable package\.module:name"),
        ("nowhere.at_all:make", r"expected an importable package\.module:name"),
    ):
        with pytest.raises(InputError, match=rf"encoder\.name: .*{words}"):
            check_name(name)
        with pytest.raises(InputError, match=rf"encoder\.name: .*{words}"):
            build_encoder(name, channels=1, image_size=SIZE, seed=0)


def test_what_one_from_outside_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoder\.weights: expected null or a file"):
        build_encoder(OUTSIDE, channels=1, image_size=SIZE, seed=0, weights=PRETRAINED)
    with pytest.raises(InputError, match=r"encoder\.pool: expected a network of timm that gives its stages"):
        build_encoder(OUTSIDE, channels=1, image_size=SIZE, seed=0, pool="stages")
    file = tmp_path / "other.safetensors"
    save_weights(file, make("test_resnet").state_dict())
    with pytest.raises(InputError, match="the 4 tensors of Encoder"):
        make(OUTSIDE, weights=file)
    with pytest.raises(InputError, match=r"encoder\.name: expected a network of timm, in segmentation"):
        build_segmenter("unet", make(OUTSIDE), encoder_name=OUTSIDE, classes=2, image_size=SIZE, seed=0)


@pytest.mark.parametrize("network", [*NETWORKS, f"{HERE}:network"])
@pytest.mark.parametrize("size", [32, 45])
def test_networks_of_segmentation(network: str, size: int) -> None:
    """Logits of every pixel; the encoder's weights; the same by the same seed, and saved and loaded."""
    name = "test_resnet"
    if network == "dpt":
        name, size = "test_vit", size // 16 * 16  # whole patches
    encoder = build_encoder(name, channels=1, image_size=size, seed=0)

    def build(seed: int) -> torch.nn.Module:
        return build_segmenter(
            network,
            encoder,
            encoder_name=name,
            classes=3,
            image_size=size,
            seed=seed,
            settings=SMALL.get(network, SMALL["unet"]),
        ).eval()

    with unchanged_random_state():
        first, other = build(1), build(2)
    assert digest_of(build(1)) == digest_of(first) != digest_of(other)
    images = torch.from_numpy(derive(0, "images").random((2, 1, size, size))).float()
    with torch.no_grad():
        logits = first(images)
        assert logits.shape == (2, 3, size, size) and torch.isfinite(logits).all()
        other.load_state_dict(first.state_dict())
        assert torch.equal(other(images), logits) and torch.equal(first(images), logits)
    assert padded_size(first, size) >= size  # type: ignore[arg-type]


def test_networks_of_nothing_are_refused() -> None:
    encoder = make("test_resnet")
    for network, words in (("unnet", "did you mean 'unet'"), (f"{HERE}:nothing", "an importable package")):
        with pytest.raises(InputError, match=rf"task\.network\.name: .*{words}"):
            build_segmenter(network, encoder, encoder_name="test_resnet", classes=2, image_size=SIZE, seed=0)
