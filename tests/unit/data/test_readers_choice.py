"""Which reader a file gets, and the combinations of sources and readers that no source was written for."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from hybrid_al.assemble import open_project
from hybrid_al.data.base import Pixels
from hybrid_al.data.describe import describe
from hybrid_al.data.pixels import Window, to_pixels
from hybrid_al.data.readers import READERS, choose
from hybrid_al.data.readers.base import Header
from hybrid_al.data.readers.volumes import Volumes
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.nifti import Nifti
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import InputError, UnknownName, UnreadableImages
from hybrid_al.recipe import parse
from tests.helpers import dicom

SHAPE = (5, 6, 4)  # right, anterior, superior
CLASSES = ("rest", "organ")


@dataclass(frozen=True)
class Raw:
    """A reader from outside: a byte of the side, then so many rows of as many bytes."""

    window: Window | None = None
    inverted: bool = False

    SUFFIXES: ClassVar[tuple[str, ...]] = (".raw",)
    VERSION: ClassVar[str] = "1"

    @staticmethod
    def claims(head: bytes) -> bool:
        return False

    def probe(self, file: Path) -> Header:
        height, width = self.values(file).shape
        return Header(height, width, channels=1)

    def decode(self, file: Path, plane: int = 0) -> Pixels:
        values = self.values(file, plane)
        return to_pixels(255 - values if self.inverted else values, self.window)

    def values(self, file: Path, plane: int = 0) -> npt.NDArray[np.uint8]:
        side, *values = file.read_bytes()
        return np.asarray(values, dtype=np.uint8).reshape(side, side)


OUTSIDE = f"{__name__}:Raw"


def volume(path: Path, seed: int = 0, classes: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    values = rng.integers(0, classes, SHAPE, dtype=np.uint8) if classes else rng.random(SHAPE, dtype=np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


def picture(path: Path, value: int = 0, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5, 3)[: 2 if channels == 1 else 3], value, dtype=np.uint8)).save(path)
    return path


class TestChoice:
    def test_content_goes_before_the_suffix(self, tmp_path: Path) -> None:
        packed, plain = volume(tmp_path / "a.nii.gz").read_bytes(), picture(tmp_path / "b.png").read_bytes()
        for name, content, expected in (
            ("x.png", packed, "volumes"),
            ("x", gzip.decompress(packed), "volumes"),
            ("x.nii.gz", plain, "images"),
            ("x.nii", b"?", "volumes"),
            ("x.JPG", b"?", "images"),
        ):
            (tmp_path / name).write_bytes(content)
            assert choose().name(tmp_path / name) == expected
        assert choose("volumes").of(tmp_path / "x.png").probe(tmp_path / "x").planes == 4

    def test_a_file_of_no_kind(self, tmp_path: Path) -> None:
        (tmp_path / "x.dat").write_bytes(b"?")
        with pytest.raises(ValueError, match=rf"kind \({', '.join(READERS)}\): data\.reader would name"):
            choose().of(tmp_path / "x.dat")

    @pytest.mark.parametrize(
        ("reader", "match"),
        [
            ("volume", r"data\.reader\.name: .*did you mean 'volumes'"),
            ({"name": "volumes", "axes": "axial"}, r"data\.reader \(volumes\): .*did you mean 'axis'"),
            ({"name": "volumes", "axis": "oblique"}, r"data\.reader\.axis"),
            ({"name": "volumes", "stack": 2}, "an odd number of slices"),
            ({"axis": "coronal"}, "a name, or a mapping of a name"),
            ({"name": 3}, "a name, or a mapping of a name"),
            ("nowhere.at_all:Mine", "an importable package.module:name"),
        ],
    )
    def test_what_is_refused(self, reader: Any, match: str) -> None:
        with pytest.raises((InputError, UnknownName), match=match):
            choose(reader)

    def test_a_window_goes_to_the_reader(self) -> None:
        assert choose(OUTSIDE, window=(0, 3)).members == {OUTSIDE: Raw(window=(0, 3))}
        assert {str(reader).count("(0.0, 3.0)") for reader in choose(window=(0, 3)).members.values()} == {1}

    def test_the_suffixes_of_a_folder(self) -> None:
        assert ".png" in choose().suffixes and ".nii.gz" in choose().suffixes
        assert ".npz" not in choose().suffixes  # features, most of the time
        assert choose("arrays").suffixes == (".npz",)
        assert [choose().stem(name) for name in ("a/b.nii.gz", "c.PNG", "d.e", "f")] == ["a/b", "c", "d.e", "f"]


def test_a_folder_of_volumes_equals_the_source_of_volumes(tmp_path: Path) -> None:
    for i in range(3):
        volume(tmp_path / "im" / f"v{i}.nii.gz", i)
        volume(tmp_path / "lb" / f"v{i}.nii.gz", i, classes=2)
    settings: dict[str, Any] = {"group": "none", "masks": tmp_path / "lb", "classes": CLASSES}
    reader = {"name": "volumes", "axis": "coronal", "stack": 3}
    one = Folder(tmp_path / "im", reader=reader, **settings).load()
    other = Nifti(tmp_path / "im", axis="coronal", stack=3, **settings).load()
    assert one.manifest == other.manifest and (one.reader, one.stack, one.channels) == (other.reader, 3, 3)
    assert one.masks is not None and other.masks is not None and one.masks.keys == other.masks.keys
    for i in range(len(one.manifest)):
        np.testing.assert_array_equal(one.read(i), other.read(i))
        np.testing.assert_array_equal(one.masks.read(i), other.masks.read(i))


def test_class_folders_of_volumes(tmp_path: Path) -> None:
    for name in ("train/ill/p1_a", "train/ill/p1_b", "train/well/p2_a", "test/well/p3_a"):
        volume(tmp_path / f"{name}.nii.gz", len(name))
    data = Folder(tmp_path, group=r"p\d").load()
    assert data.classes == ("ill", "well") and data.truth.tolist() == [1] * 4 + [0] * 8 + [1] * 4
    assert data.manifest.splits == ("test",) * 4 + ("pool",) * 12
    assert data.manifest.groups == ("p3",) * 4 + ("p1",) * 8 + ("p2",) * 4
    assert data.manifest.ids[5] == "train/ill/p1_a.nii.gz#1" and data.manifest.z[:5] == (0, 1, 2, 3, 0)


def test_a_table_of_single_slices(tmp_path: Path) -> None:
    volume(tmp_path / "v.nii.gz")
    volume(tmp_path / "m.nii.gz", classes=2)
    (tmp_path / "t.csv").write_text("file,z,dx\nv.nii.gz,3,ill\nv.nii.gz,1,well\n")
    columns = {"path": "file", "slice": "z"}
    data = Csv(tmp_path / "t.csv", {**columns, "label": "dx"}, group="none").load()
    whole = Nifti(tmp_path, group="none").load()
    assert data.manifest.ids == ("v.nii.gz#3", "v.nii.gz#1") and data.truth.tolist() == [0, 1]
    assert data.manifest.groups == ("v.nii.gz",) * 2
    place = {name: i for i, name in enumerate(whole.manifest.ids)}
    for i, name in enumerate(data.manifest.ids):
        np.testing.assert_array_equal(data.read(i), whole.read(place[name]))
    (tmp_path / "t.csv").write_text("file,z,mask\nv.nii.gz,3,m.nii.gz\n")
    masked = Csv(tmp_path / "t.csv", {**columns, "mask": "mask"}, group="none", classes=CLASSES).load()
    truth = np.asarray(nib.load(tmp_path / "m.nii.gz").dataobj)[:, ::-1, 3].T
    assert masked.masks is not None
    np.testing.assert_array_equal(masked.masks.read(0), truth)


def test_a_volume_of_many_rows_is_read_once_and_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume(tmp_path / "v.nii.gz")
    (tmp_path / "t.csv").write_text("file,z\n" + "".join(f"v.nii.gz,{z}\n" for z in range(4)))
    probed: list[Path] = []
    inner = Volumes.probe

    def probe(self: Volumes, file: Path) -> Header:
        probed.append(file)
        return inner(self, file)

    monkeypatch.setattr(Volumes, "probe", probe)
    source = Csv(tmp_path / "t.csv", {"path": "file", "slice": "z"}, group="none")
    assert len(source.load().manifest) == 4 and len(probed) == 1
    (tmp_path / "v.nii.gz").write_bytes(b"?")
    with pytest.raises(UnreadableImages) as caught:
        source.load()
    assert [path for path, _ in caught.value.problems] == ["v.nii.gz"]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("v.nii.gz,1\nv.nii.gz,01\n", r"line 3: expected an image of its own, got v\.nii\.gz, as in line 2"),
        ("v.nii.gz,\n", r"line 2, column z: expected a number from 0, got ''"),
        ("v.nii.gz,-1\n", r"line 2, column z: expected a number from 0"),
        ("v.nii.gz,4\n", r"v\.nii\.gz: expected slice 4, but it has 4"),
        ("p.png,0\n", r"p\.png: expected slice 0, but it has none"),
    ],
)
def test_wrong_slices_of_a_table(tmp_path: Path, rows: str, match: str) -> None:
    volume(tmp_path / "v.nii.gz")
    picture(tmp_path / "p.png")
    (tmp_path / "t.csv").write_text("file,z\n" + rows)
    with pytest.raises((InputError, UnreadableImages), match=match):
        Csv(tmp_path / "t.csv", {"path": "file", "slice": "z"}, group="none").load()


def test_files_of_several_kinds_in_one_table(tmp_path: Path) -> None:
    volume(tmp_path / "v.nii.gz")
    picture(tmp_path / "p.png", 7, channels=3)
    np.savez(tmp_path / "a.npz", images=np.full((2, 6, 5), 9, dtype=np.uint8))
    dicom.write(tmp_path / "d", np.arange(30, dtype=np.uint8).reshape(6, 5))
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(6, 5)).save(tmp_path / "t.tif")
    (tmp_path / "t.csv").write_text("file\np.png\nv.nii.gz\na.npz\nd\nt.tif\nn.npy\n")
    np.save(tmp_path / "n.npy", np.full((6, 5, 3), 200, dtype=np.uint8))
    data = Csv(tmp_path / "t.csv", {"path": "file"}, group="none").load()
    assert data.manifest.ids == (
        "p.png",
        *(f"v.nii.gz#{z}" for z in range(4)),
        "a.npz#0",
        "a.npz#1",
        "d",
        "t.tif",
        "n.npy",
    )
    assert data.channels == 3 and data.manifest.z == (-1, 0, 1, 2, 3, 0, 1, -1, -1, -1)
    assert [data.read(i).shape[2] for i in (0, 1, 5)] == [3, 1, 1] and data.read(6)[0, 0, 0] == 9
    assert [kind in data.reader for kind in READERS] == [True] * len(READERS)


def test_a_folder_leaves_arrays_unless_they_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "p.png")
    np.savez(tmp_path / "a.npz", images=np.full((2, 6, 5), 9, dtype=np.uint8))
    assert Folder(tmp_path, group="none").load().manifest.ids == ("p.png",)
    assert Folder(tmp_path, group="none", reader="arrays").load().manifest.ids == ("a.npz#0", "a.npz#1")


def test_a_reader_from_outside_with_masks_of_another_kind(tmp_path: Path) -> None:
    """What a recipe says reaches it, and its masks may be PNG."""
    for i in range(4):
        (tmp_path / "im").mkdir(exist_ok=True)
        (tmp_path / "im" / f"{i}.raw").write_bytes(bytes([3, *[i] * 9]))
        (tmp_path / "lb").mkdir(exist_ok=True)
        Image.fromarray(np.eye(3, dtype=np.uint8)).save(tmp_path / "lb" / f"{i}.png")
    data = {"source": "folder", "root": str(tmp_path / "im"), "group": "none", "masks": str(tmp_path / "lb")}
    data |= {"classes": ["rest", "organ"], "reader": {"name": OUTSIDE, "inverted": True}, "image_size": 8}  # type: ignore[dict-item]
    recipe = parse({"name": "x", "task": "segmentation", "data": data, "pretrain": "none", "loop": {"budgets": [2]}})
    loaded = open_project(recipe, run_dir=tmp_path / "run").dataset
    assert loaded.manifest.ids == tuple(f"{i}.raw" for i in range(4)) and OUTSIDE in loaded.reader
    assert loaded.read(3)[0, 0, 0] == 252 and loaded.masks is not None
    np.testing.assert_array_equal(loaded.masks.read(2), np.eye(3))
    (tmp_path / "im" / "1.raw").write_bytes(bytes([3, *[1] * 8]))
    with pytest.raises(UnreadableImages, match=r"1\.raw: cannot reshape"):
        open_project(recipe, run_dir=tmp_path / "run")


def test_a_slice_of_a_mask_may_say_nothing_where_others_do(tmp_path: Path) -> None:
    volume(tmp_path / "im" / "v.nii.gz")
    values = np.full(SHAPE, 9, dtype=np.uint8)
    values[:, :, 2] = 1
    (tmp_path / "lb").mkdir()
    settings: dict[str, Any] = {"group": "none", "masks": tmp_path / "lb", "classes": CLASSES}
    settings["mask_values"] = {0: "rest", 1: "organ", 9: "ignore"}
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "lb" / "v.nii.gz")
    masks = Folder(tmp_path / "im", **settings).load().masks
    assert masks is not None and masks.read(0).tolist() == [[255] * 5] * 6 and masks.read(2).tolist() == [[1] * 5] * 6
    nib.save(nib.Nifti1Image(np.full(SHAPE, 9, dtype=np.uint8), np.eye(4)), tmp_path / "lb" / "v.nii.gz")
    with pytest.raises(UnreadableImages, match="says nothing"):
        Folder(tmp_path / "im", **settings).load()


def test_an_image_of_a_mask_that_says_nothing_is_refused_when_it_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "im" / "p.png")
    picture(tmp_path / "lb" / "p.png", 9)
    values = {0: "rest", 1: "organ", 9: "ignore"}
    folder = Folder(tmp_path / "im", group="none", masks=tmp_path / "lb", classes=CLASSES, mask_values=values)
    masks = folder.load().masks
    assert masks is not None
    with pytest.raises(ValueError, match="says nothing"):
        masks.read(0)


def test_init_looks_at_volumes_too(tmp_path: Path) -> None:
    volume(tmp_path / "im" / "ill" / "v.nii.gz")
    volume(tmp_path / "im" / "well" / "w.nii.gz")
    assert describe(tmp_path / "im").data["source"] == "folder"
    (tmp_path / "t.csv").write_text("image,dx\nim/ill/v.nii.gz,a\nim/well/w.nii.gz,b\n")
    data = describe(tmp_path / "t.csv").data
    assert data["columns"] == {"path": "image", "label": "dx"} and data["image_size"] == 8
