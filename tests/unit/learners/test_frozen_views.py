"""The frozen learner's cache of views: written once, shared, and written again after damage on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hybrid_al.learners.frozen as frozen_module
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.types import Annotation
from hybrid_al.data.sources.phantom import Phantom
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.learners.frozen import Frozen, cached_views
from hybrid_al.learners.network import Foundation
from hybrid_al.models.encoder import Encoder
from hybrid_al.query.base import QueryState
from hybrid_al.query.strategies import STRATEGIES
from hybrid_al.semi import OBJECTIVES
from hybrid_al.train import Schedule
from pretrain.export import export

STRONG = VIEWS["microscopy"].strong


def foundation(folder: Path) -> Foundation:
    data = Phantom(n_pool=30, n_val=0, n_test=10, size=16).load()
    store = ImageStore.build(data, image_size=16, channels=None, cache=folder / "cache")
    encoder, device = Encoder(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), 3), torch.device("cpu")
    embeddings = export(encoder, store, "m", folder, device, cache=folder / "cache")
    pool = data.manifest.indices("pool")
    return Foundation(encoder, embeddings, store, VIEWS["microscopy"], 5, pool, device, folder / "cache")


def test_views_are_embedded_once_and_again_where_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts: list[int] = []
    inner = frozen_module._embed_views

    def counting(encoder: Encoder, inputs: object, pool: object, count: int, path: Path) -> None:
        counts.append(count)
        inner(encoder, inputs, pool, count, path)  # type: ignore[arg-type]

    monkeypatch.setattr(frozen_module, "_embed_views", counting)
    base = foundation(tmp_path)
    first = np.array(cached_views(base, STRONG, 2))
    assert first.shape == (2, 40, 48) and not first[:, 30:].any() and not np.array_equal(first[0], first[1])
    assert np.array_equal(cached_views(base, STRONG, 2), first) and counts == [2]
    file = next(base.cache.glob("views-*.npy"))
    data = bytearray(file.read_bytes())
    data[-2000] ^= 1
    file.write_bytes(data)
    assert np.array_equal(cached_views(base, STRONG, 2), first) and counts == [2, 2]
    assert f"{file}: damaged; the views are embedded again" in capsys.readouterr().err
    assert cached_views(base, STRONG, 0).shape == (0, 40, 48)


@pytest.mark.parametrize("name", ["tta_entropy", "tta_variance", "tta_jsd"])
def test_queries_get_as_many_views_as_they_need(name: str, tmp_path: Path) -> None:
    base = foundation(tmp_path)
    schedule = Schedule(steps=20, min_steps=20, lr_head=0.05, ratio=1)
    learner = Frozen(strong_views=1).build(base, OBJECTIVES["supervised"](), schedule)
    labels = LabelStore(40).add(Annotation(i, "class", i % 5, "t", 0) for i in range(10))
    learner.fit(labels, round=0, seed=0, log=lambda *_: None)
    assert len(list(base.cache.glob("views-*.npy"))) == 1  # the strong ones; no query has needed weak ones

    probs = np.concatenate([batch.probs for batch in learner.predict(np.arange(10, 30), views=4)])
    views = cached_views(base, base.views.weak, 4)[:, 10:30].astype(np.float32)
    assert learner.networks is not None
    network = learner.networks.teacher
    assert probs.shape == (20, 4, 5)
    for view in range(4):
        expected = network(torch.from_numpy(views[view])).softmax(dim=1).detach().numpy()
        np.testing.assert_allclose(probs[:, view], expected, atol=1e-5)
    assert len({row.tobytes() for row in probs[0]}) == 4  # no view twice

    state = QueryState(1, labels, np.arange(10, 30), np.zeros(40, dtype=np.int64), predictor=learner.predict)
    query = STRATEGIES[name]().select(state, 5, np.random.default_rng(0))
    assert query.scores is not None and len(np.unique(query.scores.values)) > 10
    assert len(list(base.cache.glob("views-*.npy"))) == 3  # 1 strong, 4 and 8 weak


def test_strong_views_are_embedded_when_they_are_drawn(tmp_path: Path) -> None:
    base = foundation(tmp_path)
    learner = Frozen(strong_views=2).build(base, OBJECTIVES["supervised"](), Schedule(steps=1, min_steps=1))
    assert not list(base.cache.glob("views-*.npy")), "a first query waits for nothing that only training reads"
    drawn = learner.inputs.strong(np.arange(4), torch.Generator())
    assert drawn.shape == (4, 48) and len(list(base.cache.glob("views-*.npy"))) == 1
