"""What `init` takes a folder, a table or an archive for, what it leaves, and that its drafts can be opened."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from PIL import Image

from hybrid_al.assemble import Project, open_project
from hybrid_al.data.describe import Description, describe
from hybrid_al.data.describe.draft import draft
from hybrid_al.data.describe.names import MODALITIES, modality_of
from hybrid_al.data.describe.plan import Rows, budgets, make_plan
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.errors import InputError
from hybrid_al.recipe import load

SIDE = 12


def draw(path: Path, value: int = 0, side: int = SIDE) -> None:
    """An image that no other has, by its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([value, *path.as_posix().encode()])
    Image.fromarray(rng.integers(0, 255, (side, side), dtype=np.uint8)).save(path)


def mask(path: Path, value: int = 1) -> None:
    """A mask with a square of a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((SIDE, SIDE), dtype=np.uint8)
    pixels[3:8, 3:8] = value
    Image.fromarray(pixels).save(path)


def volume(path: Path, values: int = 0) -> None:
    """A volume of four slices; of whole numbers below `values` where it is a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.as_posix().encode()))
    voxels = rng.integers(0, values, (SIDE, SIDE, 4)).astype(np.uint8) if values else rng.normal(size=(SIDE, SIDE, 4))
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.uint8 if values else np.float32), np.eye(4)), path)


def table(path: Path, header: str, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def draft_of(about: Description, name: str = "x") -> str:
    """The recipe of a description, as the command writes it."""
    return draft(
        name,
        about.sections(),
        modality=about.modality,
        modalities=MODALITIES,
        simulated=about.labeled,
        comments=about.comments,
    )


def opened(about: Description, folder: Path) -> Project:
    """The project of a draft, with budgets that its pool can meet."""
    file = folder / "recipe.yaml"
    file.write_text(draft_of(about), encoding="utf-8")
    project = open_project(load(file), run_dir=folder / "run")
    manifest = project.dataset.manifest
    pool = manifest.indices("pool")
    answered = project.task.answered(project.dataset)[pool].sum() or len(pool)
    assert sum(about.budgets) <= max(1, answered // 2)
    for split in about.data.get("holdout", {}):
        assert len(manifest.indices(split))
    return project


def said(about: Description) -> str:
    return "\n".join(about.lines())


def class_folders(root: Path, n: int = 10, names: str = "ab") -> None:
    for name in names:
        for i in range(n):
            draw(root / name / f"{i}.png")


# -- layouts: each draws a folder and returns what to describe, and keys that the recipe must have --------------------

Layout = Callable[[Path], tuple[Path, dict[str, Any]]]


def lesion_ids(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(20):
        draw(root / f"images_part_{1 + i // 10}" / f"ISIC_{i:03d}.jpg")
    rows: list[list[object]] = [
        [f"HAM_{i // 2}", f"ISIC_{i:03d}", ["nv", "mel"][i // 2 % 2], 40 + i] for i in range(20)
    ]
    table(root / "metadata.csv", "lesion_id,image_id,dx,age", rows)
    columns = {"path": "images_part_*/{image_id}.jpg", "label": "dx"}
    return root, {"group": "lesion_id", "columns": columns, "classes": ["mel", "nv"]}


def spaced_names(root: Path) -> tuple[Path, dict[str, Any]]:
    rows: list[list[object]] = []
    for i in range(20):
        draw(root / "images" / f"{i:08d}.png")
        rows.append([f"{i:08d}.png", ["No Finding", "Mass|Nodule"][i % 2], i // 2])
    table(root / "Data_Entry.csv", "Image Index,Finding Labels,Patient ID", rows)
    columns = {"path": "Image Index", "label": "Finding Labels"}
    return root, {"group": "Patient ID", "columns": columns, "images": str(root / "images")}


def ids_beside_a_folder(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(12):
        draw(root / "jpgs" / f"ISIC_{i}.jpg")
    table(root / "gt.csv", "image_id,melanoma", [[f"ISIC_{i}", i % 2] for i in range(12)])
    return root, {"columns": {"path": "{image_id}.jpg", "label": "melanoma"}, "images": str(root / "jpgs")}


def indexed_masks(root: Path) -> tuple[Path, dict[str, Any]]:
    rows: list[list[object]] = []
    for i in range(20):
        draw(root / "images" / f"c{i:02d}.png")
        mask(root / "masks" / f"c{i:02d}_mask.png", 255)
        rows.append([f"c{i:02d}", f"P{i // 2}", "test" if i >= 14 else "train"])
    table(root / "index.csv", "id,patient,split", rows)
    columns = {"path": "images/{id}.png", "mask": "masks/{id}_mask.png", "split": "split"}
    values = {0: "background", 255: "foreground"}
    return root, {"group": "patient", "columns": columns, "mask_values": values}


def mask_column(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(12):
        draw(root / "images" / f"{i}.png")
        mask(root / "masks" / f"{i}.png")
    table(root / "pairs.csv", "image,mask", [[f"images/{i}.png", f"masks/{i}.png"] for i in range(12)])
    return root / "pairs.csv", {"columns": {"path": "image", "mask": "mask"}, "classes": ["background", "foreground"]}


def images_and_masks(root: Path) -> tuple[Path, dict[str, Any]]:
    for split, i in (("train", 0), ("train", 1), ("train", 2), ("train", 3), ("test", 4)):
        draw(root / "images" / split / f"{i}.jpg")
        mask(root / "masks" / split / f"{i}_mask.png")
    return root, {"source": "folder", "masks": str(root / "masks"), "mask_ending": "_mask"}


def masks_below_images(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(8):
        draw(root / f"{i}.png")
        mask(root / "masks" / f"{i}.png")
    return root, {"masks": str(root / "masks"), "ignore": ["masks"]}


def masks_beside_classes(root: Path) -> tuple[Path, dict[str, Any]]:
    for name in ("benign", "malignant"):
        for i in range(8):
            draw(root / name / f"{name} ({i}).png")
            mask(root / name / f"{name} ({i})_mask.png", 255)
    return root, {"ignore": ["*_mask.png"]}


def masks_beside_images(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(8):
        draw(root / f"{i}.png")
        mask(root / f"{i}_seg.png")
    return root, {"masks": str(root), "mask_ending": "_seg", "ignore": ["*_seg.png"]}


def splits_with_more(root: Path) -> tuple[Path, dict[str, Any]]:
    for split in ("train", "dev", "Test"):
        class_folders(root / split, 4)
    class_folders(root / "extra", 2)
    (root / "train" / "nothing").mkdir()
    return root, {"source": "folder", "ignore": ["extra", "nothing"]}


def patient_folders(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(8):
        draw(root / f"patient{i:02d}" / "1.png")
        draw(root / f"patient{i:02d}" / "2.png")
    return root, {"labels": "none", "group": "^[^/]+", "classes": ["negative", "positive"]}


def same_inside(root: Path) -> tuple[Path, dict[str, Any]]:
    for site in ("north", "south", "west"):
        class_folders(root / site, 4)
    return root, {"labels": "parents"}


def patients_in_names(root: Path) -> tuple[Path, dict[str, Any]]:
    for name in "ab":
        for i in range(12):
            draw(root / name / f"patient{name}{i // 2:02d}_{i}.png".replace(f"patient{name}", f"patient{ord(name)}"))
    return root, {}


def decathlon(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(6):
        volume(root / "imagesTr" / f"v{i}.nii.gz")
        volume(root / "labelsTr" / f"v{i}.nii.gz", values=3)
    volume(root / "imagesTs" / "v9.nii.gz")
    facts = '{"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "tumour"}}'
    (root / "dataset.json").write_text(facts, encoding="utf-8")
    return root, {"source": "nifti", "masks": str(root / "labelsTr"), "classes": ["background", "liver", "tumour"]}


def channels_of_nnunet(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(6):
        for channel in range(2):
            volume(root / "imagesTr" / f"case{i}_{channel:04d}.nii.gz")
        volume(root / "labelsTr" / f"case{i}.nii.gz", values=4)
    labels = '{"background": 0, "whole": [1, 2], "edema": 1, "core": 2, "ignore": 3}'
    (root / "dataset.json").write_text(f'{{"labels": {labels}}}', encoding="utf-8")
    values = {0: "background", 1: "edema", 2: "core", 3: "ignore"}
    keys: dict[str, Any] = {"image_ending": "_0000", "ignore": ["*_0001.nii.gz"], "mask_values": values}
    return root, {**keys, "source": "folder", "classes": ["background", "edema", "core"]}


def numbered_patients(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(24):
        draw(root / "ab"[i // 12] / f"P{i // 2:03d}_{'LR'[i % 2]}.png")
    return root, {"group": r"(?i)(?<![a-z])p(?=\d\d)[ _-]?\d+"}


def patients_in_classes(root: Path) -> tuple[Path, dict[str, Any]]:
    for name in ("ill", "well"):
        for i in range(12):
            draw(root / name / f"patient{i // 2:02d}" / f"{i % 2}.png")
    return root, {"source": "folder", "labels": None, "group": "^[^/]+/([^/]+)"}


def volumes(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(3):
        volume(root / f"v{i}.nii.gz")
    return root, {"source": "nifti", "group": "none", "classes": ["negative", "positive"]}


def volumes_in_classes(root: Path) -> tuple[Path, dict[str, Any]]:
    for name in ("ill", "well"):
        for i in range(4):
            volume(root / name / f"{i}.nii.gz")
    return root, {"source": "folder"}


def several_labels(root: Path) -> tuple[Path, dict[str, Any]]:
    rows: list[list[object]] = []
    for i in range(20):
        draw(root / "i" / f"{i}.png")
        rows.append([f"i/{i}.png", i % 2, i // 2 % 2, 0, i % 2])
    table(root / "t.csv", "file,mass,oedema,hernia,Sex", rows)
    return root / "t.csv", {"labels": ["mass", "oedema"]}


def chexpert(root: Path) -> tuple[Path, dict[str, Any]]:
    rows: list[list[object]] = []
    for i in range(20):
        name = f"small/train/patient{i // 2:05d}/study1/view{1 + i % 2}_frontal.jpg"
        draw(root / name)
        rows.append([name, "Male", ["1.0", "0.0", "-1.0", ""][i % 4], float(i % 3 == 0)])
    table(root / "small" / "train.csv", "Path,Sex,Edema,Mass", rows)
    (root / "recipe.yaml").write_text("name: x\n")
    group = {"pattern": r"(?i)(?<![a-z])patient[ _-]?\d+"}
    return root, {"images": str(root), "group": group, "labels": ["Edema", "Mass"]}


def repeated_volumes(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(8):
        volume(root / "images" / f"sub-{i // 2:02d}_ses-{i % 2}.nii.gz")
        volume(root / "masks" / f"sub-{i // 2:02d}_ses-{i % 2}.nii.gz", 2)
    return root, {"source": "folder", "group": r"(?i)(?<![a-z])sub[ _-]?\d+"}


def channels_of_volumes(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(4):
        for channel in range(3):
            volume(root / f"case{i}_000{channel}.nii.gz")
    return root, {"source": "folder", "ignore": ["*_0001.nii.gz", "*_0002.nii.gz"]}


def frames(root: Path) -> tuple[Path, dict[str, Any]]:
    for name in ("a", "b"):
        for i in range(4):
            draw(root / f"{name}_000{i}.png")
    return root, {"source": "folder", "classes": ["negative", "positive"]}


def numbered_masks(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(12):
        draw(root / "scans" / f"{i}.png")
        mask(root / "scans" / f"{i}_mask.png", 255)
        if i % 3 == 0:
            mask(root / "scans" / f"{i}_mask_1.png", 255)
    return root, {"source": "folder", "mask_ending": "_mask*"}


def objects(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(12):
        draw(root / f"a{i}" / "images" / f"a{i}.png")
        for k in range(i % 3):
            mask(root / f"a{i}" / "masks" / f"{i}f{k}e.png", 255)
    return root, {
        "source": "folder",
        "mask_folder": "masks",
        "ignore": ["masks"],
        "classes": ["background", "foreground"],
    }


def label_rows(root: Path) -> tuple[Path, dict[str, Any]]:
    root.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (20, 28, 28), dtype=np.uint8)
    np.savez(root / "x.npz", train_images=images, train_labels=rng.integers(0, 2, (20, 14), dtype=np.uint8))
    return root, {"source": "npz", "multilabel": True}


def absolute_paths(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(8):
        draw(root / "far" / "scans" / f"{i}.png")
    rows: list[list[object]] = [[str(root / "far" / "scans" / f"{i}.png"), "ab"[i % 2]] for i in range(8)]
    table(root / "t" / "t.csv", "path,label", rows)
    return root / "t" / "t.csv", {"images": str(root / "far" / "scans"), "columns": {"path": "path", "label": "label"}}


def unrelated(root: Path) -> tuple[Path, dict[str, Any]]:
    class_folders(root, 6)
    (root / "notes.csv").write_text("reader,remark\nA,fine,very\n")
    (root / "__MACOSX" / "a").mkdir(parents=True)
    (root / "__MACOSX" / "a" / "._0.png").write_text("x")
    (root / "empty").mkdir()
    (root / "b" / "readme.txt").write_text("x")
    return root, {"source": "folder", "ignore": ["empty"]}


def one_folder(root: Path) -> tuple[Path, dict[str, Any]]:
    for i in range(5):
        draw(root / "scans" / f"{i}.png")
    return root, {"root": str(root / "scans"), "classes": ["negative", "positive"]}


LAYOUTS: list[Layout] = [
    lesion_ids,
    spaced_names,
    ids_beside_a_folder,
    indexed_masks,
    mask_column,
    images_and_masks,
    masks_below_images,
    masks_beside_classes,
    masks_beside_images,
    splits_with_more,
    patient_folders,
    same_inside,
    patients_in_names,
    decathlon,
    channels_of_nnunet,
    numbered_patients,
    patients_in_classes,
    volumes,
    volumes_in_classes,
    several_labels,
    chexpert,
    repeated_volumes,
    numbered_masks,
    objects,
    channels_of_volumes,
    frames,
    label_rows,
    absolute_paths,
    unrelated,
    one_folder,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_drafts_can_be_opened(layout: Layout, tmp_path: Path) -> None:
    data, keys = layout(tmp_path / "data")
    about = describe(data)
    print(said(about), draft_of(about), sep="\n")
    assert {key: about.data.get(key) for key in keys} == keys
    project = opened(about, tmp_path)
    groups = project.dataset.manifest.groups
    by_split = [{groups[i] for i in project.dataset.manifest.indices(split)} for split in ("pool", "val", "test")]
    assert sum(map(len, by_split)) == len(set(groups))


@pytest.mark.parametrize("split", ["", "train/"])
def test_masks_that_fit_no_image_are_no_class(split: str, tmp_path: Path) -> None:
    for i in range(4):
        draw(tmp_path / f"{split}images" / f"{i}.png")
        for k in range(2):
            mask(tmp_path / f"{split}masks" / f"{i}-nucleus-{k}.png", 255)
    with pytest.raises(InputError, match=r"masks: expected one mask an image.*into one, .*8 files .*0-nucleus-0"):
        describe(tmp_path)


def test_masks_with_smoothed_edges_are_told_how_to_be_mended(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "0.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)).save(tmp_path / "masks" / "0.png")
    with pytest.raises(InputError, match=r"144 values from 0 to 143, as smoothed edges .* round them to their classes"):
        describe(tmp_path)


def test_values_without_a_name_in_the_list_of_the_data_are_said(tmp_path: Path) -> None:
    root, _ = decathlon(tmp_path / "d")
    for i in range(6):
        volume(root / "labelsTr" / f"v{i}.nii.gz", values=2)
    facts = '{"labels": {"0": "background", "3": "tumour"}}'
    (root / "dataset.json").write_text(facts, encoding="utf-8")
    text = "masks have 1, for which dataset.json has no name, and do not have its 3 tumour: data.classes"
    assert text in said(describe(root))


def test_names_that_begin_alike_are_said_where_no_patient_is_found(tmp_path: Path) -> None:
    for i in range(24):
        draw(tmp_path / "eyes" / "ab"[i // 12] / f"{1000 + i // 2}_{'LR'[i % 2]}.png")
        draw(tmp_path / "plain" / "ab"[i // 12] / f"img_{i}.png")
    text = said(describe(tmp_path / "eyes"))
    assert "names have 12 starts (1000, 1001, 1002 and 9 more); group: '([^/_-]+)[_-][^/]*$' would take them" in text
    assert "starts" not in said(describe(tmp_path / "plain"))


def test_labels_with_empty_cells_are_said_and_how_to_read_them(tmp_path: Path) -> None:
    about = describe(chexpert(tmp_path / "d")[0])
    text = said(about)
    assert "groups    10, such as patient00000 (data.group)" in text
    assert "10 of 20 rows have labels that are unknown, and answer no query; data.empty: 0 would read" in text
    assert "of which 5 rows have some" in text and "files beside small: recipe.yaml" in text
    assert "  # empty: 0   # would read an empty cell as not there\n" in draft_of(about)
    project = opened(about, tmp_path)
    assert len(set(project.dataset.manifest.groups)) == 10


def test_a_gap_in_the_patients_is_said_with_its_line(tmp_path: Path) -> None:
    class_folders(tmp_path)
    rows: list[list[object]] = [
        [f"{c}/{i}.png", c, "" if (c, i) == ("a", 7) else f"P{c}{i // 2}"] for c in "ab" for i in range(10)
    ]
    table(tmp_path / "t.csv", "file,label,patient", rows)
    about = describe(tmp_path / "t.csv")
    assert about.data["group"] == "patient"
    assert "column patient is empty in line 9" in said(about)


def test_other_columns_are_listed_with_what_they_may_be(tmp_path: Path) -> None:
    rows: list[list[object]] = []
    for i in range(60):
        draw(tmp_path / "i" / f"{i}.png")
        rows.append([f"i/{i}.png", "ab"[i % 2], f"X{i // 2}", ["left", "right"][i % 2], i % 7])
    table(tmp_path / "t.csv", "file,label,box,side,fold", rows)
    text = said(describe(tmp_path / "t.csv"))
    assert "column box: may be a group, it repeats (30 values in 60 rows)" in text
    assert "column side: may be a label (left 30, right 30)" in text
    assert "column fold: 0, 1, 2, 3, 4, 5, 6 are no splits" in text
    draft_text = draft_of(describe(tmp_path / "t.csv"))
    assert "# group: box   # may be one: 30 values in 60 rows" in draft_text


def test_rows_without_a_file_are_counted(tmp_path: Path) -> None:
    class_folders(tmp_path)
    table(tmp_path / "t.csv", "file,label", [[f"{c}/{i}.png", c] for c in "ab" for i in range(12)])
    assert "4 rows name no file of this folder (first: line 12, a/10.png)" in said(describe(tmp_path))


def test_rows_that_leave_the_folder_come_twice_or_lost_zeros(tmp_path: Path) -> None:
    """What a run refuses is said by `init` already."""
    draw(tmp_path / "beside.png")
    data = tmp_path / "data"
    for i in range(8):
        draw(data / f"{i:03d}.png")
    rows: list[list[object]] = [[f"{i:03d}.png", "ab"[i % 2]] for i in range(8)]
    table(data / "t.csv", "file,label", [*rows, ["../beside.png", "a"]])
    assert "1 rows name no file of this folder (first: line 10, ../beside.png)" in said(describe(data))
    table(data / "t.csv", "file,label", [*rows, ["002.png", "a"], ["002.png", "b"]])
    text = "2 rows name the file of an earlier one, 1 of them with another label (line 11 as line 4, 002.png)"
    assert text in said(describe(data))
    table(data / "t.csv", "id,label", [[i, "ab"[i % 2]] for i in range(8)])
    assert "column id lost zeros (0 for 000.png)" in said(describe(data))


def test_the_recipe_says_channels(tmp_path: Path) -> None:
    class_folders(tmp_path)
    assert "# channels: 1, as the files have them: grey" in draft_of(describe(tmp_path))


def test_what_is_no_table_of_images(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column names images"):
        describe(tmp_path / "x.csv")
    draw(tmp_path / "1.png")
    (tmp_path / "x.csv").write_text("1.png,a\n2.png,b\n")
    with pytest.raises(InputError, match="the names of columns"):
        describe(tmp_path / "x.csv")


def test_many_folders_are_patients(tmp_path: Path) -> None:
    for i in range(60):
        draw(tmp_path / f"x{i}" / "1.png")
    about = describe(tmp_path)
    assert about.data["labels"] == "none" and about.data["group"] == "^[^/]+"
    assert "60 folders" in said(about) and "too many for classes" in said(about)


def test_masks_that_no_source_can_find_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i in range(2):
            draw(tmp_path / split / "images" / f"{i}.png")
            mask(tmp_path / split / "masks" / f"{i}.png")
    with pytest.raises(InputError, match="masks in one folder"):
        describe(tmp_path)


def test_values_of_masks_must_be_few(tmp_path: Path) -> None:
    for i in range(3):
        draw(tmp_path / "images" / f"{i}.png")
        draw(tmp_path / "masks" / f"{i}.png")
    with pytest.raises(InputError, match="at most 20 values, one a class"):
        describe(tmp_path)


def test_dicom_that_cannot_be_read_and_dicom_among_others(tmp_path: Path) -> None:
    for name in ("1.dcm", "2"):
        (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
        with pytest.raises(InputError, match="one DICOM file: give the folder"):
            describe(tmp_path / name)
    with pytest.raises(InputError, match="DICOM files with images, got 2 that cannot be read"):
        describe(tmp_path)
    draw(tmp_path / "3.png")
    assert "1 DICOM files without a suffix (2)" in said(describe(tmp_path))


def test_nothing_usable(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no"):
        with pytest.raises(InputError):
            describe(path)
    volume(tmp_path / "v.nii.gz")
    with pytest.raises(InputError, match="one volume: give the folder"):
        describe(tmp_path / "v.nii.gz")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match="a file of another kind"):
        describe(tmp_path / "x.txt")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "1.png").write_text("no image")
    with pytest.raises(InputError, match="images that can be read"):
        describe(tmp_path / "y")


def test_groups_of_an_archive(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz",
        train_images=np.zeros((6, 9, 9), dtype=np.uint8),
        train_labels=np.arange(6) % 2,
        train_patient=np.asarray(list("aabbcc")),
        train_age=np.arange(6),
    )
    about = describe(tmp_path / "x.npz")
    assert about.data["group"] == "patient" and about.data["image_size"] == 8
    assert "arrays: train_age" in said(about)
    assert describe(tmp_path).data == about.data


@pytest.mark.parametrize(("pool", "most"), [(1, 1), (3, 1), (8, 4), (15, 7), (42, 21), (199, 99), (5000, 100)])
def test_budgets_end_at_half_of_the_pool(pool: int, most: int) -> None:
    for task in ("classification", "segmentation"):
        rounds = budgets(pool, task)
        assert min(rounds) >= 1 and sum(rounds) <= most


def test_what_is_held_out_fits_the_data() -> None:
    def plan_of(n: int, *, labeled: bool = True, groups: int = 0) -> dict[str, float]:
        names = [f"g{i // 2 % groups if groups else i}" for i in range(n)]
        return dict(
            make_plan(Rows(names, [None] * n, [i % 2 if labeled else -1 for i in range(n)], [labeled] * n)).holdout
        )

    assert plan_of(100) == {"val": 0.1, "test": 0.2}
    assert plan_of(10) == {"test": 0.2}
    assert plan_of(2) == {} and plan_of(100, labeled=False) == {}
    assert plan_of(20, groups=1) == {}
    with pytest.raises(InputError, match="a train split"):
        make_plan(Rows(["a"], ["test"], [0], [True]))


@pytest.mark.parametrize("cell", ["images\\größe_{}.png", "images/größe_{}.png", "größe_{}"])
def test_cells_name_files_with_other_slashes_and_in_another_unicode_form(tmp_path: Path, cell: str) -> None:
    for i in range(10):
        draw(tmp_path / "images" / unicodedata.normalize("NFD", f"größe_{i}.png"))
    rows = [f"{cell.format(i)},{i % 2}" for i in range(10)]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows, ""]), encoding="utf-8")
    about = describe(tmp_path)
    assert about.took[0] == ("images", "10, column file") or about.took[0][1].startswith("10, images/{file}.png")
    assert len(open_project(load({"name": "x", **about.sections()})).dataset.manifest) == 10


def test_splits_that_part_patients_are_kept_and_said(tmp_path: Path) -> None:
    for i in range(10):
        Image.new("L", (16, 16), 20 * i).save(tmp_path / f"{i}.png")
    rows = [f"{i}.png,P{i // 2},{i % 3 % 2},{'test' if i in (4, 6) else 'train'}" for i in range(10)]
    (tmp_path / "t.csv").write_text("\n".join(["file,patient,label,split", *rows, ""]), encoding="utf-8")
    about = describe(tmp_path / "t.csv")
    assert about.data["group"] == "none" and about.data["columns"]["split"] == "split"
    assert any("column split parts 2 groups of column patient (P2, P3)" in line for line in about.open)
    load({"name": "x", **about.sections()})


def test_answers_alone_are_no_reason_against_images(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for i in range(4):
            Image.new("L", (16, 16), 20 * i if folder == "images" else 0).save(tmp_path / folder / f"{i}.png")
    with pytest.raises(InputError, match="masks of at least two values"):
        describe(tmp_path)
    assert describe(tmp_path, answers=False).data["root"].endswith("images")


def test_the_modality_is_what_a_name_tells() -> None:
    assert set(MODALITIES) == set(VIEWS) - {"generic"}
    assert modality_of(["OCT2017"])[0] == "oct" and modality_of(["hyper-kvasir"])[0] == "endoscopy"
    assert modality_of(["mammograms/1.dcm"])[0] == "mammography"
    assert modality_of(["Chest_X-ray", "a"])[0] == "chest_xray"
    assert modality_of(["us_003.png"]) == ("ultrasound", "us")
    assert modality_of(["scans", "bus", "doctor"]) == ("", "")
    assert modality_of(["ct", "mri"]) == ("", "")


def test_a_draft_says_what_else_could_be_meant(tmp_path: Path) -> None:
    about = describe(patient_folders(tmp_path / "x")[0])
    text = draft_of(about, "my scans.2")
    plain = yaml.safe_load(text)
    assert plain["name"] == "my-scans.2" and plain["modality"] == "generic" and plain["oracle"] == "worklist"
    assert "# labels: folders, group: none would take the 8 folders for classes" in text
    assert "not known from any name" in text and all(name in text for name in VIEWS)


def test_names_that_lie_in_several_folders(tmp_path: Path) -> None:
    for i in range(8):
        draw(tmp_path / "contours" / f"{i}.png")
        draw(tmp_path / "images" / f"{i}.png")
    table(tmp_path / "t.csv", "id,label", [[i, "ab"[i % 2]] for i in range(8)])
    about = describe(tmp_path)
    assert about.data["images"] == str(tmp_path / "images")
    assert "files of these names lie in contours too; those in images are taken" in said(about)
    table(tmp_path / "t.csv", "id,label", [[f"{i % 4}.png", "ab"[i % 2]] for i in range(8)])
    with pytest.raises(InputError, match="each in one place"):
        describe(tmp_path / "t.csv")
