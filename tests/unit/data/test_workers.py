"""Reading by several threads gives what reading by one does."""

from __future__ import annotations

import gzip
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from hybrid_al.data import workers
from hybrid_al.data.grids import gunzip
from hybrid_al.data.index import FileIndex
from hybrid_al.data.readers.dicom import Dicom
from hybrid_al.data.sources.dicom import DicomFolder
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.npz import Npz
from hybrid_al.data.sources.slides import Slides
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.data.workers import each, jobs_of, kept, quiet
from hybrid_al.errors import UnreadableImages
from tests.helpers import dicom
from tests.helpers.slides import write_slide

RNG = np.random.default_rng(0)


def mixed(root: Path) -> Path:
    """Volumes, slices of DICOM and pictures, of which 16 bits are counted by value."""
    root.mkdir()
    for i in range(3):
        voxels = RNG.integers(0, 900, (9, 8, 5)).astype(np.int16)
        nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(root / f"v{i}.nii.gz")
        Image.fromarray(RNG.integers(0, 60000, (9, 8)).astype(np.uint16)).save(root / f"p{i}.png")
        dicom.write(root / f"d{i}.dcm", RNG.integers(-900, 900, (9, 8)).astype(np.int16))
    return root


def test_any_number_of_workers_fills_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "JOB", 2)
    root = mixed(tmp_path / "data")
    stores, manifests, done = [], [], []
    for count in (1, 4):
        dataset = Folder(root, group="none", labels="none").load(FileIndex(workers=count))
        manifests.append(dataset.manifest)
        read = replace(dataset, workers=count)
        stores.append(
            ImageStore.build(
                read,
                image_size=8,
                channels=1,
                cache=tmp_path / str(count),
                progress=lambda i, n: done.append((i, n)),
            )
        )
    assert manifests[0] == manifests[1] and len(manifests[0]) == 21
    np.testing.assert_array_equal(stores[0].images, stores[1].images)
    assert stores[0].notes == stores[1].notes and stores[0].keys == stores[1].keys
    assert done == [(i, 21) for i in range(1, 22)] * 2


def test_what_cannot_be_read_is_named_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "JOB", 1)
    root = tmp_path / "data"
    root.mkdir()
    for i in range(6):
        Image.fromarray(RNG.integers(0, 255, (40, 40), dtype=np.uint8)).save(root / f"{i}.png")
    dataset = replace(Folder(root, group="none", labels="none").load(), workers=3)
    for i in (4, 1):
        (root / f"{i}.png").write_bytes((root / f"{i}.png").read_bytes()[:200])
    with pytest.raises(UnreadableImages) as info:
        ImageStore.build(dataset, image_size=8, channels=1, cache=tmp_path / "cache")
    assert [path for path, _ in info.value.problems] == ["1.png", "4.png"]
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_rows_of_one_archive_are_read_by_one_thread(tmp_path: Path) -> None:
    images = RNG.integers(0, 255, (50, 8, 8), dtype=np.uint8)
    np.savez_compressed(tmp_path / "a.npz", images=images)
    dataset = replace(Npz(tmp_path / "a.npz", group="none").load(), workers=3)
    store = ImageStore.build(dataset, image_size=8, channels=1, cache=tmp_path / "cache")
    np.testing.assert_array_equal(store.images[..., 0], images)


def test_tiles_and_stacks_of_slices_are_the_same_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "JOB", 2)
    for k in range(6):  # more than are held open
        write_slide(tmp_path / "s" / f"{k}.tif", RNG.integers(0, 120, (128, 128, 3), dtype=np.uint8), kind="flat")
    dicom.write_series(tmp_path / "d", [float(z) for z in range(8)])
    sources = (Slides(tmp_path / "s", tile=64, level=0, tissue=0), DicomFolder(tmp_path / "d", stack=3, group="none"))
    for source in sources:
        one, many = (
            ImageStore.build(
                replace(source.load(FileIndex(workers=w)), workers=w),
                image_size=16,
                channels=None,
                cache=tmp_path / f"cache{w}",
            )
            for w in (1, 4)
        )
        assert len(one) in (24, 8)
        np.testing.assert_array_equal(one.images, many.images)


def test_masks_are_the_same_too(tmp_path: Path) -> None:
    maps = RNG.integers(0, 3, (40, 8, 8), dtype=np.uint8)
    names, rows = [f"v{i // 20}.nii#{i}" for i in range(40)], np.arange(40)
    one, many = (
        MaskStore.build(rows, lambda i: maps[i], names, names, size=8, cache=tmp_path / str(w), workers=w)
        for w in (1, 3)
    )
    np.testing.assert_array_equal(one.maps, many.maps)
    np.testing.assert_array_equal(one.pixels, many.pixels)


def test_jobs_keep_files_together() -> None:
    paths = [f"a#{i}" for i in range(20)] + ["b", "c"] + [f"d#{i}" for i in range(30)] + ["e"]
    assert [len(job) for job in jobs_of(paths)] == [20, 32, 1]
    assert [i for job in jobs_of(paths) for i in job] == list(range(53))


def test_the_first_error_ends_all_threads() -> None:
    seen: list[int] = []

    def work(i: int) -> None:
        seen.append(i)
        if i == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each(([i] for i in range(100_000)), work, 3)
    assert len(seen) < 100_000


def test_each_thread_keeps_for_itself() -> None:
    calls: list[int] = []

    @kept(2)
    def double(i: int) -> int:
        calls.append(i)
        return 2 * i

    assert double(1) == double(1) == 2 and calls == [1]
    other = threading.Thread(target=double, args=(1,))
    other.start()
    other.join()
    assert calls == [1, 1]


def test_quiet_blocks_of_several_threads_restore_the_filters() -> None:
    before, inside, go = list(warnings.filters), threading.Event(), threading.Event()

    def first() -> None:
        with quiet():
            inside.set()
            go.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    with quiet():
        go.set()
        thread.join()
        warnings.warn("nobody sees it", stacklevel=1)
    assert list(warnings.filters) == before


def test_gzip_of_several_members_and_of_damage_is_read_as_gzip_does() -> None:
    whole = RNG.integers(0, 9, 5000, dtype=np.uint8).tobytes()
    one = gzip.compress(whole)
    assert gunzip(one, 5001) == whole and gunzip(one, 100) == whole[:100]
    assert gunzip(gzip.compress(whole[:2000]) + gzip.compress(whole[2000:]), 5001) == whole
    assert gunzip(one + gzip.compress(b"more"), 5001) == whole + b"m"
    assert len(gunzip(gzip.compress(bytes(10**6)), 1000)) == 1000, "no more than was asked for"
    with pytest.raises(EOFError):
        gunzip(one[:-20], 5001)
    with pytest.raises(OSError, match="CRC"):
        gunzip(one[:-8] + b"\0" * 4 + one[-4:], 5001)


def test_a_table_of_numbers_gives_the_pixels_of_each(tmp_path: Path) -> None:
    few = RNG.integers(-1000, 1000, (50, 60)).astype(np.int16)
    wide = few.copy()
    wide[0, :2] = -32768, 32767  # more numbers than pixels
    tags = {"RescaleSlope": 2, "RescaleIntercept": -24, "WindowCenter": 50, "WindowWidth": 700}
    pixels = [Dicom().decode(dicom.write(tmp_path / f"{k}.dcm", a, **tags)) for k, a in enumerate((few, wide))]
    np.testing.assert_array_equal(pixels[0][1:], pixels[1][1:])
    assert pixels[1][0, 0, 0] == 0 and pixels[1][0, 1, 0] == 1
