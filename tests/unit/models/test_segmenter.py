"""Segmentation networks: every kind around encoders of stage 0, odd sizes, and encoders that do not fit."""

from __future__ import annotations

import pytest
import torch

from hybrid_al.errors import InputError, UnknownName
from hybrid_al.models.encoder import Encoder, build_encoder
from hybrid_al.models.segmenter import NETWORKS, Segmenter, build_segmenter, network_or_committee, padded_size
from tests.helpers.networks import SMALL

CNN, VIT = "test_resnet", "test_vit"


def encoder(name: str = CNN, channels: int = 1, size: int = 32) -> Encoder:
    return build_encoder(name, channels=channels, image_size=size, seed=3)


def build(network: str, name: str = CNN, *, size: int = 32, seed: int = 0, dropout: float = 0.0) -> Segmenter:
    return build_segmenter(
        network,
        encoder(name, size=size),
        encoder_name=name,
        classes=3,
        image_size=size,
        seed=seed,
        dropout=dropout,
        settings=SMALL[network],
    )


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_carries_the_weights_of_stage_0(network: str) -> None:
    name = VIT if network == "dpt" else CNN
    weights = {k.replace("_", "."): v for k, v in encoder(name).backbone.state_dict().items()}
    built = build(network, name).eval()
    state = {k.removeprefix("model.").replace("_", "."): v for k, v in built.encoder.state_dict().items()}
    assert state and all(torch.equal(value, weights[key]) for key, value in state.items())
    with torch.no_grad():
        assert built(torch.rand(2, 1, 32, 32)).shape == (2, 3, 32, 32)


def test_encoder_and_head_are_all_that_learns() -> None:
    built = build("unet")
    parts = [*built.encoder.parameters(), *built.head.parameters()]
    assert {id(p) for p in parts} == {id(p) for p in built.parameters()} and len(parts) == len(list(built.parameters()))


def test_the_features_are_those_of_the_encoder() -> None:
    """The deepest map, averaged, is the embedding of stage 0, so normalisation and weights are right."""
    stage0, images = encoder().eval(), torch.rand(2, 1, 32, 32)
    built = build("unet").eval()
    with torch.no_grad():
        deepest = built.encoder(stage0.normalize(images))[-1]
        torch.testing.assert_close(deepest.mean(dim=(2, 3)), stage0(images))
        decoded = built.body(stage0.normalize(images))
        torch.testing.assert_close(built(images), built.classifier(decoded))


@pytest.mark.parametrize("size", [33, 47, 64])
def test_any_size_is_padded_and_cut_back(size: int) -> None:
    built = build("unet", size=size).eval()
    images = torch.rand(2, 1, size, size + 1)
    with torch.no_grad():
        logits = built(images)
        down, right = -size % 32, -(size + 1) % 32
        padded = torch.nn.functional.pad(images, (0, right, 0, down), mode="replicate")
        torch.testing.assert_close(logits, built(padded)[:, :, :size, : size + 1])
    assert logits.shape == (2, 3, size, size + 1) and built.stride == 32
    assert padded_size(built, size) == 64


def test_the_seed_decides_the_head_and_leaves_the_global_state_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = build("fpn", seed=1), build("fpn", seed=1), build("fpn", seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [m.classifier.state_dict()["0.weight"] for m in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_dropout_takes_channels_before_the_last_layer_in_train_mode_only() -> None:
    built = build("unet", dropout=0.5)
    z = torch.ones(4, 8, 2, 2)
    torch.manual_seed(0)
    dropped = built.dropout(z)
    assert set(dropped.unique().tolist()) == {0.0, 2.0} and torch.equal(dropped[:, :, :1, :1].expand_as(z), dropped)
    assert torch.equal(built.eval().dropout(z), z)
    with pytest.raises(InputError, match="probability"):
        build("unet", dropout=1.0)


@pytest.mark.parametrize("network", NETWORKS)
def test_perturbed_features_are_those_of_one_pass(network: str) -> None:
    name = VIT if network == "dpt" else CNN
    segmenter, images = build(network, name).eval(), torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        plain = segmenter(images)
        torch.testing.assert_close(segmenter.perturbed(images, 0.0), plain)
        assert not torch.allclose(segmenter.perturbed(images, 0.5), plain, atol=1e-4)
        if network != "dpt":  # whose class token stays
            blind = segmenter.perturbed(images, 1.0)  # no feature is left: every image looks the same
            torch.testing.assert_close(blind[0], blind[1])
        assert torch.equal(segmenter(images), plain)


def test_a_committee_predicts_the_mean_of_its_members() -> None:
    committee = network_or_committee(lambda seed: build("unet", seed=seed), 2, 0).eval()
    assert not isinstance(committee, Segmenter)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        probs = torch.stack([member(images).softmax(dim=1) for member in committee.members])
        torch.testing.assert_close(committee(images).softmax(dim=1), probs.mean(dim=0))
    assert not torch.allclose(probs[0], probs[1], atol=1e-3)
    trainable = {id(p) for part in (committee.encoder, committee.head) for p in part.parameters()}
    assert trainable == {id(p) for p in committee.parameters()}


def test_a_vision_transformer_fits_dpt_alone() -> None:
    with pytest.raises(InputError, match=r"a network that can take test_vit \(dpt\), got unet: "):
        build("unet", VIT)


def test_a_cnn_does_not_fit_dpt() -> None:
    with pytest.raises(InputError, match=r"can take test_resnet \(unet, unetplusplus, .*, segformer\), got dpt"):
        build("dpt")


def test_unknown_names_and_settings() -> None:
    with pytest.raises(UnknownName, match="did you mean 'unet'"):
        build_segmenter("unett", encoder(), encoder_name=CNN, classes=2, image_size=32, seed=0)
    with pytest.raises(InputError, match=r"settings that unet takes, got decoder_channels=\[8\]: "):
        build_segmenter(
            "unet", encoder(), encoder_name=CNN, classes=2, image_size=32, seed=0, settings={"decoder_channels": [8]}
        )


def test_an_encoder_that_scales_its_images_is_refused() -> None:
    scaled = build_encoder(CNN, channels=1, image_size=32, seed=0, input_size=64)
    with pytest.raises(InputError, match=r"encoder\.input_size"):
        build_segmenter("unet", scaled, encoder_name=CNN, classes=2, image_size=32, seed=0)
