"""The MNI152 template as slabs: what is cut from it, what is missing without the package, and the template itself."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from hybrid_al.assemble import open_project
from hybrid_al.data.sources import mni152
from hybrid_al.data.sources.mni152 import SLAB, Mni152, slabs, tissue
from hybrid_al.errors import InputError
from hybrid_al.recipe import load

SHAPE = (6, 8, 45)
HERE = importlib.util.find_spec("nilearn") is not None


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light, gray and white of a head whose slices 3 to 37 show tissue."""
    rng = np.random.default_rng(0)
    parts = rng.dirichlet((1, 1, 1), SHAPE).astype(np.float32)
    gray, white = parts[..., 1], parts[..., 2]
    gray[..., :3] = white[..., :3] = gray[..., 38:] = white[..., 38:] = 0
    return rng.random(SHAPE).astype(np.float32) * 5, gray, white


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nilearn with a small template."""
    datasets = ModuleType("nilearn.datasets")
    for name, values in zip(("template", "gm_template", "wm_template"), maps(), strict=True):
        image = nib.Nifti1Image(values, np.eye(4))
        setattr(datasets, f"load_mni152_{name}", lambda resolution, image=image: image)
    nilearn = ModuleType("nilearn")
    nilearn.__spec__ = importlib.util.spec_from_loader("nilearn", None)
    monkeypatch.setitem(sys.modules, "nilearn", nilearn)
    monkeypatch.setitem(sys.modules, "nilearn.datasets", datasets)


def test_the_template_becomes_slabs_whose_slices_share_a_split(tmp_path: Path, package: None) -> None:
    light, gray, white = maps()
    data = Mni152(tmp_path / "mni").load()
    manifest, masks = data.manifest, data.masks
    assert masks is not None and masks.labeled.all() and data.classes == mni152.CLASSES
    assert len(manifest) == 35 and manifest.z == (*range(SLAB), *range(SLAB), *range(SLAB), *range(5))
    assert [manifest.splits[k] for k in (0, 10, 20, 30)] == ["pool", "pool", "val", "pool"]
    assert len(set(zip(manifest.groups, manifest.splits, strict=True))) == len(set(manifest.groups)) == 4
    for i in range(35):
        z = 3 + i
        np.testing.assert_allclose(data.read(i)[:, :, 0], (light / light.max())[:, ::-1, z].T, atol=1e-6)
        for row in range(8):
            for column in range(6):  # the likeliest, by hand
                g, w = gray[column, 7 - row, z], white[column, 7 - row, z]
                likeliest = max((1 - g - w, 0), (g, 1), (w, 2))[1]
                assert masks.read(i)[row, column] == likeliest
    again = Mni152(tmp_path / "mni", stack=3).load()
    assert again.channels == 3 and again.manifest.ids == manifest.ids


def test_slabs_start_at_the_first_tissue_and_none_has_one_slice() -> None:
    for first, last, expected in ((0, 45, [10, 10, 10, 10, 5]), (2, 13, [10]), (2, 14, [10, 2])):
        classes = np.zeros(SHAPE, dtype=np.uint8)
        classes[2, 2, first:last] = 1
        slices = slabs(classes)
        assert slices[0].start == first and [s.stop - s.start for s in slices] == expected


def test_tissue_is_the_likeliest_of_three() -> None:
    gray, white = np.asarray([0.2, 0.5, 0.3, 0.0]), np.asarray([0.2, 0.3, 0.6, 0.0])
    assert tissue(gray, white).tolist() == [0, 1, 2, 0]


def test_what_was_cut_before_needs_no_package(tmp_path: Path, package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Mni152(tmp_path).load()
    monkeypatch.setattr(mni152, "_cut", None)
    assert Mni152(tmp_path).load().manifest.fingerprint == first.manifest.fingerprint


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the package nilearn.*pip install 'hybrid-al\[mni\]'"):
        Mni152(tmp_path / "mni").load()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder, got a file"):
        Mni152(tmp_path / "file").load()


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="needs nilearn, which carries the template (pip install 'hybrid-al[mni]')")
def test_the_template_itself(tmp_path: Path) -> None:
    recipe = load("mni152", [f"data.root={tmp_path / 'mni'}", "pretrain=none"])
    data = open_project(recipe, run_dir=tmp_path / "run").dataset
    assert data.masks is not None and len(data.manifest) == 153 and data.masks.sizes[0].tolist() == [233, 197]
    assert data.masks.spacing[0].tolist() == [1, 1, 1]
    pixels = np.bincount(np.concatenate([data.masks.read(i).ravel() for i in range(0, 153, 10)]), minlength=3)
    np.testing.assert_array_equal(pixels, [562990, 107680, 63746])
