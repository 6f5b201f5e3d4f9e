"""NIfTI volumes: orientation, spacing, normalisation, masks, and volumes that lie."""

from __future__ import annotations

import gzip
import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from hybrid_al.data.index import FileIndex
from hybrid_al.data.readers.volumes import AXES, Axis, load_volume
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.nifti import Nifti
from hybrid_al.errors import InputError, UnknownName, UnreadableImages

SHAPE = (5, 6, 4)  # right, anterior, superior
CLASSES = ("background", "front", "back")
REAL = Path(__file__).parents[4] / "shared" / "data" / "msd_hippocampus"


def voxels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, SHAPE).astype(np.float32)


def labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def put(path: Path, array: np.ndarray, affine: np.ndarray | None = None, kind: Any = nib.Nifti1Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(kind(array, np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine), path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three volumes, two with a mask."""
    for i in range(3):
        put(tmp_path / "im" / f"v{i}.nii.gz", voxels(i))
    for i in range(2):
        put(tmp_path / "lb" / f"v{i}.nii.gz", labels(i))
    (tmp_path / "t.csv").write_text("id,m,split\nv0,lb/v0.nii.gz,train\nv1,lb/v1.nii.gz,test\nv2,,train\n")
    return tmp_path


def table(root: Path, **changes: Any) -> Nifti:
    columns = {"path": "im/{id}.nii.gz", "mask": "m", "split": "split"}
    return Nifti(root / "t.csv", **{"columns": columns, "group": "none", "classes": CLASSES, **changes})


def folder(root: Path, **changes: Any) -> Nifti:
    return Nifti(root / "im", **{"masks": root / "lb", "group": "none", "classes": CLASSES, **changes})


def normalised(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, [0.5, 99.5])
    return np.asarray(((values - low) / (high - low)).clip(0, 1))


@pytest.mark.parametrize("find", [table, folder])
def test_slices_of_a_table_and_of_a_folder(root: Path, find: Any) -> None:
    data = find(root).load()
    manifest, masks = data.manifest, data.masks
    assert len(manifest) == 12 and manifest.z == (0, 1, 2, 3) * 3 and data.channels == 1
    assert manifest.ids[5] == manifest.paths[5] + "#1" and manifest.paths[5].endswith("v1.nii.gz")
    assert manifest.group_codes.tolist() == [0] * 4 + [1] * 4 + [2] * 4  # a volume is a group
    if find is table:
        assert manifest.splits == ("pool",) * 4 + ("test",) * 4 + ("pool",) * 4
    assert masks is not None and masks.labeled.tolist() == [True] * 8 + [False] * 4 and masks.keys[8:] == ("",) * 4
    for i in (0, 6, 11):
        expected = normalised(voxels(i // 4))[:, ::-1, i % 4].T  # anterior at the top, to the right on the right
        np.testing.assert_allclose(data.read(i)[:, :, 0], expected, atol=1e-5)
        if i < 8:
            np.testing.assert_array_equal(masks.read(i), labels(i // 4)[:, ::-1, i % 4].T)
    assert masks.sizes.tolist() == [[6, 5]] * 12 and masks.spacing.tolist() == [[3, 2, 1]] * 12
    assert len(set(masks.keys[:8])) == 8 and len(set(manifest.digests)) == 12


@pytest.mark.parametrize("axis", AXES)
def test_axes(root: Path, axis: Axis) -> None:
    data = table(root, axis=axis).load()
    assert data.masks is not None
    across, down, right = AXES[axis]
    assert len(data.manifest) == 3 * SHAPE[across] and data.read(0).shape == (SHAPE[down], SHAPE[right], 1)
    assert data.masks.spacing[0].tolist() == [1 + across, 1 + down, 1 + right]
    expected = np.moveaxis(labels(0), (across, down, right), (0, 1, 2))[1, ::-1]
    np.testing.assert_array_equal(data.masks.read(1), expected)


@pytest.mark.parametrize("code", ["RAS", "LPS", "ASR", "SPL", "IRA"])
def test_orientation_is_told_by_the_affine(root: Path, code: str) -> None:
    """The same head, stored along other axes, gives the same slices."""
    straight = table(root).load()
    for name in ("im/v0", "lb/v0"):
        image = nib.load(root / f"{name}.nii.gz")
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(code)
        )
        nib.save(image.as_reoriented(turn), root / f"{name}.nii.gz")
    turned = table(root).load()
    assert turned.masks is not None and straight.masks is not None
    for i in range(4):
        np.testing.assert_allclose(turned.read(i), straight.read(i), atol=1e-6)
        np.testing.assert_array_equal(turned.masks.read(i), straight.masks.read(i))
    assert turned.masks.spacing.tolist() == straight.masks.spacing.tolist()


def test_window_in_the_place_of_percentiles(root: Path) -> None:
    data = table(root, window=(100, 600)).load()
    expected = ((voxels(0) - 100) / 500).clip(0, 1)[:, ::-1, 2].T
    np.testing.assert_allclose(data.read(2)[:, :, 0], expected, atol=1e-6)


def test_scaled_and_uncompressed_and_second_edition(root: Path) -> None:
    (root / "im" / "v0.nii.gz").unlink()
    image = nib.Nifti1Image(voxels(0).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(2.0, -7.0)
    nib.save(image, root / "im" / "a.nii")
    put(root / "im" / "b.nii", voxels(1), kind=nib.Nifti2Image)
    data = Nifti(root / "im", group="none").load()
    assert data.masks is None and data.truth.tolist() == [-1] * 16
    np.testing.assert_allclose(data.read(0)[:, :, 0], normalised(voxels(0))[:, ::-1, 0].T, atol=2e-2)
    np.testing.assert_allclose(data.read(4)[:, :, 0], normalised(voxels(1))[:, ::-1, 0].T, atol=1e-5)


def cut(path: Path, length: int) -> None:
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[:length] if length < 0 else whole + bytes(length)))


def lie(path: Path) -> None:
    """A header that claims a hundred times the voxels."""
    whole = bytearray(gzip.decompress(path.read_bytes()))
    whole[42:44] = int(SHAPE[0] * 100).to_bytes(2, "little")
    path.write_bytes(gzip.compress(bytes(whole)))


def nowhere(path: Path) -> None:
    """A header whose affine is all zeros."""
    whole = bytearray(gzip.decompress(path.read_bytes()))
    whole[280:328] = bytes(48)
    path.write_bytes(gzip.compress(bytes(whole)))


def spoil(path: Path) -> None:
    values = voxels()
    values[0, 0, :2] = np.nan, np.inf
    put(path, values)


BAD: dict[str, tuple[Any, str]] = {
    "cut": (lambda p: cut(p, -8), r"its header claims 5 x 6 x 4 voxels in 480 bytes, the file holds 472"),
    "longer": (lambda p: cut(p, 8), r"claims .* in 480 bytes, the file holds more"),
    "lie": (lie, r"claims 500 x 6 x 4 voxels in 48000 bytes, the file holds 480"),
    "broken gzip": (lambda p: p.write_bytes(p.read_bytes()[:-40]), r"no NIfTI volume"),
    "no gzip": (lambda p: p.write_bytes(b"hello"), r"[Nn]ot a gzipped file"),
    "no volume": (lambda p: p.write_bytes(gzip.compress(b"hello")), r"no NIfTI volume"),
    "gone": (lambda p: p.unlink(), r"No such file"),
    "nan": (spoil, r"2 voxels are not finite numbers"),
    "constant": (lambda p: put(p, np.full(SHAPE, 7.0)), r"is 7: set data\.window"),
    "one slice": (lambda p: put(p, voxels()[:, :, :1]), r"one axial slice alone: take another data\.axis"),
    "two axes": (lambda p: put(p, voxels()[:, :, 0]), r"three axes, got 5 x 6"),
    "four axes": (lambda p: put(p, np.stack([voxels()] * 2, -1)), r"three axes, got 5 x 6 x 4 x 2"),
    "no orientation": (nowhere, r"its affine says no orientation"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_volumes_say_why_and_can_be_left_out(root: Path, kind: str) -> None:
    spoil_it, why = BAD[kind]
    spoil_it(root / "im" / "v1.nii.gz")
    with pytest.raises(UnreadableImages, match=why) as caught:
        table(root).load()
    assert [path for path, _ in caught.value.problems] == ["im/v1.nii.gz"]
    data = table(root, on_error="skip").load()
    assert len(data.manifest) == 8 and [path for path, _ in data.skipped] == ["im/v1.nii.gz"]


BAD_MASKS: dict[str, tuple[Any, str]] = {
    "size": (lambda p: put(p, labels()[:4]), r"expected 4 x 6 x 5 voxels as its volume, got 4 x 6 x 4: resample it"),
    "place": (
        lambda p: put(p, labels(), np.diag([1.0, 2.0, 4.0, 1.0])),
        r"elsewhere in space than its volume: 3 mm \(1 voxels\)",
    ),
    "values": (lambda p: put(p, labels() + 2), r"values 3, 4 outside the classes \(0, 1, 2\)"),
    "fractions": (lambda p: put(p, labels() / np.float32(2)), r"no whole numbers"),
    "gone": (lambda p: p.unlink(), r"No such file"),
}


@pytest.mark.parametrize("axis", AXES)
def test_a_mask_stored_along_other_axes_lies_on_its_volume(root: Path, axis: Axis) -> None:
    straight = table(root, axis=axis).load()
    image = nib.load(root / "lb" / "v0.nii.gz")
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt("LSP")
    )
    nib.save(image.as_reoriented(turn), root / "lb" / "v0.nii.gz")
    data = table(root, axis=axis).load()
    assert data.masks is not None and straight.masks is not None
    for i in range(4):
        np.testing.assert_array_equal(data.masks.read(i), straight.masks.read(i))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("moved", "turned", "accepted"), [(0.004, 0, True), (0.09, 0, True), (0.11, 0, False),
                                                           (0, 1e-3, True), (0, 0.1, False)])  # fmt: skip
def test_a_mask_may_lie_a_share_of_a_voxel_beside_its_volume(
    root: Path, axis: Axis, moved: float, turned: float, accepted: bool
) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[0, 3], affine[0, 1] = moved, turned
    put(root / "lb" / "v0.nii.gz", labels(), affine)
    if accepted:
        table(root, axis=axis).load()
        return
    distance = r"0\.11 mm \(0\.11 voxels\)" if moved else r"0\.5 mm \(0\.5 voxels\)"  # the sixth row is off by 5 x 0.1
    with pytest.raises(UnreadableImages, match=f"{distance} at the farthest corner"):
        table(root, axis=axis).load()


def test_what_unpacks_to_more_than_its_header_claims_is_not_unpacked(tmp_path: Path, monkeypatch: Any) -> None:
    whole = gzip.decompress(put(tmp_path / "im" / "a.nii.gz", voxels()).read_bytes())
    (tmp_path / "im" / "a.nii.gz").write_bytes(gzip.compress(whole + bytes(50_000_000), 1))
    reads = list[int]()
    original = gzip.GzipFile.read

    def read(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        data = original(self, size)
        reads.append(len(data))
        return data

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    with pytest.raises(UnreadableImages, match="claims 5 x 6 x 4 voxels in 480 bytes, the file holds more"):
        Nifti(tmp_path / "im", group="none").load()
    assert sum(reads) < 2000
    huge = bytearray(whole)
    huge[42:48] = (30_000).to_bytes(2, "little") * 3
    (tmp_path / "im" / "a.nii.gz").write_bytes(gzip.compress(bytes(huge)))
    with pytest.raises(UnreadableImages, match="30000 x 30000 x 30000 is more than the limit of 1000000000 voxels"):
        Nifti(tmp_path / "im", group="none").load()


@pytest.mark.parametrize("kind", BAD_MASKS)
def test_bad_masks_say_why(root: Path, kind: str) -> None:
    spoil_it, why = BAD_MASKS[kind]
    spoil_it(root / "lb" / "v1.nii.gz")
    with pytest.raises(UnreadableImages, match=why) as caught:
        table(root).load()
    assert [path for path, _ in caught.value.problems] == ["lb/v1.nii.gz"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"classes": ("background",)}, "2 to 254 classes"),
        ({"group": ""}, "said on purpose"),
        ({"columns": {"path": "id", "label": "split"}}, "got label"),
        ({"columns": {"path": "idd"}}, "did you mean 'id'"),
    ],
)
def test_wrong_settings(root: Path, change: dict[str, Any], match: str) -> None:
    with pytest.raises((InputError, UnknownName), match=match):
        table(root, **change).load()


def test_wrong_folders(root: Path) -> None:
    (root / "empty").mkdir()
    for settings, match in (
        ({"root": root / "nowhere"}, "nothing there"),
        ({"root": root / "empty"}, r"volumes \(\.nii"),
        ({"root": root / "im", "masks": root / "nowhere"}, "nothing there"),
        ({"root": root / "lb", "masks": root / "im"}, r"v2\.nii\.gz: expected a mask at the path of its image"),
        ({"root": root / "im", "group": "id"}, "each volume is a group"),
    ):
        with pytest.raises(InputError, match=match):
            Nifti(**{"group": "none", "classes": CLASSES, **settings}).load()  # type: ignore[arg-type]


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the shared hippocampus volumes")
def test_hippocampus(tmp_path: Path) -> None:
    lines = (REAL / "index.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join(lines[:6]))
    columns = {"path": "imagesTr/{id}.nii.gz", "mask": "labelsTr/{id}.nii.gz", "split": "split"}
    data = Nifti(tmp_path / "t.csv", columns=columns, images=REAL, group="none", classes=CLASSES).load()
    assert data.masks is not None and data.masks.labeled.all() and len(data.manifest) > 5 * 24
    slices = data.manifest.paths.count(data.manifest.paths[0])
    first = [np.bincount(data.masks.read(i).ravel(), minlength=3) for i in range(slices)]
    _, _, _, _, anterior, posterior, *_ = lines[1].split(",")
    assert np.sum(first, axis=0).tolist()[1:] == [int(anterior), int(posterior)]
    assert np.isfinite(data.masks.spacing).all()


def test_a_volume_never_lies_in_two_splits(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path / f"v{i:02d}.nii.gz", voxels(i))
    for seed in range(4):
        manifest = Nifti(tmp_path, group="none", holdout={"val": 0.2, "test": 0.3}, seed=seed).load().manifest
        of: dict[str, set[str]] = {}
        for path, split in zip(manifest.paths, manifest.splits, strict=True):
            of.setdefault(path, set()).add(split)
        assert len(of) == 12 and all(len(splits) == 1 for splits in of.values())
        assert {"pool", "val", "test"} == set.union(*of.values())


def test_volumes_that_lie_still_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(2):
        file = put(tmp_path / "data" / f"v{i}.nii.gz", voxels(i))
        os.utime(file, (1, 1))
    monkeypatch.setattr("hybrid_al.data.index.SETTLED", -(10**12))
    source, index = Nifti(tmp_path / "data", group="none"), FileIndex(tmp_path / "index.json")
    first = source.load(index)
    index.save()
    monkeypatch.setattr("hybrid_al.data.readers.volumes._upright_volume", None)
    again = source.load(FileIndex(tmp_path / "index.json"))
    assert again.manifest.fingerprint == first.manifest.fingerprint


def slow_stack(path: Path, z: int, count: int) -> np.ndarray:
    """A loop over channels and pixels: rows from anterior to posterior, columns to the right, ends repeated."""
    values = normalised(np.asarray(nib.load(path).dataobj, dtype=np.float32))
    right, anterior, superior = values.shape
    pixels = np.zeros((anterior, right, count))
    for c in range(count):
        other = min(max(z + c - count // 2, 0), superior - 1)
        for row in range(anterior):
            for column in range(right):
                pixels[row, column, c] = values[column, anterior - 1 - row, other]
    return pixels


@pytest.mark.parametrize("count", [3, 5, 11])
def test_a_stack_equals_the_slow_reference(root: Path, count: int) -> None:
    data, plain = table(root, stack=count).load(), table(root).load()
    assert (data.stack, data.channels, plain.stack, plain.channels) == (count, count, 1, 1)
    assert data.manifest.ids == plain.manifest.ids and data.reader != plain.reader
    assert data.masks is not None and plain.masks is not None
    for i in range(12):
        path = root / data.manifest.paths[i]
        np.testing.assert_allclose(data.read(i), slow_stack(path, i % 4, count), atol=1e-5)
        np.testing.assert_array_equal(data.read(i)[:, :, count // 2], plain.read(i)[:, :, 0])
        if i < 8:  # the mask is that of the slice in the middle
            np.testing.assert_array_equal(data.masks.read(i), plain.masks.read(i))
    assert data.masks.keys == plain.masks.keys


def test_the_content_of_a_stack_is_all_of_its_slices(root: Path) -> None:
    before = table(root, stack=3).load().manifest.digests
    changed = voxels(0)
    changed[:, :, 3] = np.roll(changed[:, :, 3], 1, axis=0)  # the same values elsewhere: percentiles stay
    put(root / "im" / "v0.nii.gz", changed)
    after = table(root, stack=3).load().manifest.digests
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, False] + [True] * 8


def test_one_slice_is_no_stack(root: Path) -> None:
    one, plain = table(root, stack=1).load(), table(root).load()
    assert one.manifest.fingerprint == plain.manifest.fingerprint and one.reader == plain.reader


@pytest.mark.parametrize("count", [-1, 0, 2, 4, 1_000_000_001])
def test_a_stack_of_an_even_number_is_refused(root: Path, count: int) -> None:
    with pytest.raises(InputError, match=rf"data\.stack: expected an odd number of slices, .*, got {count}"):
        table(root, stack=count).load()


def test_a_volume_with_one_slice_is_no_stack_either(root: Path) -> None:
    put(root / "im" / "v1.nii.gz", voxels()[:, :, :1])
    with pytest.raises(UnreadableImages, match="one axial slice alone"):
        table(root, stack=3).load()


def test_a_table_that_puts_a_patient_into_two_splits_is_refused(root: Path) -> None:
    (root / "t.csv").write_text("id,m,split,who\nv0,lb/v0.nii.gz,train,a\nv1,lb/v1.nii.gz,test,a\nv2,,train,b\n")
    with pytest.raises(
        InputError, match=r"group 'a': expected one split \(pool\), got sample 'im/v1\.nii\.gz#0' in test"
    ):
        table(root, group="who").load()


def test_a_table_that_puts_a_volume_into_two_splits_is_refused(root: Path) -> None:
    (root / "t.csv").write_text("id,m,split\nv0,lb/v0.nii.gz,train\nv1,lb/v1.nii.gz,test\nv0,lb/v0.nii.gz,test\n")
    with pytest.raises(InputError, match=r"line 4: expected an image of its own, got im/v0\.nii\.gz, as in line 2"):
        table(root).load()


@pytest.mark.parametrize("axis", AXES)
def test_a_table_without_splits_keeps_volumes_whole(tmp_path: Path, axis: Axis) -> None:
    for i in range(9):
        put(tmp_path / f"v{i}.nii.gz", voxels(i))
    (tmp_path / "t.csv").write_text("id,who\n" + "".join(f"v{i},p{i // 2}\n" for i in range(9)))
    shares = {"val": 0.2, "test": 0.3}
    for seed in range(3):
        source = Nifti(
            tmp_path / "t.csv", columns={"path": "{id}.nii.gz"}, group="who", holdout=shares, axis=axis, seed=seed
        )
        manifest = source.load().manifest
        for of in (manifest.paths, manifest.groups):  # a volume's slices, and a patient's volumes
            assert len(set(zip(of, manifest.splits, strict=True))) == len(set(of))
        assert set(manifest.splits) == {"pool", "val", "test"}


def test_slices_in_the_middle_and_volumes_as_samples(root: Path) -> None:
    whole = Nifti(root / "im", group="none", masks=root / "lb", classes=CLASSES).load()
    some = Nifti(root / "im", group="none", masks=root / "lb", classes=CLASSES, slices=2).load()
    one = Folder(root / "im", group="none", sample="file").load()
    per_volume = Counter(whole.manifest.paths)
    for path, count in per_volume.items():
        first = (count - 2) // 2
        assert [z for p, z in zip(some.manifest.paths, some.manifest.z, strict=True) if p == path] == [first, first + 1]
    assert one.manifest.ids == tuple(f"{path}#{(count - 1) // 2}" for path, count in per_volume.items())
    assert some.masks is not None and whole.masks is not None
    position = whole.manifest.position
    for i, name in enumerate(some.manifest.ids):
        if some.masks.labeled[i]:
            np.testing.assert_array_equal(some.masks.read(i), whole.masks.read(position[name]))
    with pytest.raises(InputError, match=r"data\.slices: expected data\.sample: slice, not file"):
        Folder(root / "im", group="none", sample="file", slices=2).load()


@pytest.mark.parametrize(
    ("offset", "kind", "value", "sform", "says"),
    [
        (254, "<h", 7, 2, "sform_code 7"),  # nibabel takes it as 0, and another affine
        (252, "<h", -1, 0, "qform_code -1"),
        (80, "<f", 0.0, 0, "voxels of 0 x 2 x 3"),  # as 1
        (76, "<f", 5.0, 0, r"pixdim\[0\] 5"),  # as 1, which may mirror it
        (112, "<f", float("inf"), 2, "scl_slope"),  # as 1
    ],
)
def test_what_nibabel_replaces_without_a_word_is_refused(
    offset: int, kind: str, value: float, sform: int, says: str, tmp_path: Path
) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), dtype=np.int16), np.diag([2.0, 2, 3, 1]))
    image.header.set_qform(np.diag([2.0, 2, 3, 1]), 1)
    image.header.set_sform(np.diag([-2.0, 2, 3, 1]), sform)
    content = bytearray(image.to_bytes())
    (tmp_path / "a.nii").write_bytes(content)
    load_volume(tmp_path / "a.nii")
    struct.pack_into(kind, content, offset, value)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        load_volume(tmp_path / "a.nii")


def test_volumes_that_do_not_say_how_they_lie(root: Path) -> None:
    assert not any("do not say" in note for note in table(root).load().notes)
    for name in ("im/v1.nii.gz", "lb/v1.nii.gz"):
        content = bytearray(gzip.decompress((root / name).read_bytes()))
        struct.pack_into("<hh", content, 252, 0, 0)  # qform_code, sform_code
        (root / name).write_bytes(gzip.compress(bytes(content)))
    data = table(root).load()
    (note,) = [note for note in data.notes if "do not say" in note]
    assert note.startswith("1 volumes do not say how they lie (im/v1.nii.gz): orientation and spacing are unknown")
    expected = normalised(voxels(1))[::-1, ::-1, 2].T
    np.testing.assert_allclose(data.read(6)[:, :, 0], expected, atol=1e-5)
