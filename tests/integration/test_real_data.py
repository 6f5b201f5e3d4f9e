"""The real sets under ../shared/data, where they are there: known counts, known leaks, small stores."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.data.describe import describe
from hybrid_al.data.sources.npz import Npz
from hybrid_al.data.sources.table import Csv
from hybrid_al.data.stores.images import ImageStore

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def data_path(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not there: its PROVENANCE.md says where it comes from")
    return path


def test_pneumoniamnist(tmp_path: Path) -> None:
    data = Npz(data_path("pneumoniamnist", "pneumoniamnist.npz"), group="none", classes=("normal", "pneumonia")).load()
    assert Counter(data.manifest.splits) == {"pool": 4708, "val": 524, "test": 624}
    assert np.bincount(data.truth[data.manifest.indices("test")]).tolist() == [234, 390]
    leaks = data.manifest.leaks()
    assert len(leaks) == 8 and all(a.startswith("train/") and b.startswith("val/") for a, b in leaks)
    store = ImageStore.build(data, image_size=28, channels=None, cache=tmp_path)
    assert store.images.shape == (5856, 28, 28, 1)
    np.testing.assert_array_equal(store.images[5000], data.read(5000))


def test_malaria(tmp_path: Path) -> None:
    data = Npz(
        data_path("malaria_cells_gray", "malaria.npz"), group="patient", classes=("uninfected", "parasitized")
    ).load()
    manifest = data.manifest
    assert Counter(manifest.splits) == {"pool": 7000, "val": 1000, "test": 2000}
    assert len(set(manifest.groups)) == 200 and manifest.ids[0].endswith(".png")
    store = ImageStore.build(data, image_size=32, channels=None, cache=tmp_path)
    assert store.images.shape == (10000, 32, 32, 1)


def test_isic(tmp_path: Path) -> None:
    table = data_path("isic2017_melanoma", "labels.csv")
    columns = {"path": "file", "label": "label", "split": "split"}
    source = Csv(table, columns, group="none", classes=("other", "melanoma"), holdout={"test": 0.25}, seed=0)
    data = source.load()
    assert Counter(data.manifest.splits) == {"pool": 1499, "val": 150, "test": 500}
    assert np.bincount(data.truth).tolist() == [1745, 404]
    assert abs(np.bincount(data.truth[data.manifest.indices("test")])[1] - 374 / 4) <= 1
    assert source.load().manifest.fingerprint == data.manifest.fingerprint
    store = ImageStore.build(data, image_size=32, channels=None, cache=tmp_path)
    assert store.images.shape == (2149, 32, 32, 3)


@pytest.mark.parametrize(
    ("name", "source", "group"),
    [("pneumoniamnist", "npz", "none"), ("malaria_cells_gray", "npz", "patient"), ("isic2017_melanoma", "csv", "none")],
)
def test_describe(name: str, source: str, group: str) -> None:
    data = describe(data_path(name)).data
    assert (data["source"], data["group"]) == (source, group)
