"""Series of DICOM files: told apart, in the order of their positions, with the labels of a table beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from hybrid_al.api.pixels_only import place_of
from hybrid_al.data import index as index_module
from hybrid_al.data.base import Dataset
from hybrid_al.data.describe import describe
from hybrid_al.data.index import FileIndex
from hybrid_al.data.sources.dicom import DicomFolder
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import InputError
from hybrid_al.report.overview import holdout_notes
from tests.helpers import dicom

SERIES = Path("/work/shared/data/dicom_t1_series")
CLASSES = ("no", "yes")


def load(root: Path, **settings: Any) -> Dataset:
    return DicomFolder(root, **{"classes": CLASSES, **settings}).load()


def tilted(k: float) -> dict[str, Any]:
    """Position and orientation of slice k, 2 mm behind the last, of a stack that is turned about x."""
    c, s = np.cos(0.3), np.sin(0.3)
    place = np.asarray([5.0, -3.0, 10.0]) + 2 * k * np.asarray([0, -s, c])
    return {
        "ImagePositionPatient": [f"{v:.6f}" for v in place],
        "ImageOrientationPatient": [1, 0, 0, 0, round(c, 6), round(s, 6)],
    }


def test_slices_are_ordered_by_position_along_the_normal_never_by_name(tmp_path: Path) -> None:
    uids: dict[str, Any] = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    for name, k in (("a", 3), ("b", 0), ("c.7", 2), ("d", 1)):
        dicom.write(tmp_path / name, np.full((4, 4), k, dtype=np.int16), **uids, **tilted(k))
    data = load(tmp_path, window=(0, 3))
    assert data.manifest.ids == ("b", "d", "c.7", "a") and data.notes == ()
    assert [round(3 * float(data.read(i)[0, 0, 0])) for i in range(4)] == [0, 1, 2, 3]


@pytest.mark.skipif(not SERIES.is_dir(), reason="shared data are not here")
def test_a_real_series_is_in_the_order_of_its_positions_and_scaled_as_one(tmp_path: Path) -> None:
    data = load(SERIES, stack=3)
    headers = [pydicom.dcmread(SERIES / path) for path in data.manifest.paths]
    along = [
        float(np.dot(h.ImagePositionPatient, np.cross(*np.reshape(h.ImageOrientationPatient, (2, 3))))) for h in headers
    ]
    assert len(along) == 40 and (np.diff(along) > 0.5).all()
    sampled = [headers[i].pixel_array for i in sorted({k * 40 // 16 for k in range(16)})]
    low, high = np.percentile(sampled, [0.5, 99.5])
    for i, around in ((0, (0, 0, 1)), (20, (19, 20, 21)), (39, (38, 39, 39))):
        expected = np.stack([(headers[k].pixel_array - low) / (high - low) for k in around], axis=2).clip(0, 1)
        np.testing.assert_allclose(data.read(i), expected, atol=1e-5)


def test_units_of_a_study(tmp_path: Path) -> None:
    dicom.write_series(tmp_path / "a", [0, 1, 2, 3, 4], seed=1)
    dicom.write_series(tmp_path / "b", [0, 1, 2], seed=2)
    assert load(tmp_path).manifest.ids == tuple(
        [f"a/00{k}.dcm" for k in (5, 4, 3, 2, 1)] + [f"b/00{k}.dcm" for k in (3, 2, 1)]
    )
    assert load(tmp_path, slices=2).manifest.ids == ("a/004.dcm", "a/003.dcm", "b/003.dcm", "b/002.dcm")
    middle = load(tmp_path, sample="series", stack=3)
    assert middle.manifest.ids == ("a/003.dcm", "b/002.dcm") and (middle.stack, middle.channels) == (3, 3)
    plain = load(tmp_path)
    np.testing.assert_array_equal(
        middle.read(0),
        np.concatenate([plain.read(plain.manifest.ids.index(f"a/00{k}.dcm")) for k in (4, 3, 2)], axis=2),
    )
    assert len(load(tmp_path, sample="file").manifest) == 8
    with pytest.raises(InputError, match=r"data\.slices"):
        load(tmp_path, sample="series", slices=2)
    with pytest.raises(InputError, match=r"data\.stack"):
        load(tmp_path, stack=2)


def test_another_neighbour_is_another_sample_of_a_stack(tmp_path: Path) -> None:
    files = dicom.write_series(tmp_path, [0, 1, 2])
    one, alone = load(tmp_path, stack=3, window=(0, 9)).manifest, load(tmp_path, window=(0, 9)).manifest
    header = pydicom.dcmread(files[0])
    header.PixelData = bytes(len(header.PixelData))
    header.save_as(files[0])
    two, other = load(tmp_path, stack=3, window=(0, 9)).manifest, load(tmp_path, window=(0, 9)).manifest
    assert [a != b for a, b in zip(one.digests, two.digests, strict=True)] == [True, True, False]
    assert [a != b for a, b in zip(alone.digests, other.digests, strict=True)] == [True, False, False]


def test_frames_are_slices_in_the_order_of_their_own_positions(tmp_path: Path) -> None:
    frames = []
    for z in (2.0, 0.0, 1.0):
        group, position, orientation = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient, orientation.ImageOrientationPatient = [0, 0, z], dicom.AXIAL
        group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [orientation]
        frames.append(group)
    pixels = np.arange(3, dtype=np.int16)[:, None, None] * np.ones((3, 4, 4), dtype=np.int16)
    dicom.write(tmp_path / "1", pixels, PerFrameFunctionalGroupsSequence=frames)
    data = load(tmp_path, window=(0, 2))
    assert data.manifest.ids == ("1#1", "1#2", "1#0") and data.manifest.z == (1, 2, 0)
    assert [float(data.read(i)[0, 0, 0]) for i in range(3)] == [0.5, 1.0, 0.0]
    assert load(tmp_path, sample="file", window=(0, 2)).manifest.ids == ("1#1",)


def test_localizers_and_images_of_another_orientation_are_left_and_said(tmp_path: Path) -> None:
    uids: dict[str, Any] = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    dicom.write_series(tmp_path, [0, 1, 2], **uids)
    sagittal = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    dicom.write(tmp_path / "x1", np.ones((12, 12), dtype=np.int16), **uids, **sagittal)
    dicom.write(
        tmp_path / "x2", np.ones((9, 9), dtype=np.int16), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **sagittal
    )
    data = load(tmp_path)
    assert len(data.manifest) == 3
    assert "1 images of another orientation or size left in the series of 001.dcm (x1)" in data.notes
    assert "1 localizers left, as their headers say (x2)" in data.notes


def test_missing_slices_and_changed_distances_are_said(tmp_path: Path) -> None:
    dicom.write_series(tmp_path / "a", [0, 2, 4, 10, 12, 14])
    dicom.write_series(tmp_path / "b", [0, 2, 4, 6, 7, 9], seed=1)
    one, two = load(tmp_path).notes
    assert one == (
        "the series of a/001.dcm: 2 slices are missing, first between a/004.dcm and a/003.dcm (6 mm where 2 are usual)"
    )
    assert two == (
        "the series of b/001.dcm: distances change, first between b/003.dcm and b/002.dcm (1 mm where 2 are usual)"
    )


def test_two_slices_at_one_position_are_refused(tmp_path: Path) -> None:
    dicom.write_series(tmp_path, [0, 1, 1, 2])
    with pytest.raises(InputError, match=r"one slice at each position .*, got 00[23]\.dcm and 00[23]\.dcm at one"):
        load(tmp_path)
    assert len(load(tmp_path, sample="file").manifest) == 4


def test_groups_by_tag(tmp_path: Path) -> None:
    study = generate_uid()
    for k in range(3):
        dicom.write_series(tmp_path / str(k), [0, 1], seed=k, PatientID=f"0{k // 2}", StudyInstanceUID=study)
    assert set(load(tmp_path).manifest.groups) == {"00", "01"}
    assert set(load(tmp_path, group={"tag": "StudyInstanceUID"}).manifest.groups) == {study}
    assert set(load(tmp_path, group="none").manifest.groups) == {f"{k}/001.dcm" for k in range(3)}
    with pytest.raises(InputError, match="did you mean 'PatientID'"):
        load(tmp_path, group="patientid")
    dicom.write(tmp_path / "x", np.ones((4, 4), dtype=np.int16), PatientID="")
    with pytest.raises(
        InputError, match=r"data\.group: expected a PatientID in each header; .*, got none in 1 of 7 \(x\)"
    ):
        load(tmp_path)


def test_nothing_of_a_person_is_kept_and_two_people_of_one_id_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person: dict[str, Any] = {"PatientBirthDate": "19610203", "InstitutionName": "Anywhere", "AccessionNumber": "A77"}
    names = ("Doe^Jane", "Roe^Ann")
    for k, name in enumerate(names):
        dicom.write_series(tmp_path / "in" / str(k), [0, 1], seed=k, PatientName=name, **person)
    dicom.write(tmp_path / "in" / "b", np.ones((4, 4), dtype=np.int16), PatientID="2", BurnedInAnnotation="YES")
    index = FileIndex(tmp_path / "index.json")
    monkeypatch.setattr(index_module, "SETTLED", -1)
    data = DicomFolder(tmp_path / "in", classes=CLASSES).load(index)
    index.save()
    (note,) = [note for note in data.notes if "differ" in note]
    assert note.startswith("1 groups hold people who differ in name or date of birth (0/001.dcm and 1/00")
    assert "1 images with text burnt into their pixels, as their headers say (b)" in data.notes
    kept = repr(data.manifest) + repr(data.notes) + (tmp_path / "index.json").read_text(encoding="utf-8")
    assert not re.search("Doe|Roe|19610203|Anywhere|A77", kept)


def table(root: Path, text: str) -> Path:
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return root / "labels.csv"


@pytest.mark.parametrize("unit", ["file", "series", "study", "patient"])
def test_labels_of_a_row_a_file_series_study_or_patient(tmp_path: Path, unit: str) -> None:
    for k in range(3):
        dicom.write_series(tmp_path / "im" / str(k), [0, 1], seed=k, PatientID=f"00{k}")
    keys = {"file": "path", "series": "SeriesInstanceUID", "study": "StudyInstanceUID", "patient": "PatientID"}
    rows = []
    for k, label in ((0, "sick"), (1, "well")):
        for path in sorted((tmp_path / "im" / str(k)).iterdir()):
            header = pydicom.dcmread(path)
            cell = f"{k}/{path.name}" if unit == "file" else header[keys[unit]].value
            rows.append(f"{cell},{label}")
    csv = table(tmp_path, "\n".join([f"{keys[unit]},dx", *(rows if unit == "file" else dict.fromkeys(rows)), "x,well"]))
    data = load(
        tmp_path / "im", table=csv, columns={unit: keys[unit], "label": "dx"}, classes=None, group="SeriesInstanceUID"
    )
    assert data.classes == ("sick", "well") and data.truth.tolist() == [0, 0, 1, 1, -1, -1]
    assert [note.partition(": ")[2].split(" (")[0] for note in data.notes] == [
        f"1 rows name no {unit} here",
        f"no row for {2 if unit == 'file' else 1} of {6 if unit == 'file' else 3}",
    ]


def test_conflicting_rows_and_columns(tmp_path: Path) -> None:
    for k in range(2):
        dicom.write_series(tmp_path / "im" / str(k), [0, 1], seed=k, PatientID=f"p{k}")
    columns = {"patient": "who", "label": "dx"}
    csv = table(tmp_path, "who,dx\np0,a\np1,b\np0,a\np1,a\n")
    with pytest.raises(
        InputError, match="line 5: expected the answer of line 3, which has the same patient, got another"
    ):
        load(tmp_path / "im", table=csv, columns=columns, classes=None)
    csv = table(tmp_path, "who,dx\nq0,a\nq1,b\n")
    with pytest.raises(InputError, match="a row with the patient of an image in column who, got none in 2 rows"):
        load(tmp_path / "im", table=csv, columns=columns, classes=None)
    for wrong in (
        {"label": "dx"},
        {**columns, "series": "who"},
        {"patient": "whom", "label": "dx"},
        {"patient": "who"},
    ):
        with pytest.raises(InputError, match=r"data\.columns"):
            load(tmp_path / "im", table=csv, columns=wrong, classes=None)


def test_several_labels(tmp_path: Path) -> None:
    for k in range(3):
        dicom.write_series(tmp_path / "im" / str(k), [0], seed=k, PatientID=f"p{k}")
    csv = table(tmp_path, "who,a,b\np0,1,0\np1,0,1\n")
    data = load(tmp_path / "im", table=csv, columns={"patient": "who"}, labels=["a", "b"], classes=None)
    assert data.labels is not None and data.labels.tolist() == [[1, 0], [0, 1], [-1, -1]]


def test_nothing_that_is_an_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="DICOM files, got 0 files"):
        load(tmp_path)
    plan = Path(pydicom.__file__).parent / "data" / "test_files" / "rtplan.dcm"
    (tmp_path / "plan").write_bytes(plan.read_bytes())
    with pytest.raises(InputError, match=r"images, got 1 files without pixels left: RT Plan Storage \(plan\)"):
        load(tmp_path)
    dicom.write_series(tmp_path / "a", [0, 1])
    assert load(tmp_path).notes == ("1 files without pixels left: RT Plan Storage (plan)",)


def test_init_drafts_a_recipe_of_series_with_a_table(tmp_path: Path) -> None:
    rows = []
    for k in range(12):
        dicom.write_series(
            tmp_path / f"s{k}", [0, 1, 2], seed=k, PatientID=f"0{k}", BodyPartExamined="CHEST", names="{:03d}"
        )
        rows.append(f"0{k};{('well', 'sick')[k % 2]}")
    table(tmp_path, "\n".join(["who;dx", *rows]))
    about = describe(tmp_path)
    assert about.modality == "ct" and about.refusal is None
    data = about.data
    assert data["source"] == "dicom" and data["group"] == "PatientID" and data["window"] == "lung"
    assert data["columns"] == {"patient": "who", "label": "dx"} and data["classes"] == ["sick", "well"]
    assert data["holdout"] and ("labels of", "labels.csv, a row a patient, column who") in about.took
    keys = {key: value for key, value in data.items() if key not in ("source", "image_size")}
    loaded = DicomFolder(**{**keys, "window": (-1350, 150), "root": Path(data["root"])}).load()
    assert len(loaded.manifest) == 36 and (loaded.truth >= 0).all()


def test_init_without_patients_without_order_and_with_rows_that_differ(tmp_path: Path) -> None:
    dicom.write_series(tmp_path, [0, 1, 1], PatientID="", Modality="MR")
    about = describe(tmp_path)
    dicom.write(tmp_path / "cine", np.arange(64, dtype=np.uint8).reshape(4, 4, 4), PatientID="", Modality="MR")
    assert ("splits", "pool 4") in describe(tmp_path).took
    assert load(tmp_path, sample="file", group="none").manifest.ids == ("001.dcm", "002.dcm", "003.dcm", "cine#1")
    (tmp_path / "cine").unlink()
    assert about.data["sample"] == "file" and about.data["group"] == {"tag": "StudyInstanceUID"}
    assert about.modality == "mr" and "window" not in about.data
    table(tmp_path, "file,dx\n001.dcm,a\n002.dcm,b\n001.dcm,b\n")
    with pytest.raises(InputError, match="line 4: expected the answer of line 2"):
        describe(tmp_path)


def test_folders_are_classes_where_they_hold_several_patients(tmp_path: Path) -> None:
    for k in range(8):
        dicom.write_series(tmp_path / ("well", "sick")[k % 2] / f"s{k}", [0, 1], seed=k, PatientID=f"P{k}")
    about = describe(tmp_path)
    assert about.data["labels"] == "folders" and about.data["classes"] == ["sick", "well"] and about.labeled
    data = load(tmp_path, labels="folders", classes=None)
    assert data.classes == ("sick", "well") and data.truth.tolist() == [0] * 8 + [1] * 8
    with pytest.raises(InputError, match="class folder sick: expected a label among well, ill"):
        load(tmp_path, labels="folders", classes=["well", "ill"])
    dicom.write_series(tmp_path / "sick" / "s9", [0], seed=9, PatientID="P0")
    assert "labels" not in describe(tmp_path).data


def test_first_folders_are_splits_with_classes_below_them(tmp_path: Path) -> None:
    for k in range(12):
        split, name = ("train", "train", "val", "test")[k // 3], ("well", "sick")[k % 2]
        dicom.write_series(tmp_path / split / name / f"s{k}", [0, 1], seed=k, PatientID=f"P{k}", names="IM{:04d}")
    about = describe(tmp_path)
    assert ("splits", "pool 12, val 6, test 6") in about.took and "holdout" not in about.data
    assert about.data["labels"] == "folders" and about.data["classes"] == ["sick", "well"] and about.refusal is None
    data = load(tmp_path, labels="folders", classes=None)
    assert [data.manifest.splits.count(split) for split in ("pool", "val", "test")] == [12, 6, 6]
    assert all((data.classes[t] in path) for t, path in zip(data.truth, data.manifest.paths, strict=True))
    csv = table(tmp_path, "patient,dx\n" + "".join(f"P{k},{'ab'[k % 2]}\n" for k in range(12)))
    columns = {"patient": "patient", "label": "dx"}
    assert load(tmp_path, table=csv, columns=columns, classes=None).manifest.splits == data.manifest.splits
    assert set(load(tmp_path, labels="folders", classes=None, columns={"split": "none"}).manifest.splits) == {"pool"}
    with pytest.raises(InputError, match=r"data\.holdout\.test: expected no share: the data has this split"):
        load(tmp_path, holdout={"test": 0.2})


def test_folders_of_splits_that_part_a_patient_are_left_and_said(tmp_path: Path) -> None:
    for k in range(6):
        dicom.write_series(tmp_path / ("train", "test")[k % 2] / f"s{k}", [0, 1], seed=k, PatientID=f"Secret{k // 2}")
    about = describe(tmp_path)
    assert ("splits", "pool 12") in about.took and about.data["columns"] == {"split": "none"}
    assert "the folders test, train part 3 groups of PatientID: left, splits are drawn by group" in about.open
    with pytest.raises(InputError, match=r"each group \(data\.group\) in one folder of splits;.*, got t") as caught:
        load(tmp_path)
    assert "Secret" not in str(caught.value) and set(load(tmp_path, columns={"split": "none"}).manifest.splits) == {
        "pool"
    }
    assert len(place_of(tmp_path, tmp_path).load().manifest) == 12


def test_init_says_how_a_table_of_other_names_is_taken_and_what_measures_nothing(tmp_path: Path) -> None:
    for k in range(6):
        dicom.write_series(tmp_path / ("train", "test")[k // 4] / f"s{k}", [0, 1], seed=k, PatientID=f"P{k}")
    csv = table(tmp_path, "who,quality\n" + "".join(f"P{k},{'ab'[k % 2]}\n" for k in range(6)))
    about = describe(tmp_path)
    way = f"data.table: {csv} and data.columns: {{patient: who, label: COLUMN}} take one"
    assert f"labels.csv: no column that its name calls labels; {way}" in about.left
    assert "no image of test has a label, and nobody is asked about one: no measure" in about.open
    data = load(tmp_path, classes=("a", "b"))
    assert "data.holdout={}" not in "".join(holdout_notes(data))
    assert "data.holdout={} leaves them in the pool" in "".join(holdout_notes(data, ["test"]))


def test_a_table_that_parts_a_patient_names_files_and_no_person(tmp_path: Path) -> None:
    dicom.write_series(tmp_path / "im", [0, 1], PatientID="Secret7")
    csv = table(tmp_path, "file,dx,split\n001.dcm,a,train\n002.dcm,b,test\n")
    columns = {"file": "file", "label": "dx", "split": "split"}
    with pytest.raises(InputError, match=r"data\.columns\.split: .* in one split, got 00") as caught:
        load(tmp_path / "im", table=csv, columns=columns, classes=None)
    assert "Secret7" not in str(caught.value)


def test_groups_by_tag_in_folders_and_tables(tmp_path: Path) -> None:
    for k in range(4):
        dicom.write_series(tmp_path / "im" / "ab"[k % 2], [k], seed=k, names=f"{k}.dcm", PatientID=f"P{k // 2}")
    tag = {"tag": "PatientID"}
    assert Folder(tmp_path / "im", group=tag).load().manifest.groups == ("P0", "P1", "P0", "P1")
    csv = table(tmp_path, "file\nim/a/0.dcm\nim/b/3.dcm\n")
    assert Csv(csv, {"path": "file"}, group=tag).load().manifest.groups == ("P0", "P1")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "im" / "a" / "x.png")
    with pytest.raises(InputError, match=r"DICOM with PatientID \(data\.group\.tag\), got a/x\.png"):
        Folder(tmp_path / "im", group=tag).load()
    for wrong in ({"tag": "PatientId"}, {"tag": "PatientID", "column": "file"}, {"pattern": "x", "tags": "y"}):
        with pytest.raises(InputError, match=r"data\.group"):
            Csv(csv, {"path": "file"}, group=wrong).load()


@pytest.mark.parametrize(
    ("tags", "modality"),
    [
        ({"Modality": "MG", "BodyPartExamined": "BREAST"}, "mammography"),
        ({"Modality": "OPT"}, "oct"),
        ({"Modality": "ES"}, "endoscopy"),
        ({"Modality": "DX", "BodyPartExamined": "CHEST"}, "chest_xray"),
        ({"Modality": "DX", "BodyPartExamined": "HAND"}, "generic"),
    ],
)
def test_headers_tell_the_modality(tmp_path: Path, tags: dict[str, str], modality: str) -> None:
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 999, (12, 12), dtype=np.uint16)
        dicom.write(tmp_path / "xrays" / f"{k}.dcm", pixels, PatientID=f"P{k}", **tags)
    assert describe(tmp_path / "xrays").modality == modality
