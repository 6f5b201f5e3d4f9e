"""Folders and tables as people keep their data: each layout draws one for `init` to describe."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

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
    (root / "recipe.yaml").write_text("name: x\n", encoding="utf-8")
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
    (root / "notes.csv").write_text("reader,remark\nA,fine,very\n", encoding="utf-8")
    (root / "__MACOSX" / "a").mkdir(parents=True)
    (root / "__MACOSX" / "a" / "._0.png").write_text("x", encoding="utf-8")
    (root / "empty").mkdir()
    (root / "b" / "readme.txt").write_text("x", encoding="utf-8")
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
