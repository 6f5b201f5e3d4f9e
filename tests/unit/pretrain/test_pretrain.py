"""Stage 0: the loss falls, an interrupted training ends in the same encoder, exports note their origin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hybrid_al.core.embeddings import Embeddings
from hybrid_al.core.types import FloatArray
from hybrid_al.data.sources.phantom import Phantom
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.errors import HybridALError, InputError, UnknownName
from hybrid_al.learners.predict import embed
from hybrid_al.models.checkpoint import digest_of
from hybrid_al.models.encoder import Encoder, build_encoder
from hybrid_al.models.pretrained import PRETRAINED
from pretrain import METHODS
from pretrain.export import export
from pretrain.loop import Job
from pretrain.loop import pretrain as train
from pretrain.probe import probe

PHANTOM = Phantom(n_pool=64, n_val=20, n_test=30, size=16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    cache = tmp_path_factory.mktemp("cache")
    return ImageStore.build(PHANTOM.load(), image_size=16, channels=None, cache=cache)


def job(store: ImageStore, folder: Path, *, method: str = "simclr", epochs: int = 4) -> Job:
    settings = replace(METHODS[method](), epochs=epochs, batch=16)  # type: ignore[type-var]
    return Job(
        method=settings,
        encoder=build_encoder("resnet10t", channels=3, image_size=16, seed=0),
        store=store,
        pool=np.arange(64),
        views=VIEWS["microscopy"].pretrain,
        seed=0,
        device=torch.device("cpu"),
        resume=folder / "resume.pt",
    )


def run(job: Job, *, stop_at: int | None = None) -> list[float]:
    losses: list[float] = []

    def progress(step: int, total: int, message: str) -> None:
        if step == stop_at:
            raise KeyboardInterrupt

    train(job, log=lambda values, step: losses.append(values["stage0/loss"]), progress=progress)
    return losses


def test_a_loss_that_is_not_finite_stops(store: ImageStore, tmp_path: Path) -> None:
    broken = job(store, tmp_path)
    with torch.no_grad():
        next(broken.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(HybridALError, match="pretraining step 0: the loss is nan"):
        run(broken)
    with pytest.raises(InputError, match="at least two images"):
        run(replace(broken, pool=np.arange(1)))


def test_a_training_goes_on_from_published_weights(store: ImageStore, tmp_path: Path) -> None:
    def published() -> Encoder:
        name = "tf_efficientnet_lite0"
        return build_encoder(name, channels=3, image_size=16, seed=0, weights=PRETRAINED, pool="stages")

    plan = job(store, tmp_path, epochs=1)
    further = replace(plan, encoder=published(), method=replace(plan.method, lr=2e-4))  # type: ignore[type-var]
    run(further)
    weights = {name for name, _ in further.encoder.named_parameters()}
    before, after = published().state_dict(), further.encoder.state_dict()
    moved = {
        name: float((after[name] - value).norm() / value.norm()) for name, value in before.items() if name in weights
    }
    assert moved["backbone.conv_stem.weight"] > 0 and float(np.median(list(moved.values()))) < 0.02
    assert all(torch.equal(getattr(further.encoder, key), getattr(published(), key)) for key in ("mean", "std"))


def test_exports_are_complete_and_note_their_origin(store: ImageStore, tmp_path: Path) -> None:
    encoder = build_encoder("resnet10t", channels=3, image_size=16, seed=0)
    embeddings = export(encoder, store, "some manifest", tmp_path, torch.device("cpu"), cache=tmp_path / "cache")
    assert embeddings.vectors.shape == (len(store), 512) and isinstance(embeddings.vectors, np.memmap)
    with torch.no_grad():
        assert np.allclose(embeddings.vectors[3:5], encoder(store.batch(np.asarray([3, 4]))).numpy(), atol=1e-5)

    again = build_encoder("resnet10t", channels=3, image_size=16, seed=9, weights=tmp_path / "encoder.safetensors")
    assert digest_of(again) == digest_of(encoder) == embeddings.encoder
    path = tmp_path / "embeddings" / "plain.npy"
    with pytest.raises(InputError, match="embeddings of manifest"):
        Embeddings.load(path, manifest="another")
    with pytest.raises(InputError, match="embeddings by encoder"):
        Embeddings.load(path, manifest="some manifest", encoder="another")
    note = path.with_suffix(".json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "shape": [1, 2]}))
    with pytest.raises(InputError, match=r"expected shape \(1, 2\)"):
        Embeddings.load(path, manifest="some manifest")


def test_only_new_images_are_embedded(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: list[int] = []

    def counting(encoder: nn.Module, images: Tensor) -> FloatArray:
        counts.append(len(images))
        return embed(encoder, images)

    monkeypatch.setattr("pretrain.export.embed", counting)
    encoder = build_encoder("resnet10t", channels=3, image_size=16, seed=0)
    less = ImageStore(store.images[5:], "less", store.keys[5:])

    def vectors(of: ImageStore, folder: str) -> FloatArray:
        place = tmp_path / folder
        return np.asarray(export(encoder, of, "m", place, torch.device("cpu"), cache=tmp_path / "cache").vectors)

    first = vectors(less, "a")
    assert sum(counts) == len(less)
    all_vectors = vectors(store, "b")
    assert sum(counts) == len(store)
    assert np.array_equal(all_vectors[5:], first)
    shard = next((tmp_path / "cache").rglob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert np.allclose(vectors(store, "c"), all_vectors, atol=1e-5)
    assert f"{shard}: damaged" in capsys.readouterr().err


def test_encoders_and_weights_that_do_not_fit_are_named(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'resnet10t'"):
        build_encoder("resnet10tt", channels=3, image_size=16, seed=0)
    encoder = build_encoder("resnet10t", channels=3, image_size=16, seed=0)
    export(encoder, store, "m", tmp_path, torch.device("cpu"), cache=tmp_path / "cache")
    with pytest.raises(
        InputError, match=r"encoder\.safetensors: expected the \d+ tensors of ResNet, got 53 missing: conv1"
    ):
        build_encoder("resnet18", channels=3, image_size=16, seed=0, weights=tmp_path / "encoder.safetensors")
    with pytest.raises(InputError, match="no such file"):
        build_encoder("resnet10t", channels=3, image_size=16, seed=0, weights=tmp_path / "gone.safetensors")
    for size in (12, 24):
        with pytest.raises(InputError, match=r"data\.image_size: expected images that vit_tiny_patch16_224 can take"):
            build_encoder("vit_tiny_patch16_224", channels=3, image_size=size, seed=0)
    with pytest.raises(
        InputError, match=r"encoder\.options: expected what resnet10t takes, got patch_size=4: .*patch_si"
    ):
        build_encoder("resnet10t", channels=3, image_size=16, seed=0, options={"patch_size": 4})


def test_probes_tell_good_embeddings_from_noise() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    good = Embeddings(rng.normal(size=(200, 8)) + 3 * truth[:, None], "e", "m")
    noise = Embeddings(rng.normal(size=(200, 8)), "e", "m")
    pool, test = np.arange(100), np.arange(100, 200)
    sets = (pool, truth[pool]), {"test": (test, truth[test])}
    for name in ("test/knn_auroc", "test/linear_auroc"):
        assert probe(good, 2, *sets)[name] > 0.98
        assert 0.3 < probe(noise, 2, *sets)[name] < 0.7
    assert probe(good, 2, (pool, np.zeros(100, dtype=np.int64)), sets[1]) == {}
