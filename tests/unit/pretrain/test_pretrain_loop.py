"""The loop of stage 0: division of the pool, loading ahead, accumulation, mixed precision, and errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor

from hybrid_al.assemble import open_project
from hybrid_al.core.types import IntArray
from hybrid_al.data.sources.phantom import Phantom
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views import draws
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.policies import View, ViewPolicy
from hybrid_al.errors import InputError
from hybrid_al.models.encoder import Encoder, build_encoder
from hybrid_al.recipe import load
from hybrid_al.track.names import NAMES
from pretrain import METHODS, stage0
from pretrain import loop as pretrain_loop
from pretrain.base import Method
from pretrain.feed import Schedule, feed
from pretrain.loop import Job, pretrain
from pretrain.rotation import Rotation
from pretrain.simclr import SimCLR

VIT = {"patch_size": 4, "depth": 1, "embed_dim": 32, "num_heads": 2}


def vit(**options: float) -> Encoder:
    return build_encoder("vit_tiny_patch16_224", channels=1, image_size=16, seed=0, options={**VIT, **options})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    data = Phantom(n_pool=40, n_val=0, n_test=5, size=16).load()
    return ImageStore.build(data, image_size=16, channels=1, cache=tmp_path_factory.mktemp("cache"))


def train(method: Method, store: ImageStore, folder: Path, views: View) -> tuple[list[dict[str, float]], Encoder]:
    """The logged values, and the encoder."""
    logged: list[dict[str, float]] = []
    job = Job(method, vit(), store, np.arange(40), views, 0, torch.device("cpu"), folder / "resume.pt")
    pretrain(job, log=lambda values, step: logged.append(dict(values)), progress=lambda *_: None)
    return logged, job.encoder


def test_an_epoch_is_full_batches_of_distinct_images_and_is_the_same_from_any_start() -> None:
    schedule, pool = Schedule.of(Rotation(epochs=3, batch=12, accumulate=2), 40, world=3), np.arange(100, 140)
    assert (schedule.per_epoch, schedule.total) == (3, 9)
    chunks = list(schedule.rows(pool, 7, 0))
    assert [len(rows) for rows in chunks] == [6] * 18
    for epoch in range(3):
        rows_of_epoch = np.concatenate(chunks[6 * epoch : 6 * epoch + 6])
        assert len(set(rows_of_epoch.tolist())) == 36 and set(rows_of_epoch.tolist()) <= set(pool.tolist())
    assert not np.array_equal(chunks[0], chunks[6])
    for start in (1, 3, 5):
        assert np.array_equal(np.concatenate(list(schedule.rows(pool, 7, start))), np.concatenate(chunks[2 * start :]))
    shares = [schedule.share(chunks[0], rank) for rank in range(3)]
    assert np.array_equal(np.concatenate(shares), chunks[0]) and [len(s) for s in shares] == [2, 2, 2]


@pytest.mark.parametrize(
    ("pool", "world", "accumulate", "batch"), [(100, 1, 1, 16), (16, 1, 1, 16), (15, 1, 1, 15), (15, 2, 2, 12)]
)
def test_a_pool_smaller_than_the_batch_is_one_batch_as_far_as_it_divides(
    pool: int, world: int, accumulate: int, batch: int
) -> None:
    assert Schedule.of(Rotation(batch=16, accumulate=accumulate), pool, world).batch == batch


@pytest.mark.parametrize(
    ("method", "pool", "world", "message"),
    [
        (SimCLR(batch=1), 100, 1, r"at least two images a process and chunk, .*, got a batch of 1, 1 processes x"),
        (SimCLR(batch=8, accumulate=4), 100, 4, r"a multiple of 4 processes x accumulate=4, got 8"),
        (SimCLR(batch=16, accumulate=4), 100, 4, r"got a batch of 16, 4 processes x accumulate=4"),
        (SimCLR(batch=16), 1, 1, r"at least two images .*, got a pool of 1"),
    ],
)
def test_batches_that_no_pool_fills_are_refused(method: Method, pool: int, world: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Schedule.of(method, pool, world)


@pytest.mark.parametrize("kind", METHODS.values())
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch": 0}, r"batch: expected a whole number of 1 or more, got 0"),
        ({"epochs": 0}, r"epochs: expected a whole number of 1 or more, got 0"),
        ({"accumulate": 0}, r"accumulate: expected a whole number of 1 or more, got 0"),
        ({"lr": 0.0}, r"lr: expected a number above 0, got 0\.0"),
        ({"lr": float("nan")}, r"lr: expected a finite number above 0, got nan"),
        ({"weight_decay": -1.0}, r"weight_decay: expected a number of 0 or more, got -1\.0"),
    ],
)
def test_invalid_numbers_are_refused(kind: Callable[..., Method], wrong: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**wrong)


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_chunks_come_in_order_with_their_own_images_however_far_ahead(ahead: int) -> None:
    chunks, loads = [np.asarray([i, i + 10]) for i in range(5)], list[int]()

    def load(rows: IntArray) -> Tensor:
        loads.append(int(rows[0]))
        return torch.from_numpy(rows) * 2

    stream = feed(iter(chunks), load, ahead=ahead)
    rows, images = next(stream)
    assert rows.tolist() == [0, 10] and images.tolist() == [0, 20]
    assert len(loads) <= ahead + 1
    assert [images.tolist() for _, images in stream] == [[2 * i, 2 * i + 20] for i in range(1, 5)]
    assert loads == [0, 1, 2, 3, 4]


def test_an_image_that_cannot_be_loaded_is_an_error_also_from_ahead() -> None:
    def load(rows: IntArray) -> Tensor:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(feed([np.asarray([0])] * 3, load, ahead=1))


def test_processes_draw_the_views_of_one() -> None:
    images = torch.rand(6, 1, 16, 16, generator=draws.generator(0))
    policy = VIEWS["chest_xray"].pretrain
    assert isinstance(policy, ViewPolicy)
    policy = replace(policy, erase=0.3)
    whole = policy(images, draws.generator(5))
    shares = [policy(images[3 * r : 3 * r + 3], draws.generator(5, r, 2)) for r in range(2)]
    assert torch.equal(torch.cat(shares), whole)

    noisy = ViewPolicy(noise=0.2)
    first, second = (noisy(torch.full((2, 1, 16, 16), 0.5), draws.generator(5, r, 2)) - 0.5 for r in range(2))
    assert not torch.allclose(first, second) and first.std() > 0.01
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.2


def test_chunks_of_a_step_give_the_gradient_of_the_batch_where_images_are_not_compared(
    store: ImageStore, tmp_path: Path
) -> None:
    whole, one = train(Rotation(epochs=2, batch=20), store, tmp_path, ViewPolicy())
    parts, four = train(Rotation(epochs=2, batch=20, accumulate=5), store, tmp_path, ViewPolicy())
    assert [row["stage0/loss"] for row in parts] == pytest.approx([row["stage0/loss"] for row in whole], rel=1e-5)
    for a, b in zip(one.parameters(), four.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-4)


def test_contrast_reaches_over_a_chunk_only(store: ImageStore, tmp_path: Path) -> None:
    views = VIEWS["microscopy"].pretrain
    whole, parts = (
        train(SimCLR(epochs=1, batch=20, accumulate=n), store, tmp_path, views)[0][0]["stage0/loss"] for n in (1, 5)
    )
    assert parts < whole - 1  # about log(7) against log(39)


def test_an_epoch_logs_its_speed(store: ImageStore, tmp_path: Path) -> None:
    logged, _ = train(Rotation(epochs=2, batch=20), store, tmp_path, ViewPolicy())
    assert len(logged) == 2
    for row in logged:
        assert set(row) <= set(NAMES)
        assert row["stage0/images_per_second"] > 0 and 0 <= row["stage0/data_share"] < 1


@pytest.mark.parametrize("name", METHODS)
def test_mixed_precision_gives_the_loss_of_full_precision(name: str, store: ImageStore) -> None:
    method, images = METHODS[name](), store.batch(np.arange(8))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = method.network(vit(), images[:2]).train()
    full = method.loss(network, images, VIEWS["microscopy"].pretrain, draws.generator(3), 0.5).total
    with torch.autocast("cpu", torch.bfloat16):
        mixed = method.loss(network, images, VIEWS["microscopy"].pretrain, draws.generator(3), 0.5).total
    assert mixed.item() == pytest.approx(full.item(), rel=0.05)
    mixed.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_batch_norm_over_all_gpus_keeps_weights_names_and_embeddings() -> None:
    encoder = build_encoder("resnet10t", channels=1, image_size=16, seed=0)
    images = torch.rand(4, 1, 16, 16, generator=draws.generator(0))
    with torch.no_grad():
        before, keys = encoder.eval()(images), list(encoder.state_dict())
        converted = convert_sync_batchnorm(encoder)  # type: ignore[no-untyped-call]
        assert converted is encoder and list(encoder.state_dict()) == keys
        assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in encoder.modules())
        assert torch.equal(encoder.eval()(images), before)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["pretrain=mae"], r"encoder\.name: expected a vision transformer for mae"),
        (["pretrain=densecl"], r"a feature map of at least 2 x 2 for densecl"),
        (["pretrain.epochs=0"], r"pretrain\.epochs: expected a whole number of 1 or more, got 0"),
        (["pretrain.batch=1"], r"pretrain\.batch: expected at least two images"),
        (["encoder.name=resnet10"], r"encoder\.name: expected .*did you mean 'resnet10t'"),
        (["pretrain=none", "encoder.name=resnet10"], r"did you mean 'resnet10t'"),
        (["encoder.name=vit_tiny_patch16_224", "data.image_size=20"], r"data\.image_size: .* whole patches"),
    ],
)
def test_errors_of_stage_0_come_before_data_is_read(overrides: list[str], message: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(InputError, match=message):
        stage0.check(load("cells", ["data={source: npz, root: nowhere.npz, group: none}", *overrides]))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_pool_smaller_than_the_batch_is_noted(tmp_path: Path) -> None:
    small = "data={source: phantom, n_pool: 40, n_val: 0, n_test: 20, size: 16, image_size: 16}"
    project = open_project(load("cells", ["loop.budgets=[4]", small]), run_dir=tmp_path)
    assert stage0.notes(project) == ["stage 0: batches of 40, for the pool has 40 images, not 256"]
    project = open_project(load("cells", ["loop.budgets=[4]", small, "pretrain.batch=40"]), run_dir=tmp_path)
    assert stage0.notes(project) == []
    project = open_project(load("cells", ["loop.budgets=[4]", small, "pretrain=none"]), run_dir=tmp_path)
    assert stage0.notes(project) == []


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_is_said_and_begun_again(
    how: str, store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    method, views = SimCLR(epochs=1, batch=20, hidden=8, out=8), VIEWS["microscopy"].pretrain
    whole, _ = train(method, store, tmp_path, views)
    monkeypatch.setattr(pretrain_loop, "CHECKPOINT_SECONDS", -1.0)
    train(method, store, tmp_path, views)
    file = tmp_path / "resume.pt"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes({"cut": bytes(data[: len(data) // 2]), "flipped": bytes(data), "empty": b""}[how])
    again, _ = train(method, store, tmp_path, views)
    assert "resume.pt: cut or changed; stage 0 begins again" in capsys.readouterr().err
    assert [row["stage0/loss"] for row in again] == [row["stage0/loss"] for row in whole]
