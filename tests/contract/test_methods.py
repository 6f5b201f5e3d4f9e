"""Every method of stage 0, found through the registry: it learns, it can be killed, both learners take its encoder."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pretrain.loop as loop_module
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation, FloatArray
from hybrid_al.data.base import Dataset
from hybrid_al.data.sources.phantom import Phantom
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.policies import ViewPolicy
from hybrid_al.errors import InputError
from hybrid_al.learners.finetune import Finetune
from hybrid_al.learners.frozen import Frozen
from hybrid_al.learners.network import Foundation
from hybrid_al.learners.predict import embed
from hybrid_al.models.checkpoint import digest_of
from hybrid_al.models.encoder import Encoder, build_encoder
from hybrid_al.semi.supervised import Supervised
from hybrid_al.train import Schedule
from pretrain import METHODS
from pretrain.export import export
from pretrain.loop import Job
from pretrain.loop import pretrain as train

PHANTOM = Phantom(n_pool=64, n_val=0, n_test=20, size=16)
MILD = ViewPolicy(
    crop=0.7, hflip=True, vflip=True, brightness=0.2
)  # 64 images teach nothing in 40 steps of strong ones
EPOCHS, PER_EPOCH = 10, 4
CNN: dict[str, Any] = {"name": "test_resnet", "options": {}}
VIT: dict[str, Any] = {
    "name": "vit_tiny_patch16_224",
    "options": {"patch_size": 4, "depth": 2, "embed_dim": 32, "num_heads": 2},
}
NEEDS_VIT, NEEDS_MAP = {"mae"}, {"densecl"}
# small enough for 64 images; heads of tens of codes, steps that move
SMALL: dict[str, dict[str, float]] = {"dino": {"codes": 32, "lr": 2e-3}}
LAST_EPOCHS = 3


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return PHANTOM.load()


@pytest.fixture(scope="module")
def store(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore.build(dataset, image_size=16, channels=1, cache=tmp_path_factory.mktemp("cache"))


@dataclass
class Run:
    """A training and what it said."""

    job: Job
    losses: list[float] = field(default_factory=list)

    def go(self, *, stop_at: int | None = None) -> Run:
        def progress(done: int, total: int, message: str) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        train(self.job, log=lambda values, step: self.losses.append(values["stage0/loss"]), progress=progress)
        return self

    def records(self) -> dict[str, FloatArray]:
        assert self.job.records is not None
        return dict(np.load(self.job.records)) if self.job.records.is_file() else {}


def run_of(name: str, store: ImageStore, folder: Path, *, epochs: int = EPOCHS, encoder: dict[str, Any] = VIT) -> Run:
    folder.mkdir(exist_ok=True)
    if encoder is CNN and name in NEEDS_MAP:
        encoder = {**CNN, "options": {"output_stride": 8}}
    settings = {**SMALL.get(name, {}), "epochs": epochs, "batch": 64 // PER_EPOCH}
    return Run(
        Job(
            method=replace(METHODS[name](), **settings),  # type: ignore[type-var]
            encoder=build_encoder(**encoder, channels=1, image_size=16, seed=0),
            store=store,
            pool=np.arange(64),
            views=MILD,
            seed=0,
            device=torch.device("cpu"),
            resume=folder / "resume.pt",
            records=folder / "records.npz",
        )
    )


def vectors(encoder: Encoder, store: ImageStore) -> FloatArray:
    return embed(encoder, store.batch(np.arange(len(store))))


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls_without_collapse_and_the_encoder_changes(name: str, store: ImageStore, tmp_path: Path) -> None:
    run = run_of(name, store, tmp_path)
    before, state = digest_of(run.job.encoder), torch.get_rng_state()
    run.go()
    assert torch.equal(torch.get_rng_state(), state)
    assert len(run.losses) == EPOCHS
    assert np.mean(run.losses[-LAST_EPOCHS:]) < np.mean(run.losses[:1])
    assert digest_of(run.job.encoder) != before
    assert all(p.requires_grad for p in run.job.encoder.parameters())
    assert not run.job.resume.exists()

    embeddings = vectors(run.job.encoder, store)[:64]
    spectrum = np.linalg.svd(embeddings - embeddings.mean(axis=0), compute_uv=False)
    shares = spectrum / spectrum.sum()
    assert np.exp(-(shares * np.log(shares + 1e-12)).sum()) > 2  # effective rank


@pytest.mark.parametrize("name", METHODS)
def test_records_say_what_the_losses_say(name: str, store: ImageStore, tmp_path: Path) -> None:
    run = run_of(name, store, tmp_path, epochs=2).go()
    records = run.records()
    assert {len(values) for values in records.values()} <= {len(store)}
    if not records:
        return
    assert (records["epochs_seen"][:64] == 2).all() and (records["epochs_seen"][64:] == 0).all()
    for values in (values for key, values in records.items() if key != "epochs_seen"):
        assert np.isfinite(values[:64]).all() and np.isnan(values[64:]).all()
    assert records["pretext_loss"][:64].mean() == pytest.approx(run.losses[-1], rel=1e-5)
    if "confidence" in records:
        for key in ("confidence", "variability"):
            assert (records[key][:64] >= 0).all() and (records[key][:64] <= 1).all()
            assert records[key][:64].std() > 0


@pytest.mark.parametrize(
    ("name", "kill"), [*((name, 6) for name in METHODS), ("simclr", 4)], ids=[*METHODS, "simclr between epochs"]
)
def test_killed_and_resumed_is_the_same(
    name: str, kill: int, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_and_resume(name, kill, store, tmp_path, monkeypatch, VIT)


def test_dropout_too_goes_on_where_it_was(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drops = {"proj_drop_rate": 0.2, "drop_path_rate": 0.2}
    _kill_and_resume("byol", 6, store, tmp_path, monkeypatch, {**VIT, "options": {**VIT["options"], **drops}})


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(METHODS) - NEEDS_VIT))
def test_killed_and_resumed_is_the_same_with_batch_norm(
    name: str, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_and_resume(name, 6, store, tmp_path, monkeypatch, CNN)


def _kill_and_resume(
    name: str, kill: int, store: ImageStore, folder: Path, monkeypatch: pytest.MonkeyPatch, encoder: dict[str, Any]
) -> None:
    whole = run_of(name, store, folder / "whole", epochs=2, encoder=encoder).go()
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", -1.0)
    killed = run_of(name, store, folder / "killed", epochs=2, encoder=encoder)
    with pytest.raises(KeyboardInterrupt):
        killed.go(stop_at=kill + 1)
    assert torch.load(killed.job.resume, weights_only=True)["step"] == kill
    torch.manual_seed(kill)
    again = run_of(name, store, folder / "killed", epochs=2, encoder=encoder).go()
    assert again.losses == whole.losses[-1:]
    assert digest_of(again.job.encoder) == digest_of(whole.job.encoder)
    expected, records = whole.records(), again.records()
    assert records.keys() == expected.keys()
    assert all(np.array_equal(records[key], expected[key], equal_nan=True) for key in expected)


@pytest.mark.parametrize("learner", ["frozen", "finetune"])
@pytest.mark.parametrize("name", METHODS)
def test_both_learners_take_the_exported_encoder(
    name: str, learner: str, dataset: Dataset, store: ImageStore, tmp_path: Path
) -> None:
    run = run_of(name, store, tmp_path, epochs=1).go()
    device = torch.device("cpu")
    embeddings = export(
        run.job.encoder, store, dataset.manifest.fingerprint, tmp_path, device, cache=tmp_path / "cache"
    )
    weights = tmp_path / "encoder.safetensors"
    encoder = build_encoder(**VIT, channels=1, image_size=16, seed=9, weights=weights)
    assert digest_of(encoder) == embeddings.encoder
    assert np.allclose(vectors(encoder, store), embeddings.vectors, atol=1e-5)
    base = Foundation(
        encoder=encoder,
        embeddings=embeddings,
        store=store,
        views=VIEWS["microscopy"],
        classes=len(dataset.classes),
        pool=np.arange(64),
        device=device,
        cache=tmp_path / "cache",
    )
    fitted = (Frozen() if learner == "frozen" else Finetune()).build(base, Supervised(), Schedule(steps=2, min_steps=2))
    labels = LabelStore(len(store)).add(Annotation(i, "class", int(dataset.truth[i]), "t", 0) for i in range(8))
    fitted.fit(labels, round=0, seed=0, log=lambda *_: None)
    probs = np.concatenate([batch.probs for batch in fitted.predict(np.arange(64, 84))])
    assert probs.shape == (20, 1, len(dataset.classes)) and np.isfinite(probs).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls_on_a_convolutional_network_or_it_is_refused(
    name: str, store: ImageStore, tmp_path: Path
) -> None:
    run = run_of(name, store, tmp_path, encoder=CNN)
    if name in NEEDS_VIT:
        with pytest.raises(InputError, match=r"encoder\.name: expected a vision transformer"):
            run.go()
        return
    run.go()
    assert np.mean(run.losses[-LAST_EPOCHS:]) < np.mean(run.losses[:1])
