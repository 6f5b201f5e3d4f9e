"""What `init` takes a folder, a table or an archive for, what it leaves, and that its drafts can be opened."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hybrid_al.assemble import open_project
from hybrid_al.data.describe import describe
from hybrid_al.data.describe.names import MODALITIES, modality_of
from hybrid_al.data.describe.plan import Rows, budgets, make_plan
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.errors import InputError
from hybrid_al.recipe import load
from tests.helpers.drafts import draft_of, opened, said
from tests.helpers.layouts import (
    LAYOUTS,
    Layout,
    chexpert,
    class_folders,
    decathlon,
    draw,
    patient_folders,
    table,
    volume,
)


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
    assert "column side: may be a label, or a site or device as data.domain (left 30, right 30)" in text
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


def test_many_folders_are_patients(tmp_path: Path) -> None:
    for i in range(60):
        draw(tmp_path / f"x{i}" / "1.png")
    about = describe(tmp_path)
    assert about.data["labels"] == "none" and about.data["group"] == "^[^/]+"
    assert "60 folders" in said(about) and "too many for classes" in said(about)


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
