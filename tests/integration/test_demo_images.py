"""The images that the package brings along: found from anywhere, free of doubles, and what their script makes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hybrid_al.data.archives import DEMO
from hybrid_al.data.sources.npz import Npz
from hybrid_al.errors import UnknownName
from tests.integration.test_script_results import script

ROOT = "package:pneumonia.npz"
SET = Path(__file__).resolve().parents[3] / "shared" / "data" / "pneumoniamnist" / "pneumoniamnist.npz"


def test_the_images_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = Npz(Path(ROOT), group="none", classes=("normal", "pneumonia")).load()
    manifest = data.manifest
    assert Counter(manifest.splits) == {"pool": 550, "val": 100, "test": 300} and not manifest.leaks()
    assert len(set(manifest.digests)) == len(manifest) and data.read(0).shape == (28, 28, 1)
    assert np.bincount(data.truth[manifest.indices("pool")]).tolist() == [142, 408]


@pytest.mark.parametrize("root", ["package:pneumonia", "package:../demo/pneumonia.npz", "package:pneumonia.md"])
def test_a_file_that_the_package_lacks_is_named_with_the_nearest(root: str) -> None:
    with pytest.raises(UnknownName, match=r"data\.root: .*'package:pneumonia\.npz'"):
        Npz(Path(root), group="none").load()


def test_the_file_is_small_and_says_where_it_is_from() -> None:
    assert (DEMO / "pneumonia.npz").stat().st_size < 700_000
    text = (DEMO / "pneumonia.md").read_text(encoding="utf-8")
    assert all(word in text for word in ("CC BY 4.0", "MedMNIST v2", "Kermany", "What was changed"))


def test_the_script_makes_the_file_again() -> None:
    if not SET.is_file():
        pytest.skip(f"{SET} is not there, of which the images are a part")
    images = script("demo_images").demo_images(SET)
    with np.load(DEMO / "pneumonia.npz", allow_pickle=False) as archive:
        assert archive.files == list(images)
        for name, array in images.items():
            np.testing.assert_array_equal(archive[name], array)
            assert archive[name].dtype == array.dtype
