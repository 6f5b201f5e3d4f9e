"""Foundation encoders: published weights by the names of their releases, fitted to the images, or refused."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from torch import Tensor, nn

from hybrid_al.assemble import open_project
from hybrid_al.cli import main
from hybrid_al.errors import InputError, UnknownName
from hybrid_al.learners.predict import embed
from hybrid_al.models.checkpoint import digest_of, load_weights, save_weights
from hybrid_al.models.encoder import Encoder, build_encoder
from hybrid_al.models.pretrained import Option, create
from hybrid_al.recipe import parse

DINOV2, DINOV3 = "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"
REGISTERS = "vit_small_patch14_reg4_dinov2"
TINY: dict[str, Option] = {"depth": 2, "embed_dim": 32, "num_heads": 2}
IMAGENET = (0.485, 0.456, 0.406)


def released(name: str = DINOV2, size: int = 70) -> dict[str, Tensor]:
    """Random weights by the names of the original release, for images of `size`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sized = {} if name == DINOV3 else {"img_size": size}
        tensors = create(name, 3, {**TINY, **sized}).state_dict()
        tensors = {key: torch.randn_like(value) * 0.1 for key, value in tensors.items()}
    tensors["mask_token"] = torch.zeros(1, 32)
    if name == REGISTERS:  # the release adds a position to the class token, and calls its registers otherwise
        tensors["register_tokens"] = tensors.pop("reg_token")
        tensors["pos_embed"] = torch.cat([torch.zeros(1, 1, 32), tensors["pos_embed"]], dim=1)
    if name == DINOV3:
        tensors = {_dinov3(key): value for key, value in tensors.items()}
        for block in range(2):
            tensors[f"blocks.{block}.attn.qkv.bias"] = torch.zeros(96)
        tensors["rope_embed.periods"] = torch.ones(4)
    return tensors


def _dinov3(key: str) -> str:
    return key.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma").replace("reg_token", "storage_tokens")


def built(path: Path | None, name: str = DINOV2, *, size: int = 28, channels: int = 3, scaled: int = 0) -> Encoder:
    return build_encoder(
        name, channels=channels, image_size=size, seed=1, weights=path, options=TINY, input_size=scaled or None
    )


def saved(folder: Path, content: object, name: str = "weights.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


@pytest.mark.parametrize("name", [DINOV2, REGISTERS, DINOV3])
def test_a_release_gives_its_own_embeddings_at_its_own_size(tmp_path: Path, name: str) -> None:
    size, file = (64, released(name)) if name == DINOV3 else (70, released(name))
    encoder, images = built(saved(tmp_path, file), name, size=size), torch.rand(3, 3, size, size)
    state = encoder.backbone.state_dict()
    assert all(torch.equal(state[k], file[k]) for k in state if k in file and k not in ("cls_token", "pos_embed"))
    assert state["cls_token"].shape == (1, 1, 32) and torch.allclose(state["cls_token"], file["cls_token"])
    reference = create(name, 3, {**TINY, **({} if name == DINOV3 else {"img_size": size})}).eval()
    reference.load_state_dict(state)
    normal = (images - torch.tensor(IMAGENET).view(1, 3, 1, 1)) / encoder.state_dict()["std"]
    with torch.no_grad():
        assert np.allclose(embed(encoder, images), reference(normal).numpy(), atol=1e-5)
    assert np.allclose(encoder.state_dict()["mean"].flatten(), IMAGENET)


def test_positions_patches_and_channels_are_fitted(tmp_path: Path) -> None:
    path, file = saved(tmp_path, released()), released()
    grey = built(path, size=28, channels=1).backbone.state_dict()
    assert grey["pos_embed"].shape == (1, 5, 32)
    assert torch.allclose(grey["pos_embed"][:, 0], file["pos_embed"][:, 0])
    assert torch.allclose(grey["patch_embed.proj.weight"], file["patch_embed.proj.weight"].sum(1, keepdim=True))
    finer = build_encoder(DINOV2, channels=3, image_size=28, seed=0, weights=path, options={**TINY, "patch_size": 7})
    assert finer.backbone.state_dict()["patch_embed.proj.weight"].shape == (32, 3, 7, 7)


def test_images_are_scaled_for_the_network(tmp_path: Path) -> None:
    path, images = saved(tmp_path, released()), torch.rand(2, 3, 32, 32)
    encoder, larger = built(path, size=32, scaled=70), built(path, size=70)
    scaled = nn.functional.interpolate(images, (70, 70), mode="bilinear", antialias=True)
    assert np.allclose(embed(encoder, images), embed(larger, scaled), atol=1e-5)
    with pytest.raises(InputError, match=r"data\.image_size: .*whole patches, got 32, .*encoder\.input_size=42 scales"):
        built(path, size=32)


def test_what_decides_embeddings_is_in_the_digest(tmp_path: Path) -> None:
    path = saved(tmp_path, released())
    token = built(path, size=70)
    average = build_encoder(
        DINOV2,
        channels=3,
        image_size=70,
        seed=0,
        weights=path,
        options={**TINY, "global_pool": "avg", "fc_norm": False},
    )
    assert token.state_dict().keys() == average.state_dict().keys()
    assert len({digest_of(token), digest_of(average), digest_of(built(path, size=32, scaled=70))}) == 3
    assert digest_of(built(path, size=70)) == digest_of(token)


@pytest.mark.parametrize("wrapped", ["model", "state_dict", "teacher"])
def test_weights_are_found_where_releases_keep_them(tmp_path: Path, wrapped: str) -> None:
    prefix = {"model": "", "state_dict": "module.", "teacher": "backbone."}[wrapped]
    inner = {f"{prefix}{key}": value for key, value in released().items()}
    inner |= {f"{prefix}head.weight": torch.zeros(7, 32), f"{prefix}decoder_embed.weight": torch.zeros(2, 2)}
    inner |= {"head.mlp.0.weight": torch.zeros(3, 3)} if wrapped == "teacher" else {}
    path = saved(tmp_path, {wrapped: inner, "epoch": 3, "args": argparse.Namespace(lr=0.1)})
    assert digest_of(built(path)) == digest_of(built(saved(tmp_path, released(), "plain.pt")))


def test_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for name, legacy in (("a.pth", False), ("b.bin", True)):
        torch.save({"model": released(), "x": Attack()}, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(InputError, match=r"tensors and nothing else .*never run") as caught:
            load_weights(tmp_path / name)
        assert "\n" not in str(caught.value) and (legacy or "posix.mkdir" in str(caught.value))
    (tmp_path / "pickle.safetensors").write_bytes((tmp_path / "a.pth").read_bytes())
    with pytest.raises(InputError, match="a safetensors file"):
        load_weights(tmp_path / "pickle.safetensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no file of torch", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_weights(tmp_path / "w.pth")
    assert str(caught.value).startswith(f"{tmp_path / 'w.pth'}: expected ") and "\n" not in str(caught.value)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    for content, came in (({"epoch": 3}, "the keys epoch"), ([1, 2], "list"), ({}, r"\(none\)")):
        with pytest.raises(InputError, match=f"named tensors, got .*{came}"):
            load_weights(saved(tmp_path, content))


def test_weights_of_another_architecture_say_which_keys_differ(tmp_path: Path) -> None:
    path = saved(tmp_path, released())
    with pytest.raises(
        InputError, match=r"weights\.pth: expected the \d+ tensors of ResNet, got \d+ missing: conv1\.0"
    ):
        build_encoder("resnet10t", channels=3, image_size=32, seed=0, weights=path)
    deeper = {**TINY, "depth": 3}
    with pytest.raises(InputError, match=r"got 14 missing: blocks\.2\.norm1\.weight, .*, \.\.\."):
        build_encoder(DINOV2, channels=3, image_size=28, seed=0, weights=path, options=deeper)
    with pytest.raises(
        InputError,
        match=r"got 1 missing: reg_token; 1 of another shape: pos_embed \(1, 26, 32\) for \(1, 4, 32\); 1 extra: mask",
    ):
        built(path, REGISTERS)
    with pytest.raises(InputError, match=r"1 extra: reg_token"):
        built(saved(tmp_path, released(REGISTERS)))
    with pytest.raises(InputError, match=r"of another shape: cls_token \(1, 1, 32\) for \(1, 1, 64\), "):
        build_encoder(DINOV2, channels=3, image_size=28, seed=0, weights=path, options={**TINY, "embed_dim": 64})


def test_a_stage_0_starts_from_another_at_another_size_and_channels(tmp_path: Path) -> None:
    first = build_encoder(DINOV2, channels=1, image_size=28, seed=0, options=TINY)
    first.get_buffer("mean").fill_(0.25)
    path = tmp_path / "encoder.safetensors"
    save_weights(path, first.state_dict())
    exact = build_encoder(DINOV2, channels=1, image_size=28, seed=5, weights=path, options=TINY)
    assert digest_of(exact) == digest_of(first)
    more = build_encoder(DINOV2, channels=3, image_size=56, seed=5, weights=path, options=TINY)
    state = more.backbone.state_dict()
    assert state["pos_embed"].shape == (1, 17, 32) and more.state_dict()["mean"].flatten().tolist() == [0.25] * 3
    summed = state["patch_embed.proj.weight"].sum(1, keepdim=True)
    assert torch.allclose(summed, first.backbone.state_dict()["patch_embed.proj.weight"], atol=1e-6)
    assert torch.equal(state["norm.weight"], first.backbone.state_dict()["norm.weight"])


def test_the_tag_of_the_weights_decides_the_normalisation() -> None:
    build_encoder("vit_base_patch16_clip_224.openai", channels=3, image_size=32, seed=0, options=TINY)
    with pytest.raises(UnknownName, match=r"encoder\.name: expected one of \d+ names, got .*did you mean '.*\.openai'"):
        build_encoder("vit_base_patch16_clip_224.opnai", channels=3, image_size=32, seed=0)


RECIPE = {
    "name": "dino",
    "data": {"source": "phantom", "n_pool": 40, "n_val": 0, "n_test": 20, "size": 16, "image_size": 16},
    "encoder": {"name": DINOV2, "options": TINY, "input_size": 28},
    "pretrain": "none",
    "learner": "frozen",
    "loop": {"budgets": [6, 5]},
    "track": {"wandb": {"mode": "off"}},
}


def test_a_foundation_encoder_goes_all_the_way_through_select(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, {"teacher": {f"backbone.{key}": value for key, value in released().items()}})
    plain = {**RECIPE, "encoder": {**RECIPE["encoder"], "weights": str(path)}}  # type: ignore[dict-item]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(plain))
    with pytest.raises(SystemExit) as ended:
        main(["select", str(recipe), "--run-dir", str(tmp_path / "run"), "--quiet"])
    assert not ended.value.code
    assert (tmp_path / "run" / "rounds" / "000" / "query.csv").read_text().count("\n") == 7
    vectors = np.load(tmp_path / "run" / "stage0" / "embeddings" / "plain.npy")
    store = open_project(parse(plain), run_dir=tmp_path / "run").store()
    assert vectors.shape == (60, 32)
    assert np.allclose(vectors, embed(built(path, size=16, scaled=28), store.batch(np.arange(60))), atol=1e-5)

    for key, value, message in (
        ("name", "vit_small_patch14_dinov22", "did you mean 'vit_small_patch14_dinov2'"),
        ("weights", "gone.pth", "encoder.weights: expected null, pretrained or a weights file, got "),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["check", str(recipe), f"encoder.{key}={value}"])
        assert caught.value.code == 2 and message in capsys.readouterr().err


def test_old_recipes_stay_the_runs_that_they_are() -> None:
    assert not {"input_size", "pool"} & parse({"name": "x"}).identity()["encoder"].keys()
    assert parse({"name": "x", "encoder": {"pool": "stages"}}).identity()["encoder"]["pool"] == "stages"
    assert parse({"name": "x", "encoder": {"input_size": 56}}).identity()["encoder"]["input_size"] == 56
    assert timm.is_model(parse({"name": "x"}).encoder.name)
