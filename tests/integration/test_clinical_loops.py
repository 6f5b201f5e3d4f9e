"""Loops that run whole from a recipe that `init` wrote, unedited.

DICOM slices, an Excel sheet, deep TIFF, volumes with masks, a CSV of splits, outlines of COCO, tiles of slides.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import tifffile
from PIL import Image

from hybrid_al.core.rundir import RunDir
from hybrid_al.recipe import load
from tests.helpers import dicom
from tests.helpers.command import call
from tests.helpers.slides import picture, write_slide

SHARED = Path("/work/shared/data")
SERIES = SHARED / "dicom_t1_series" / "series"
QUICK = (
    *("encoder.name=test_resnet", "pretrain.epochs=1", "pretrain.batch=8", "train.steps=4", "train.min_steps=4"),
    *("train.batch=4", "data.image_size=16", "track.wandb.mode=off", "report.random_runs=0"),
)


def grey(i: int) -> np.ndarray:
    """An image of 16 bits (16, 16), brighter where i is odd."""
    return np.random.default_rng(i).integers(0, 30000, (16, 16), dtype=np.uint16) + np.uint16(30000 * (i % 2))


def real_series(root: Path) -> None:
    if not SERIES.is_dir():
        pytest.skip(f"{SERIES} is not here")
    lines = ["file,finding"]
    for i, file in enumerate(sorted(SERIES.iterdir())[::2]):
        shutil.copyfile(file, root / file.name)
        lines.append(f"{file.name},{('lower', 'upper')[i >= 10]}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def patients(root: Path) -> None:
    lines = ["patient\tdx"]
    for k in range(16):
        shift = {"PatientID": f"0{k}", "RescaleIntercept": -1024 + 700 * (k % 2)}
        dicom.write_series(root / f"s{k}", [0, 1, 2], seed=k, **shift)  # type: ignore[arg-type]
        lines.append(f"0{k}\t{('well', 'sick')[k % 2]}")
    (root / "labels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def sheet(root: Path, count: int = 40, without: str = "") -> None:
    work = openpyxl.Workbook()
    work.active.append(["image", "finding", "patient"])
    for i in range(count):
        if f"{i:03d}" == without:
            continue
        Image.fromarray((grey(i) >> 8).astype(np.uint8)).save(root / f"{i:03d}.png")
        work.active.append([f"{i:03d}", ("no", "yes")[i % 2], f"{i // 2:02d}"])
    work.save(root / "list.xlsx")


def deep(root: Path) -> None:
    for i in range(40):
        (root / ("no", "yes")[i % 2]).mkdir(exist_ok=True)
        tifffile.imwrite(root / ("no", "yes")[i % 2] / f"{i}.tif", grey(i), metadata=None, compression="zlib")


def hippocampus(root: Path) -> None:
    rows = rows_of(SHARED / "msd_hippocampus" / "index.csv", {"train": 4, "val": 1, "test": 1})
    for row in rows:
        for folder in ("imagesTr", "labelsTr"):
            name = f"{folder}/{row['id']}.nii.gz"
            (root / folder).mkdir(exist_ok=True)
            shutil.copyfile(SHARED / "msd_hippocampus" / name, root / name)
    write_rows(root / "index.csv", rows)


def isic(root: Path) -> None:
    rows = rows_of(SHARED / "isic2017_melanoma" / "labels.csv", {"train": 60, "val": 12})
    for row in rows:
        (root / row["file"]).parent.mkdir(exist_ok=True)
        shutil.copyfile(SHARED / "isic2017_melanoma" / row["file"], root / row["file"])
    write_rows(root / "labels.csv", rows)


def rows_of(table: Path, counts: dict[str, int]) -> list[dict[str, str]]:
    """So many rows of each split of a real table, evenly spread."""
    if not table.is_file():
        pytest.skip(f"{table} is not here")
    with table.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    of_split = {split: [row for row in rows if row["split"] == split] for split in counts}
    return [found[k * len(found) // counts[split]] for split, found in of_split.items() for k in range(counts[split])]


def write_rows(table: Path, rows: list[dict[str, str]]) -> None:
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def outlines(root: Path) -> None:
    (root / "images").mkdir()
    images, annotations = [], []
    for i in range(30):
        pixels, left = np.asarray(grey(i) >> 9, dtype=np.uint8), i % 6
        pixels[4:12, left : left + 8] += 120
        Image.fromarray(pixels).save(root / "images" / f"{i:02d}.png")
        images.append({"id": i, "file_name": f"{i:02d}.png", "height": 16, "width": 16})
        corners = [left, 4, left + 8, 4, left + 8, 12, left, 12]
        annotations.append({"id": i, "image_id": i, "category_id": 1, "segmentation": [corners], "iscrowd": 0})
    value = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (root / "annotations.json").write_text(json.dumps(value), encoding="utf-8")


def slides(root: Path) -> None:
    lines = ["slide,dx"]
    for k in range(12):
        pixels = picture(256, 320, (slice(0, 256), slice(0, 192)), k, colour=((200, 110, 170), (120, 50, 150))[k % 2])
        write_slide(root / f"s{k}.svs", pixels, mpp=(0.5, 0.25)[k // 10], kind=("subifds", "pages", "flat")[k % 3])
        lines.append(f"s{k},{('benign', 'tumour')[k % 2]}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tiles_are_predicted() -> None:
    """A table of the tiles of the slides, with where each lies; a file that holds one slide gives the same of it."""
    assert call("predict", "run", "data", "-o", "tiles.csv", "--quiet") == 0
    with Path("tiles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == list(RunDir(Path("run")).manifest().ids)
    assert all(row["id"] == f"{row['slide']}/x{row['x']}_y{row['y']}" for row in rows)
    shutil.copy("data/s0.svs", "one.tif")
    assert call("predict", "run", "one.tif", "-o", "one.csv", "--quiet") == 0
    with Path("one.csv").open(encoding="utf-8", newline="") as file:
        alone = [(row["x"], row["y"], row["predicted"]) for row in csv.DictReader(file)]
    assert alone == [(row["x"], row["y"], row["predicted"]) for row in rows if row["slide"] == "s0"]


@pytest.mark.slow
@pytest.mark.parametrize("make", [real_series, patients, sheet, deep, hippocampus, isic, outlines, slides])
def test_a_loop_from_the_recipe_of_init(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    assert call("init", "data", "-o", "recipe.yaml") == 0
    assert call("check", "recipe.yaml", *QUICK, "--run-dir", "run") == 0, capsys.readouterr().err
    assert call("run", "recipe.yaml", *QUICK, "--run-dir", "run") == 0, capsys.readouterr().err
    run = RunDir(tmp_path / "run")
    assert len(run.rounds()) >= 2 and (tmp_path / "run" / "report" / "index.html").is_file()
    if make is slides:
        tiles_are_predicted()
    if make is not sheet:
        return
    began, more = run.manifest(), f"loop.budgets={[*load('recipe.yaml').loop.budgets, 3]}"
    gone = next(i for i in began.indices("pool").tolist() if i not in run.asked(began))
    sheet(tmp_path / "data", 52, Path(began.paths[gone]).stem)  # between two rounds: twelve new rows, one is gone
    assert call("run", "recipe.yaml", *QUICK, more, "data.grow=true", "--run-dir", "run") == 0
    said = "".join(capsys.readouterr())
    assert "12 new images behind the 40 of the run" in said and f"1 image ({began.ids[gone]}) vanished" in said
    assert run.manifest().ids[:40] == began.ids and len(run.rounds()) == len(load("run").loop.budgets)
