"""Every reader: it decodes what it probes, alike each time, refuses what is not its own, and is in the digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from hybrid_al.data import index as index_module
from hybrid_al.data.base import Dataset
from hybrid_al.data.index import FileIndex
from hybrid_al.data.readers import READERS, choose, identity
from hybrid_al.data.readers.base import Header, Reader
from hybrid_al.data.sources.table import Csv
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.stores.masks import MaskStore
from tests.helpers import dicom

Planes = npt.NDArray[np.uint8]
CLASSES = ("background", "one", "two")


def write_image(path: Path, planes: Planes) -> None:
    Image.fromarray(planes[0]).save(path, format="PNG")


def write_volume(path: Path, planes: Planes) -> None:
    """Slices (Z, H, W), the first row anterior, as an array (right, anterior, superior)."""
    path.write_bytes(nib.Nifti1Image(planes[:, ::-1].transpose(2, 1, 0).copy(), np.eye(4)).to_bytes())


def write_arrays(path: Path, planes: Planes) -> None:
    with path.open("wb") as file:
        np.savez(file, images=planes)


def write_npy(path: Path, planes: Planes) -> None:
    with path.open("wb") as file:
        np.save(file, planes)


def write_tiff(path: Path, planes: Planes) -> None:
    with path.open("wb") as file:
        tifffile.imwrite(file, planes, photometric="minisblack", metadata=None)


def write_dicom(path: Path, planes: Planes) -> None:
    dicom.write(path, planes)


FILES: dict[str, tuple[Callable[[Path, Planes], None], int]] = {
    "arrays": (write_arrays, 4),
    "dicom": (write_dicom, 4),
    "images": (write_image, 1),
    "npy": (write_npy, 4),
    "tiffs": (write_tiff, 4),
    "volumes": (write_volume, 4),
}
"""How a file of each reader is written from planes (P, H, W), and how many it has; a new reader brings its line."""


@pytest.fixture(params=sorted(READERS))
def name(request: pytest.FixtureRequest) -> str:
    assert request.param in FILES, f"the reader {request.param} has no file in FILES to be tried on"
    return str(request.param)


def planes_of(name: str, most: int = 256, seed: int = 0) -> Planes:
    return np.random.default_rng(seed).integers(0, most, (FILES[name][1], 9, 7), dtype=np.uint8)


def write(path: Path, name: str, planes: Planes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    FILES[name][0](path, planes)
    return path


def reader_of(name: str) -> Reader:
    return choose(name, window=(0, 255)).members[name]


def shape(header: Header) -> tuple[int, int, int]:
    return header.height, header.width, header.channels


def refuses(call: Callable[[], object]) -> None:
    """An OSError or ValueError that says why, on one line."""
    with pytest.raises((OSError, ValueError)) as caught:
        call()
    assert str(caught.value).strip() and len(str(caught.value).splitlines()) == 1


def test_it_decodes_what_it_probes(tmp_path: Path, name: str) -> None:
    planes = planes_of(name)
    reader, file = reader_of(name), write(tmp_path / "x", name, planes)
    header = reader.probe(file)
    assert (header.planes or 1) == len(planes) and header.stack == 1
    for i, plane in enumerate(planes):
        pixels = reader.decode(file, i)
        assert pixels.shape == shape(header) and pixels.dtype in (np.uint8, np.float32)
        np.testing.assert_allclose(pixels[:, :, 0], plane / 255, atol=1e-6)
        np.testing.assert_array_equal(reader.values(file, i), plane)


def test_it_decodes_alike_in_any_order_whatever_became_of_the_pixels(tmp_path: Path, name: str) -> None:
    reader, file = choose(name).members[name], write(tmp_path / "x", name, planes_of(name))
    order = [*range(FILES[name][1]), *reversed(range(FILES[name][1]))]
    for take in (reader.decode, reader.values):
        first: dict[int, bytes] = {}
        for i in order:
            array = take(file, i)
            assert first.setdefault(i, array.tobytes()) == array.tobytes()
            if array.flags.writeable:
                array[:] = 0


def test_another_file_in_its_place_is_read_anew(tmp_path: Path, name: str) -> None:
    reader = reader_of(name)
    for seed in (0, 1):
        planes = planes_of(name, seed=seed)[:, : 9 - seed]
        file = write(tmp_path / "x", name, planes)
        assert reader.probe(file).height == 9 - seed
        np.testing.assert_array_equal(reader.values(file), planes[0])
        np.testing.assert_allclose(reader.decode(file)[:, :, 0], planes[0] / 255, atol=1e-6)


def test_a_plane_that_it_has_not(tmp_path: Path, name: str) -> None:
    reader, file = reader_of(name), write(tmp_path / "x", name, planes_of(name))
    for plane in (-1, FILES[name][1]):
        refuses(lambda plane=plane: reader.decode(file, plane))  # type: ignore[misc]
        refuses(lambda plane=plane: reader.values(file, plane))  # type: ignore[misc]


def test_truncated_files(tmp_path: Path, name: str) -> None:
    reader, whole = reader_of(name), write(tmp_path / "x", name, planes_of(name)).read_bytes()
    for length in sorted({0, 1, 4, *range(0, len(whole) * 3 // 4, max(1, len(whole) // 16))}):
        cut = tmp_path / f"cut{length}"
        cut.write_bytes(whole[:length])
        refuses(lambda cut=cut: (reader.probe(cut), reader.decode(cut)))  # type: ignore[misc]
        refuses(lambda cut=cut: reader.values(cut))  # type: ignore[misc]


def test_foreign_and_missing_files(tmp_path: Path, name: str) -> None:
    reader = reader_of(name)
    files = [write(tmp_path / other, other, planes_of(other)) for other in sorted(FILES) if other != name]
    for content in (b"hello", bytes(4096), b"\x1f\x8b" + bytes(100), b"PK\x03\x04" + bytes(100)):
        files.append(tmp_path / f"foreign{len(files)}")
        files[-1].write_bytes(content)
    for file in (*files, tmp_path / "missing", tmp_path):
        for take in (reader.probe, reader.decode, reader.values):
            refuses(lambda take=take, file=file: take(file))  # type: ignore[misc]


def test_its_files_are_told_by_their_content_and_else_by_their_suffix(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "named.like_nothing", name, planes_of(name))
    assert [k for k, kind in READERS.items() if kind.claims(file.read_bytes()[:4096])] == [name]
    assert choose().name(file) == name
    assert READERS[name].SUFFIXES
    for suffix in READERS[name].SUFFIXES:
        assert suffix == suffix.lower() and suffix.startswith(".")
        damaged = tmp_path / f"damaged{suffix.upper()}"
        damaged.write_bytes(b"?")
        assert choose().name(damaged) == name
        assert [k for k, kind in READERS.items() if suffix in kind.SUFFIXES] == [name]


@pytest.fixture
def bumped(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Gives the reader another version."""
    yield lambda: monkeypatch.setattr(READERS[name], "VERSION", READERS[name].VERSION + " and another")


def dataset(root: Path, name: str, index: FileIndex | None = None) -> Dataset:
    """Two files of a reader with their masks."""
    if not root.exists():
        for i in range(2):
            write(root / f"image{i}", name, planes_of(name, seed=i))
            write(root / f"mask{i}", name, planes_of(name, 3, seed=i))
        (root / "t.csv").write_text("path,mask\nimage0,mask0\nimage1,mask1\n")
    return Csv(root / "t.csv", {"path": "path", "mask": "mask"}, group="none", classes=CLASSES).load(index)


def masks(data: Dataset, cache: Path) -> MaskStore:
    assert data.masks is not None and data.masks.labeled.all()
    rows = np.arange(len(data.manifest), dtype=np.int64)
    return MaskStore.build(rows, data.masks.read, data.masks.keys, data.manifest.ids, size=8, cache=cache)


def test_a_table_of_its_files_has_a_sample_for_each_plane(tmp_path: Path, name: str) -> None:
    data, count = dataset(tmp_path / "data", name), FILES[name][1]
    assert data.masks is not None and len(data.manifest) == 2 * count
    for i in range(2 * count):
        file, plane = divmod(i, count)
        assert data.manifest.groups[i] == data.manifest.paths[i] == f"image{file}"
        assert data.manifest.ids[i] == (f"image{file}" if count == 1 else f"image{file}#{plane}")
        reader = choose().members[name]
        np.testing.assert_array_equal(data.read(i), reader.decode(tmp_path / "data" / f"image{file}", plane))
        np.testing.assert_array_equal(data.masks.read(i), planes_of(name, 3, seed=file)[plane])


def test_another_version_is_another_store(tmp_path: Path, name: str, bumped: Callable[[], None]) -> None:
    data = dataset(tmp_path / "data", name)
    before = ImageStore.build(data, image_size=8, channels=None, cache=tmp_path), masks(data, tmp_path)
    bumped()
    data = dataset(tmp_path / "data", name)
    after = ImageStore.build(data, image_size=8, channels=None, cache=tmp_path), masks(data, tmp_path)
    assert before[0].digest != after[0].digest and not set(before[0].keys) & set(after[0].keys)
    assert before[1].digest != after[1].digest


def test_another_version_reads_files_that_lie_still(
    tmp_path: Path, name: str, bumped: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SETTLED", -(10**12))
    index = FileIndex(tmp_path / "index.json")
    dataset(tmp_path / "data", name, index)
    looks: list[Path] = []
    inner = READERS[name].probe

    def looking(self: Reader, file: Path) -> Header:
        looks.append(file)
        return inner(self, file)

    monkeypatch.setattr(READERS[name], "probe", looking)
    dataset(tmp_path / "data", name, index)
    assert not looks
    bumped()
    dataset(tmp_path / "data", name, index)
    assert len(looks) == 4


def test_its_settings_are_in_its_identity(name: str) -> None:
    plain, other = choose(name).members[name], choose(name, window=(0, 3)).members[name]
    assert len({identity(plain), identity(other), identity(replace(other, window=(0, 4)))}) == 3  # type: ignore[type-var]
