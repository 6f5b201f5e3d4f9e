"""The guess at the data section of a recipe."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_al.data.describe import describe
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import InputError


def draw(path: Path, value: int = 0, side: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), value, dtype=np.uint8)).save(path)


def table(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_npz(tmp_path: Path) -> None:
    patients = np.asarray(list("abcdef"))
    np.savez(
        tmp_path / "x.npz",
        train_images=np.zeros((6, 4, 4), dtype=np.uint8),
        train_labels=np.arange(6) % 2,
        train_patient=patients,
    )
    description = describe(tmp_path)
    assert description == describe(tmp_path / "x.npz")
    assert description["data"] == {
        "source": "npz",
        "root": str(tmp_path / "x.npz"),
        "image_size": 4,
        "group": "patient",
        "holdout": {"val": 0.1, "test": 0.2},
    }


def test_csv(tmp_path: Path) -> None:
    rows = [["image_id", "dx", "patient_id", "age", "set"]]
    for i in range(4):
        draw(tmp_path / "i" / f"{i}.png", i, side=50)
        rows.append([f"i/{i}.png", "ab"[i % 2], f"p{i}", "70", ["train", "train", "val", "test"][i]])
    table(tmp_path / "labels.csv", rows)
    description = describe(tmp_path)
    assert description["data"] == {
        "source": "csv",
        "root": str(tmp_path / "labels.csv"),
        "image_size": 48,
        "group": "patient_id",
        "columns": {"path": "image_id", "label": "dx", "split": "set"},
        "classes": ["a", "b"],
    }
    assert description["labeled"] and any("2 classes" in note for note in description["notes"])
    settings = {key: value for key, value in description["data"].items() if key not in ("source", "image_size")}
    assert len(Csv(**settings).load().manifest) == 4  # type: ignore[arg-type]


def test_csv_beside_a_folder_called_images(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "1.png")
    table(tmp_path / "index.csv", [["file"], ["1.png"]])
    assert not describe(tmp_path)["labeled"]
    assert describe(tmp_path)["data"]["images"] == str(tmp_path / "images")


def test_folder(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png"):
        draw(tmp_path / name, side=300)
    description = describe(tmp_path)
    assert description["data"] == {
        "source": "folder",
        "root": str(tmp_path),
        "image_size": 64,
        "group": "none",
        "holdout": {"val": 0.1},
    }
    assert "classes: a, b" in description["notes"][0] and description["labeled"]


def test_folders_too_many_for_classes_are_patients(tmp_path: Path) -> None:
    for i in range(60):
        draw(tmp_path / f"p{i}" / "1.png", i)
    data = describe(tmp_path)["data"]
    assert data["labels"] == "none" and not describe(tmp_path)["labeled"]
    assert Folder(tmp_path, group=str(data["group"]), labels="none").load().manifest.groups[0] == "p0"


def test_nothing_usable(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no"):
        with pytest.raises(InputError):
            describe(path)
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match="a file of another kind"):
        describe(tmp_path / "x.txt")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="a column of image paths"):
        describe(tmp_path / "x.csv")
    (tmp_path / "1.png").write_text("no image")
    with pytest.raises(InputError, match="images that can be read"):
        describe(tmp_path)
