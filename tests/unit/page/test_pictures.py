"""What the page shows of images: 16 bits in two channels, slices beside each other, similar labeled cases."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hybrid_al.api.deployed import recipe_of_run
from hybrid_al.api.sheet import copy_query, write_sheet
from hybrid_al.assemble import Project, open_project
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Query
from hybrid_al.errors import InputError
from hybrid_al.page.pictures import DEEP, ProjectPictures, doubts
from hybrid_al.recipe import parse
from tests.helpers.command import call
from tests.helpers.dicom import write_series
from tests.helpers.tiny import recipe_of


def pictures_of(folder: Path, data: dict[str, Any], **changes: Any) -> tuple[Project, ProjectPictures]:
    recipe = recipe_of("classification", data={"group": "none", "classes": ["a", "b"], **data}, oracle="worklist")
    project = open_project(parse(recipe | changes), run_dir=folder / "run")
    return project, ProjectPictures(project, proposes=True)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png))).astype(np.int64)


def test_sixteen_bits_travel_in_two_channels(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    levels = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    for k in range(6):
        Image.fromarray(np.roll(levels, k)).save(tmp_path / "deep" / f"{k}.png")
    _, pictures = pictures_of(tmp_path, {"source": "folder", "root": str(tmp_path / "deep"), "labels": "none"})
    sent = pixels(pictures.image(2))
    np.testing.assert_array_equal(256 * sent[:, :, 0] + sent[:, :, 1], np.roll(levels, 2))
    about = pictures.about(2)
    assert about["deep"] and about["span"] == [0.0, float(DEEP)] and pictures.size(2) == (64, 64)
    assert about["window"] == pytest.approx([0.005, 0.995], abs=0.001)
    with pytest.raises(InputError, match="a position below 6, got 7"):
        pictures.size(7)
    seen = pictures.shown(2)
    assert seen.shape == (64, 64, 1) and seen.dtype == np.uint8 and (seen.min(), seen.max()) == (0, 255)
    with pytest.raises(InputError, match="a position below 6, got 9"):
        pictures.image(9)


def test_slices_of_a_volume_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    for name in "ab":
        array = np.random.default_rng(ord(name)).integers(0, 100, (8, 8, 5)).astype(np.int16)
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "volumes" / f"{name}.nii.gz")
    data = {"source": "nifti", "root": str(tmp_path / "volumes"), "window": [0, 100]}
    project, pictures = pictures_of(tmp_path, data)
    manifest = project.dataset.manifest
    slices = pictures.about(2)["slices"]
    assert 2 in slices and [manifest.z[i] for i in slices] == sorted(manifest.z[i] for i in slices)
    assert {manifest.paths[i] for i in slices} == {manifest.paths[2]}


def test_slices_of_a_series_in_files_of_their_own(tmp_path: Path) -> None:
    for seed in range(2):
        write_series(tmp_path / "scans" / str(seed), [0.0, 5.0, 10.0], seed=seed, PatientID=f"P{seed}")
    project, pictures = pictures_of(
        tmp_path, {"source": "dicom", "root": str(tmp_path / "scans"), "group": "PatientID"}
    )
    names = [project.dataset.manifest.ids[i] for i in pictures.about(4)["slices"]]
    assert names == ["1/003.dcm", "1/002.dcm", "1/001.dcm"]  # as they lie in space


def bag_pictures(folder: Path) -> tuple[Project, ProjectPictures]:
    """Bags of one, three and eighty images."""
    (folder / "tiles").mkdir()
    for bag, count in (("a", 1), ("b", 3), ("c", 80)):
        for k in range(count):
            level = np.full((16, 16), 3 * k, dtype=np.uint8)
            Image.fromarray(level).save(folder / "tiles" / f"{bag}-{k:02d}.png")
    data = {"source": "folder", "root": str(folder / "tiles"), "labels": "none", "bag": "(.*)-"}
    budgets = {"loop": {"budgets": [2]}}
    return pictures_of(folder, data, task="bags", learner="linear", train="supervised", **budgets)


def test_all_images_of_a_bag(tmp_path: Path) -> None:
    project, pictures = bag_pictures(tmp_path)
    about = pictures.about(1)
    assert (about["slices"], about["bag"], about["looked"]) == ([1, 2, 3], "b", [])
    assert pictures.about(0)["slices"] == [0] and len(pictures.about(4)["slices"]) == 80
    project.claim()
    project.run.commit_query(0, Query(np.asarray([4, 1])), project.dataset.manifest)
    assert write_sheet(project) == project.run.round_path(0) / "query.html"
    sheet = (project.run.round_path(0) / "query.html").read_text(encoding="utf-8")
    assert sheet.count("data:image/jpeg") == 83 and "80 images" in sheet and "c (c-00.png)" in sheet
    folder = copy_query(project, tmp_path / "asked") / "images"
    assert [len(list((folder / rank).iterdir())) for rank in ("001", "002")] == [80, 3]
    (project.run.round_path(0) / "tiles.csv").write_text(
        "bag,id,name,weight\nb-00.png,b-02.png,b,0.9\n", encoding="utf-8"
    )
    assert pictures.about(1)["looked"] == [3] and ProjectPictures(project, proposes=False).about(1)["looked"] == []


def refusal(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert call(*argv) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.slow
def test_the_first_query_its_sheet_and_its_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scans").mkdir()
    for k in range(30):
        Image.fromarray(np.full((16, 16), 8 * k, dtype=np.uint8)).save(tmp_path / "scans" / f"<b>{k:02d}.png")
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    assert call("init", tmp_path / "scans", "-o", recipe) == 0
    small = ["encoder.name=test_resnet", "pretrain=none", "data.image_size=16", "loop.budgets=[4,2]", "track={}"]
    label = ["label", recipe, *small, "--run-dir", run, "--sheet"]
    assert call(*label, tmp_path / "asked") == 0
    ids = RunDir(run).query_ids(0)
    assert ids is not None and len(ids) == 4
    names = sorted(path.name for path in (tmp_path / "asked" / "images").iterdir())
    assert names == [f"{rank:03d}_{sample}" for rank, sample in enumerate(ids, start=1)]
    sheet = (run / "rounds" / "000" / "query.html").read_text(encoding="utf-8")
    assert sheet.count("data:image/jpeg") == 4 and "&lt;b&gt;" in sheet and "<b><" not in sheet.replace("<b>0</b>", "")
    assert (tmp_path / "asked" / "query.html").read_text(encoding="utf-8") == sheet
    assert "a new folder" in refusal(capsys, *label, tmp_path / "asked")
    assert "outside the images" in refusal(capsys, *label, tmp_path / "scans" / "asked")
    assert "worklist, for a person to answer" in refusal(capsys, "label", "quickstart", "--run-dir", tmp_path / "other")
    project = open_project(recipe_of_run(run), run_dir=run)
    pictures = ProjectPictures(project, proposes=True)
    similar = pictures.similar(3, dict.fromkeys(range(20), "a"))
    assert len(similar) == 6 and 3 not in {one["index"] for one in similar} and pictures.proposal(3) is None


def test_doubt_is_the_entropy_of_the_pixels_in_the_images_own_size() -> None:
    """A network of 4 x 4 pixels over an image of 8 x 4, which fills the middle columns; the right half is sure."""
    probs = np.full((2, 4, 4), 0.5)
    probs[:, :, 2:] = np.array([1.0, 0.0])[:, None, None]
    shown = doubts(probs, 8, 4)
    assert shown.shape == (8, 4) and (shown[:, 0] == 255).all() and (shown[:, 3] == 0).all()
