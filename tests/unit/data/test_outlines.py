"""Outlines of other tools as the masks of data: COCO for many images, GeoJSON for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from hybrid_al.core.types import IGNORE
from hybrid_al.data.base import Dataset
from hybrid_al.data.drawn.shapes import pack_coco, runs
from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.sources.table import Csv
from hybrid_al.errors import HybridALError, InputError, UnreadableImages
from tests.helpers.command import call

CLASSES = ("background", "cell", "debris")


def draw(file: Path, height: int = 8, width: int = 10, seed: int | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, file.stem)) if seed is None else seed)
    Image.fromarray(rng.integers(0, 255, (height, width), dtype=np.uint8)).save(file)


def square(left: int, top: int, right: int, bottom: int) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(image: int, category: int, segmentation: object, **more: Any) -> dict[str, Any]:
    return {"id": 7, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0, **more}


def coco(file: Path, annotations: list[dict[str, Any]], names: tuple[str, ...] = ("1.png", "2.png")) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": i, "file_name": name, "height": 8, "width": 10} for i, name in enumerate(names, 1)]
    categories = [{"id": 4, "name": "cell"}, {"id": 9, "name": "debris"}]
    value = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def feature(label: str, *rings: list[list[int]]) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": list(rings)}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": label}}}


def geojson(file: Path, *features: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def ring(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def load(root: Path, masks: Path, **settings: Any) -> Dataset:
    return Folder(root, masks=masks, **{"group": "none", "classes": CLASSES, **settings}).load()


def drawn(data: Dataset, index: int) -> np.ndarray:
    assert data.masks is not None
    return data.masks.read(index)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("1.png", "2.png", "3.png"):
        draw(tmp_path / "images" / name)
    return tmp_path / "images"


def test_coco_polygons_runs_crowds_and_overlaps(images: Path) -> None:
    hole = np.zeros((8, 10), dtype=np.bool_)
    hole[4:8, 5:10], hole[5:7, 6:9] = True, False
    lengths = runs(hole.ravel(order="F"))
    file = coco(
        images.parent / "annotations.json",
        [
            annotation(1, 4, [square(0, 0, 3, 3), square(5, 0, 7, 2)]),  # several polygons of one object
            annotation(1, 9, [square(2, 2, 5, 5)]),  # a later one, over the first
            annotation(1, 4, {"size": [8, 10], "counts": lengths}, iscrowd=1),
        ],
    )
    data = load(images, file)
    expected = np.zeros((8, 10), dtype=np.uint8)
    expected[0:3, 0:3] = expected[0:2, 5:7] = 1
    expected[2:5, 2:5] = 2
    expected[hole] = 1
    assert data.masks is not None and data.masks.labeled.tolist() == [True, True, False]  # the third is not listed
    assert (drawn(data, 0) == expected).all() and (drawn(data, 1) == 0).all()
    assert any("1 images are all background, as nothing is drawn in them (data.undrawn)" in n for n in data.notes)
    packed = coco(file, [annotation(1, 4, {"size": [8, 10], "counts": pack_coco(lengths)})])
    again = load(images, packed)
    assert again.masks is not None and (drawn(again, 0) == hole).all()
    assert again.masks.keys[0] != data.masks.keys[0] and again.masks.keys[1] == data.masks.keys[1]


def test_what_is_not_drawn_and_what_a_label_is_called(images: Path) -> None:
    file = coco(
        images.parent / "a.json", [annotation(1, 4, [square(0, 0, 5, 8)]), annotation(1, 9, [square(5, 0, 6, 8)])]
    )
    apart = load(images, file, undrawn="unlabeled")
    assert apart.masks is not None and apart.masks.labeled.tolist() == [True, False, False]
    settings = {"undrawn": "ignore", "classes": ("none", "cell"), "mask_names": {"debris": "none"}}
    data = load(images, file, **settings)
    assert data.masks is not None and data.masks.labeled.tolist() == [True, False, False]
    assert drawn(data, 0)[0].tolist() == [1] * 5 + [0] + [IGNORE] * 4
    unknown = load(images, file, mask_names={"debris": "ignore"}, classes=("none", "cell"))
    assert drawn(unknown, 0)[0].tolist() == [1] * 5 + [IGNORE] + [0] * 4
    with pytest.raises(HybridALError, match=r"data\.mask_names\.debris: .*rubbish"):
        load(images, file, mask_names={"debris": "rubbish"})


def test_names_of_images_in_coco(tmp_path: Path) -> None:
    """By path below root or beside the file, or by the one file of that name, whatever the suffix; files for splits."""
    for split in ("train", "test"):
        draw(tmp_path / split / "1.png", seed=len(split))
        coco(
            tmp_path / split / "_c.json",
            [annotation(1, len(split) - (split == "train"), [square(0, 0, 10, 8)])],
            ("1.jpg",),
        )
    draw(tmp_path / "train" / "deep" / "5.png")
    coco(tmp_path / "train" / "more_c.json", [annotation(1, 4, [square(0, 0, 1, 8)])], ("C:\\x\\5.png",))
    data = load(tmp_path, tmp_path, mask_ending="_c.json")
    assert data.manifest.paths == ("test/1.png", "train/1.png", "train/deep/5.png")
    assert [int(drawn(data, i).max()) for i in range(3)] == [1, 1, 1] and drawn(data, 2).sum() == 8
    assert data.manifest.splits == ("test", "pool", "pool")


def test_geojson_beside_each_image(images: Path) -> None:
    geojson(
        images / "1.geojson", feature("cell", ring(0, 0, 6, 6), ring(2, 2, 4, 4)), feature("Ignore*", ring(8, 0, 10, 8))
    )
    geojson(images / "2.png.geojson")
    assert "expected data.mask_ending: .geojson for the outlines there" in refusal(images, images)
    data = load(images, images, mask_ending=".geojson")
    assert data.masks is not None and data.masks.labeled.tolist() == [True, True, False]
    expected = np.zeros((8, 10), dtype=np.uint8)
    expected[0:6, 0:6], expected[2:4, 2:4], expected[:, 8:] = 1, 0, IGNORE
    assert (drawn(data, 0) == expected).all() and (drawn(data, 1) == 0).all()
    apart = images.parent / "outlines"
    apart.mkdir()
    (images / "1.geojson").rename(apart / "1.geojson")
    alone = load(images, apart)  # a folder of these files alone needs no ending
    assert alone.masks is not None and alone.masks.labeled.tolist() == [True, False, False]
    table = images.parent / "t.csv"
    table.write_text("path,mask\nimages/1.png,outlines/1.geojson\nimages/3.png,\n", encoding="utf-8")
    rows = Csv(table, {}, group="none", classes=CLASSES).load()
    assert (drawn(rows, 0) == expected).all()
    text = (apart / "1.geojson").read_text(encoding="utf-8")
    (apart / "1.geojson").write_text(text.replace("[6, 0]", "[7, 0]"), encoding="utf-8")
    assert load(images, apart).masks.keys[0] != alone.masks.keys[0]  # type: ignore[union-attr]


def refusal(images: Path, file: Path, **settings: Any) -> str:
    with pytest.raises(HybridALError) as error:
        data = load(images, file, **settings)
        drawn(data, 0)
    assert "\n  " not in str(error.value).replace("\n  ", "", 1)  # one line, or one below that of the count
    return str(error.value)


@pytest.mark.parametrize(
    ("annotations", "names", "came"),
    [
        ([annotation(5, 4, [square(0, 0, 2, 2)])], ("1.png",), "one of image 5, which it does not list"),
        ([annotation(1, 5, [square(0, 0, 2, 2)])], ("1.png",), "expected a category that the file lists, got 5"),
        ([annotation(1, 4, [[0, 0, 1, 1]])], ("1.png",), "annotation 7 of 1.png: expected a box, polygons or a mask"),
        ([annotation(1, 4, [], bbox=[0, 0, 2, 2])], ("1.png",), "annotation 7 is a box of cell without an outline"),
        ([annotation(1, 9, [square(0, 0, 2, 2)])], ("1.png",), "annotation 7 of 1.png: class, without data.mask_names"),
        ([], ("1.png", "8.png", "9.png"), "got 2 of 3 that are not (8.png, 9.png)"),
        ([], ("1.png", "1.jpg"), "expected one entry of the image 1.png, got 1.png and 1.jpg"),
        ([], ("1.png", "1.png"), "expected each image once, got 1.png twice"),
    ],
)
def test_coco_that_is_wrong(annotations: list[dict[str, Any]], names: tuple[str, ...], came: str, images: Path) -> None:
    file = coco(images.parent / "a.json", annotations, names)
    assert came in refusal(images, file, classes=("background", "cell"))


def test_sizes_that_lie_and_shapes_outside(images: Path) -> None:
    draw(images / "1.png", 9, 10)
    file = coco(images.parent / "a.json", [annotation(2, 4, [square(0, 0, 12, 8)])])
    with pytest.raises(UnreadableImages, match=r"a\.json \(1\.png\): expected 9 x 10 pixels as 1\.png has, got 8 x 10"):
        load(images, file)
    data = load(images, file, on_error="skip")  # and the other is drawn, as a check
    assert data.manifest.paths == ("3.png",)
    reasons = dict(data.skipped)
    assert "annotation 7: the point (12, 0) outside the image" in reasons[f"{file} (2.png)"]
    geojson(images / "1.geojson", feature("cell", ring(0, 0, 20, 6)))
    with pytest.raises(ValueError, match=r"feature 1: the point \(20, 0\) outside the image"):
        drawn(load(images, images, mask_ending=".geojson"), 0)
    coco(file, [annotation(2, 4, {"size": [4, 4], "counts": [16]})], ("3.png", "2.png"))
    with pytest.raises(ValueError, match=r"annotation 7: a mask of size \[4, 4\], expected \[8, 10\]"):
        drawn(load(images, file), 1)


def test_outlines_of_slices_and_of_frames(images: Path) -> None:
    """Neither format says which slice it draws on."""
    nib.save(nib.Nifti1Image(np.arange(320.0).reshape(8, 10, 4), np.eye(4)), images / "v.nii.gz")
    tifffile.imwrite(images / "f.tif", np.zeros((3, 8, 10), dtype=np.uint8), photometric="minisblack")
    for name, count in (("v.nii.gz", 4), ("f.tif", 3)):
        file = coco(images.parent / "a.json", [annotation(1, 4, [square(0, 0, 2, 2)])], (name,))
        why = f"{name} has {count} slices, which COCO and GeoJSON have no word for: save them as images"
        assert why in refusal(images, file)


def test_files_that_are_none(images: Path) -> None:
    file = images.parent / "a.json"
    file.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    assert "another JSON; it has features of GeoJSON, of which each image has a file .geojson" in refusal(images, file)
    file.write_text('{"images": [', encoding="utf-8")
    assert "a whole JSON file" in refusal(images, file)
    with pytest.raises(InputError, match=r"files of COCO that end in \.json, got none"):
        load(images, images, mask_ending=".json")


def lines_of(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What init says of a folder, and the recipe that it wrote, whose data can be read."""
    recipe = root.parent / "recipe.yaml"
    recipe.unlink(missing_ok=True)
    assert call("init", root, "-o", recipe) == 0, capsys.readouterr().err
    settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))["data"]
    data = Folder(**{key: value for key, value in settings.items() if key not in ("source", "image_size")}).load()
    assert data.masks is not None and data.masks.labeled.all() and drawn(data, 0).max() > 0
    return capsys.readouterr().out, recipe.read_text(encoding="utf-8")


def test_init_takes_coco_and_geojson(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tuple(f"{i}.png" for i in range(12))
    for i, name in enumerate(names):
        draw(tmp_path / "a" / "images" / name)
        draw(tmp_path / "b" / name, 12, 12)
        geojson(
            tmp_path / "b" / f"{i}.geojson", feature("Tumor", ring(0, 0, 4, 4)), feature("Ignore*", ring(8, 0, 10, 8))
        )
    shapes = [annotation(i, 4 if i % 2 else 9, [square(0, 0, 3, 3)]) for i in range(1, 12)]
    coco(tmp_path / "a" / "annotations.json", shapes, names)
    said, recipe = lines_of(tmp_path / "a", capsys)
    assert "COCO: cell 6, debris 5" in said and "1 images of the files have no outline" in said
    assert "classes: [background, cell, debris]" in recipe and "undrawn: unlabeled" in recipe
    said, recipe = lines_of(tmp_path / "b", capsys)
    assert "GeoJSON: Tumor 12, Ignore* 12" in said and "mask_ending: .geojson" in recipe
    shapes = [annotation(1, 4, [], bbox=[0, 0, 2, 2])]
    coco(tmp_path / "a" / "annotations.json", shapes, names)
    (tmp_path / "recipe.yaml").unlink()
    assert call("init", tmp_path / "a", "-o", tmp_path / "recipe.yaml") == 0
    assert "annotations.json: COCO, but 1 boxes without outlines, which are no masks" in capsys.readouterr().out
