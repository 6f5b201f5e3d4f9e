"""Every source: the same manifest twice, groups in one split, all bad files in one error, readers in the digests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hybrid_al.data import index as index_module
from hybrid_al.data.base import Dataset, Source
from hybrid_al.data.index import FileIndex
from hybrid_al.data.readers import READERS
from hybrid_al.data.sources import SOURCES, slides
from hybrid_al.data.sources.mni152 import CLASSES
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.errors import UnreadableImages
from tests.helpers import dicom
from tests.helpers.slides import picture, write_slide

PATIENTS, PER_PATIENT = 8, 3  # patients, and images or slices of one


class Case(NamedTuple):
    """Settings of a source, and what spoils two of its samples: the names that the error must have."""

    settings: dict[str, Any]
    spoil: Callable[[], tuple[str, str]] | None


def images(root: Path) -> list[str]:
    """PNG files of some patients, no two alike."""
    rng, names = np.random.default_rng(0), []
    for i in range(PATIENTS * PER_PATIENT):
        names.append(f"class{i % 2}/p{i // PER_PATIENT}_{i % PER_PATIENT}.png")
        (root / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(root / names[-1])
    return names


def volumes(root: Path, names: list[str], classes: int = 0) -> None:
    rng = np.random.default_rng(len(names))
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        values = rng.integers(0, classes, (6, 5, PER_PATIENT)) if classes else rng.random((6, 5, PER_PATIENT))
        nib.save(nib.Nifti1Image(values.astype(np.uint8 if classes else np.float32), np.eye(4)), root / name)


def spoiled(root: Path, first: str, second: str) -> Callable[[], tuple[str, str]]:
    def spoil() -> tuple[str, str]:
        for name in (first, second):
            (root / name).write_bytes(b"nothing that can be read")
        return first, second

    return spoil


def csv_case(root: Path) -> Case:
    names = images(root)
    rows = [f"{name},{i % 2},p{i // PER_PATIENT}" for i, name in enumerate(names)]
    (root / "t.csv").write_text("\n".join(["file,dx,who", *rows]) + "\n")
    columns = {"path": "file", "label": "dx", "group": "who"}
    return Case({"root": root / "t.csv", "columns": columns}, spoiled(root, names[3], names[7]))


def folder_case(root: Path) -> Case:
    names = images(root)
    return Case({"root": root, "group": r"p\d+"}, spoiled(root, names[3], names[7]))


def dicom_case(root: Path) -> Case:
    for i in range(PATIENTS):
        dicom.write_series(root / f"im{i}", [0.0, 1.0, 2.0], seed=i, side=8, PatientID=f"P{i}")
    return Case({"root": root, "classes": ("rest", "organ")}, spoiled(root, "im1/001.dcm", "im5/002.dcm"))


def nifti_case(root: Path) -> Case:
    names = [f"p{i}.nii.gz" for i in range(PATIENTS)]
    volumes(root / "im", names)
    volumes(root / "lb", names, classes=2)
    settings = {"root": root / "im", "masks": root / "lb", "group": "none", "classes": ("rest", "organ")}

    def spoil() -> tuple[str, str]:
        spoiled(root, f"im/{names[1]}", f"lb/{names[4]}")()
        return names[1], names[4]

    return Case(settings, spoil)


def mni152_case(root: Path) -> Case:
    """Slabs as they lie there once they were cut."""
    names = [f"slab{i:02d}" for i in range(5)]
    volumes(root, [f"{name}.nii.gz" for name in names])
    volumes(root, [f"{name}_tissue.nii.gz" for name in names], classes=len(CLASSES))
    splits = ("train", "train", "val", "train", "test")
    rows = [f"{name},{split}" for name, split in zip(names, splits, strict=True)]
    (root / "index.csv").write_text("\n".join(["id,split", *rows]) + "\n")
    return Case({"root": root}, spoiled(root, "slab01.nii.gz", "slab03_tissue.nii.gz"))


def write_arrays(file: Path, harm: dict[int, float], prefixes: tuple[str, ...] = ("",)) -> None:
    """Images in [0, 1], and some with a value outside of it, which no image without a window has."""
    arrays: dict[str, np.ndarray] = {}
    for prefix in prefixes:
        pixels = np.random.default_rng(len(prefix)).random((PATIENTS * PER_PATIENT, 8, 8))
        for row, value in harm.items():
            pixels[row, 0, 0] = value
        arrays |= {
            f"{prefix}images": pixels,
            f"{prefix}labels": np.arange(len(pixels)) % 2,
            f"{prefix}patient": np.asarray([f"{prefix}p{i // PER_PATIENT}" for i in range(len(pixels))]),
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]


def npz_case(root: Path) -> Case:
    write_arrays(root / "x.npz", {})

    def spoil() -> tuple[str, str]:
        write_arrays(root / "x.npz", {3: 2.0, 7: np.nan})
        return "images#3", "images#7"

    return Case({"root": root / "x.npz", "group": "patient"}, spoil)


def medmnist_case(root: Path) -> Case:
    file, prefixes = root / "pneumoniamnist.npz", ("train_", "test_")
    write_arrays(file, {}, prefixes)

    def spoil() -> tuple[str, str]:
        write_arrays(file, {3: 2.0}, prefixes)
        return "train_images#3", "test_images#3"

    return Case({"name": "pneumoniamnist", "root": root, "group": "patient"}, spoil)


def phantom_case(root: Path) -> Case:
    return Case({"n_pool": 60, "n_val": 5, "n_test": 40}, None)


def slides_case(root: Path) -> Case:
    names = [f"p{i}.tif" for i in range(PATIENTS)]
    for i, name in enumerate(names):
        write_slide(root / name, picture(32, 32 * PER_PATIENT, (slice(None), slice(None)), i), mpp=0.5)
    return Case({"root": root, "tile": 32, "mpp": 0.5, "tissue": 0}, spoiled(root, names[1], names[5]))


CASES: dict[str, Callable[[Path], Case]] = {
    "csv": csv_case,
    "dicom": dicom_case,
    "folder": folder_case,
    "medmnist": medmnist_case,
    "mni152": mni152_case,
    "nifti": nifti_case,
    "npz": npz_case,
    "phantom": phantom_case,
    "slides": slides_case,
}
"""A new source brings its line."""


@dataclass(frozen=True)
class RegistrySource:
    """A source of the registry with its settings, as new each time."""

    name: str
    case: Case

    def source(self, **changes: Any) -> Source:
        return SOURCES[self.name](**{**self.case.settings, **changes})

    @property
    def fields(self) -> set[str]:
        return {field.name for field in dataclasses.fields(SOURCES[self.name])}  # type: ignore[arg-type]


@pytest.fixture(params=sorted(SOURCES))
def entry(request: pytest.FixtureRequest, tmp_path: Path) -> RegistrySource:
    assert request.param in CASES, f"the source {request.param} has no case in CASES to be tried on"
    return RegistrySource(request.param, CASES[request.param](tmp_path / "data"))


def pixels(data: Dataset) -> list[bytes]:
    return [data.read(i).tobytes() for i in range(len(data.manifest))]


def same(one: Dataset, other: Dataset) -> None:
    assert one.manifest == other.manifest and one.manifest.fingerprint == other.manifest.fingerprint
    assert (one.classes, one.channels, one.reader, one.stack) == (
        other.classes,
        other.channels,
        other.reader,
        other.stack,
    )
    np.testing.assert_array_equal(one.truth, other.truth)
    assert pixels(one) == pixels(other)
    if one.masks is not None and other.masks is not None:
        assert one.masks.keys == other.masks.keys
        for i in np.flatnonzero(one.masks.labeled).tolist():
            np.testing.assert_array_equal(one.masks.read(i), other.masks.read(i))
    assert (one.masks is None) == (other.masks is None)


def test_the_same_manifest_twice_also_from_the_index(
    entry: RegistrySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SETTLED", -(10**12))
    first = entry.source().load()
    same(first, entry.source().load())
    index = FileIndex(tmp_path / "index.json")
    same(first, entry.source().load(index))
    index.save()
    same(first, entry.source().load(FileIndex(tmp_path / "index.json")))


def test_images_are_what_the_dataset_says(entry: RegistrySource) -> None:
    data = entry.source().load()
    manifest = data.manifest
    assert len(set(manifest.ids)) == len(manifest) and all(len(digest) == 32 for digest in manifest.digests)
    several = len({*manifest.paths}) < len(manifest)  # samples that are slices of one file, or tiles of a slide
    assert not several or all(z >= 0 for z in manifest.z) or entry.name == "slides"
    for i in range(len(manifest)):
        image = data.read(i)
        assert image.ndim == 3 and image.shape[2] <= data.channels and image.dtype in (np.uint8, np.float32)
        if data.masks is not None and data.masks.labeled[i]:
            assert data.masks.read(i).shape == image.shape[:2] == tuple(data.masks.sizes[i])


@pytest.mark.parametrize("seed", range(3))
def test_groups_never_straddle_splits(entry: RegistrySource, seed: int) -> None:
    draws = {"holdout": {"val": 0.2, "test": 0.3}} if "holdout" in entry.fields else {}
    seeds = {"seed": seed} if "seed" in entry.fields else {}
    manifest = entry.source(**draws, **seeds).load().manifest
    assert len(set(manifest.groups)) < len(manifest), "a case whose groups have several samples"
    assert len(set(manifest.splits)) > 1, "a case with more than one split"
    assert len(set(zip(manifest.groups, manifest.splits, strict=True))) == len(set(manifest.groups))


def test_all_bad_files_are_named_in_one_error(entry: RegistrySource, monkeypatch: pytest.MonkeyPatch) -> None:
    if entry.case.spoil is None:  # then it has no files, and opens none
        assert "root" not in entry.fields
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", None)
            entry.source(seed=10**6).load()
        return
    names = entry.case.spoil()
    with pytest.raises(UnreadableImages) as caught:
        entry.source().load()
    assert [path.endswith(name) for (path, _), name in zip(caught.value.problems, names, strict=True)] == [True, True]
    assert all(why and len(why.splitlines()) == 1 for _, why in caught.value.problems)


def test_another_version_of_its_reader_is_another_store(
    entry: RegistrySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest() -> str:
        return ImageStore.build(entry.source().load(), image_size=8, channels=None, cache=tmp_path).digest

    before = digest()
    for kind in READERS.values():
        monkeypatch.setattr(kind, "VERSION", kind.VERSION + " and another")
    monkeypatch.setattr(slides, "VERSION", slides.VERSION + " and another")  # slides have no reader of files
    assert (digest() == before) == ("root" not in entry.fields)
