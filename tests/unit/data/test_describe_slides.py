"""What `init` finds in a folder of slides: recipes that load as they are, and what a person must decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from hybrid_al.api.pixels_only import place_of
from hybrid_al.data.describe import Description, describe
from hybrid_al.data.describe import slides as describe_slides
from hybrid_al.data.sources import SOURCES
from hybrid_al.data.sources.slides import Slides
from hybrid_al.errors import InputError
from tests.helpers.slides import picture, write_slide

LEFT = slice(0, 128), slice(0, 64)  # of tissue: 8 of 16 tiles of 32 px


def write(root: Path, *names: str, mpp: float | None = 0.5) -> None:
    for k, name in enumerate(names):
        write_slide(root / name, picture(128, 128, LEFT, k), mpp=mpp)


def drafted(about: Description) -> Slides:
    """The source of the drafted recipe."""
    data = {key: value for key, value in about.data.items() if key not in ("source", "image_size")}
    assert about.data["source"] == "slides" and about.modality == "histology"
    source = SOURCES["slides"](**data)
    assert isinstance(source, Slides)
    return source


def took(about: Description, what: str) -> str:
    return dict(about.took)[what]


def test_slides_without_labels(tmp_path: Path) -> None:
    write(tmp_path, "a.svs", "b.tif", "c.svslide")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    about = describe(tmp_path)
    data = drafted(about).load()
    assert len(data.manifest) == 24 and data.classes == ("negative", "positive")
    assert about.saw == ["3 slides: .svs 1, .tif 1, .svslide 1"]
    assert took(about, "images") == "24 tiles of 32 px at 0.5 microns per pixel in 3 slides"
    assert about.data["image_size"] == 32 and about.left == ["1 files that are no slides (notes.txt)"]
    assert any(line.startswith("no patients found: every slide counts as its own") for line in about.open)


def test_many_slides_are_counted_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe_slides, "COUNTED", 2)
    write(tmp_path, *(f"{k}.svs" for k in range(4)))
    about = describe(tmp_path)
    assert took(about, "images") == "about 32 tiles of 32 px at 0.5 microns per pixel in 4 slides"
    assert took(about, "splits") == "pool 32 tiles (estimated)"


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("slide_id,diagnosis,patient", "{stem},{dx},P{k}", {"slide": "slide_id", "group": "patient"}),
        ("file,diagnosis", "{stem}.svs,{dx}", {"slide": "file"}),
        ("slide,x,y,diagnosis", "{stem},32,64,{dx}", {"slide": "slide", "x": "x", "y": "y"}),
        ("tile,diagnosis", "{stem}/x32_y64,{dx}", {"tile": "tile"}),
    ],
)
def test_a_table_of_slides_or_tiles(tmp_path: Path, header: str, row: str, columns: dict[str, str]) -> None:
    stems = [f"s{k}" for k in range(6)]
    write(tmp_path, *(f"{stem}.svs" for stem in stems))
    rows = [row.format(stem=stem, k=k // 2, dx=("ill", "well")[k // 2 % 2]) for k, stem in enumerate(stems)]
    (tmp_path / "labels.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    about = describe(tmp_path)
    assert about.data["columns"] == {**columns, "label": "diagnosis"} and about.labeled
    data = drafted(about).load()
    by_tile = not {"x", "tile"}.isdisjoint(columns)
    assert data.classes == ("ill", "well") and (data.truth >= 0).sum() == (6 if by_tile else 48)
    assert len({*data.manifest.groups}) == (3 if "group" in columns else 6)


def test_classes_of_folders_and_patients_in_names(tmp_path: Path) -> None:
    write(tmp_path, *(f"{('ill', 'well')[k % 2]}/TCGA-AB-000{k // 2}-01Z-{k}.svs" for k in range(6)))
    about = describe(tmp_path)
    data = drafted(about).load()
    assert data.classes == ("ill", "well") and {*data.manifest.groups} == {f"TCGA-AB-000{k}" for k in range(3)}


def test_folders_of_splits_with_classes_below_them(tmp_path: Path) -> None:
    write(tmp_path, *(f"{('train', 'test')[k // 4]}/{('ill', 'well')[k % 2]}/s{k}.svs" for k in range(8)))
    about = describe(tmp_path)
    data = drafted(about).load()
    assert data.classes == ("ill", "well") and "holdout" not in about.data
    assert took(about, "splits") == "pool 32, test 32"
    for path, split, truth in zip(data.manifest.paths, data.manifest.splits, data.truth.tolist(), strict=True):
        folder, name, _ = path.split("/")
        assert (split, data.classes[truth]) == ({"train": "pool", "test": "test"}[folder], name)


def test_folders_of_splits_without_classes_and_with_a_patient_in_both(tmp_path: Path) -> None:
    write(tmp_path, "train/a.svs", "train/b.svs", "val/c.svs")
    assert took(describe(tmp_path), "splits") == "pool 16, val 8"
    for k in range(2):
        for split in ("train", "val"):
            write(tmp_path / "more", f"{split}/TCGA-AB-000{k}-01Z-{split}.svs")
    with pytest.raises(InputError, match="all slides of a patient in one of the folders of splits, got TCGA-AB-0000"):
        describe(tmp_path / "more")
    assert describe(tmp_path / "more", answers=False).data["source"] == "slides"


def test_slides_without_a_resolution(tmp_path: Path) -> None:
    write(tmp_path, "a.svs", mpp=None)
    write(tmp_path, "b.svs")
    about = describe(tmp_path)
    assert about.data["level"] == 0 and "mpp" not in about.data
    assert about.open[0].startswith("1 of 2 slides say no microns per pixel: data.level: 0 takes their pixels")
    assert len(drafted(about).load().manifest) == 16


def test_slides_without_tissue_keep_all_tiles(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.svs", picture(128, 128, None))
    about = describe(tmp_path)
    assert about.data["tissue"] == 0 and len(drafted(about).load().manifest) == 16
    assert any(line.startswith("no tile is tissue") for line in about.open)


def test_images_beside_slides_and_tiffs_that_are_none(tmp_path: Path) -> None:
    write(tmp_path, "a.svs")
    tifffile.imwrite(tmp_path / "label.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb", metadata=None)
    about = describe(tmp_path)
    assert about.data["ignore"] == ["*.tif"] and {*drafted(about).load().manifest.paths} == {"a.svs"}
    for k in range(3):
        tifffile.imwrite(tmp_path / f"{k}.tif", np.full((8, 8), k, np.uint8), photometric="minisblack", metadata=None)
    assert describe(tmp_path).data["source"] == "folder"


def test_one_slide_and_slides_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"expected slides that can be read, got a.svs: no slide, or a damaged one"):
        describe(tmp_path)
    with pytest.raises(InputError, match="got one slide: give the folder"):
        describe(tmp_path / "a.svs")
    write(tmp_path, "b.svs")
    about = describe(tmp_path)
    assert about.unread[0].startswith("slides that cannot be read, 1 of 2: a.svs: ")


def test_a_folder_of_slides_to_select_from(tmp_path: Path) -> None:
    write(tmp_path / "new", "a.svs")
    place = place_of(tmp_path / "new", tmp_path)
    assert place.files is None and place.load().manifest.ids[0] == "a/x0_y0"
