"""The README and docs/: every command and block of code works, every page is reached, numbers are those measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import typer.main
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from hybrid_al.cli import app, main
from hybrid_al.components import check_components
from hybrid_al.recipe import load, parse, shipped_recipes
from tests.helpers import dicom
from tests.helpers.fake_run import fake_run
from tests.helpers.pages import BLOCKS, PAGES, ROOT, Block, play
from tests.helpers.slides import picture, write_slide

LANGUAGES = {"sh", "python", "yaml", "text"}
YAML = [block for block in BLOCKS if block.language == "yaml"]
SHELL = [block for block in BLOCKS if block.language == "sh"]
MEASURED = [*sorted((ROOT / "benchmarks").glob("*.md"))]


def ids(block: Block) -> str:
    return str(block)


def test_every_block_says_its_language() -> None:
    assert not [str(block) for block in BLOCKS if block.language not in LANGUAGES]
    fences = sum(len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(BLOCKS)


@pytest.mark.parametrize("block", SHELL, ids=ids)
def test_commands_are_those_of_the_program(block: Block) -> None:
    group: Any = typer.main.get_command(app)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in block.commands():
        if words[0] == "hybrid-al":
            verb = group.commands[words[1]]
            params = verb.make_context(words[1], words[2:]).params
            recipe = str(params.get("recipe"))
            load(recipe if recipe in shipped_recipes() else {"name": "page"}, params.get("overrides") or ())
        elif words[0] == "make":
            assert words[1] in targets
        else:
            assert not block.runs, f"{block}: say why nothing runs {words[0]}, in a comment <!-- not run: ... -->"


@pytest.mark.parametrize("block", YAML, ids=ids)
def test_yaml_is_a_recipe_or_a_part_of_one(block: Block) -> None:
    parse({"name": "page", **yaml.safe_load(block.text)}, block)


@pytest.mark.slow
@pytest.mark.parametrize("block", YAML, ids=ids)
def test_components_of_recipes_are_there(block: Block) -> None:
    check_components(parse({"name": "page", **yaml.safe_load(block.text)}, block))


def test_every_page_is_in_the_navigation_and_every_decision_in_its_list() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]}
    decisions = {page for page in pages if re.match(r"adr/\d", page)}
    assert not {page for page in pages - decisions if f": {page}\n" not in nav}
    listed = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    assert not {page for page in decisions if f"]({page.removeprefix('adr/')})" not in listed}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_numbers_of_the_choice_were_measured() -> None:
    number = re.compile(r"(?<![\w.])[+-]?\d+\.\d+")
    measured = {n for page in MEASURED for n in number.findall(page.read_text(encoding="utf-8"))}
    text = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    assert not [n for n in number.findall(text) if n not in measured]


def scans(folder: Path) -> dict[str, Any]:
    """Images of two classes that differ in grey, as `scans/<class>/*.png`, and a recipe for them."""
    rng = np.random.default_rng(0)
    for i in range(160):
        path = folder / "scans" / ("normal", "pneumonia")[i % 2] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 160, (16, 16), dtype=np.uint8) + np.uint8(90 * (i % 2))).save(path)
    return {}


def scans_with_recipe(folder: Path) -> dict[str, Any]:
    data = {
        "source": "folder",
        "root": "scans",
        "image_size": 16,
        "group": "none",
        "holdout": {"val": 0.1, "test": 0.2},
    }
    recipe = {"name": "scans", "data": data, "pretrain": {"name": "simclr", "epochs": 1}, "learner": "frozen"}
    small = {"train": {"name": "mean_teacher", "steps": 10, "min_steps": 10}, "loop": {"budgets": [10, 10]}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, **small}), encoding="utf-8")
    return scans(folder)


def table(folder: Path) -> dict[str, Any]:
    """Images of patients, four each, every eighth without a label, in `labels.csv`."""
    rng, lines = np.random.default_rng(0), ["file,label,patient,split"]
    (folder / "images").mkdir()
    for i in range(200):
        name, label = f"images/{i:03d}.png", "" if i % 8 == 7 else ("benign", "malignant")[i % 2]
        Image.fromarray(rng.integers(0, 160, (16, 16), dtype=np.uint8) + np.uint8(90 * (i % 2))).save(folder / name)
        lines.append(f"{name},{label},p{i // 4:02d},{'train' if i < 160 else 'test'}")
    (folder / "labels.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return {}


def volumes(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    (folder / "volumes").mkdir()
    for i in range(6):
        image = nib.Nifti1Image(rng.normal(size=(16, 16, 6)).astype(np.float32), np.eye(4))
        nib.save(image, folder / "volumes" / f"v{i}.nii.gz")
    return {}


def series(folder: Path) -> dict[str, Any]:
    """Series of patients, every second of them brighter, with a label each in a table."""
    lines = ["SeriesInstanceUID,finding"]
    for i in range(30):
        shift: dict[str, Any] = {
            "RescaleIntercept": -1024 + 600 * (i % 2),
            "BodyPartExamined": "CHEST",
            "PatientID": f"P{i}",
        }
        files = dicom.write_series(folder / "scans" / f"p{i}", [0, 1], seed=i, side=16, **shift)
        lines.append(f"{pydicom.dcmread(files[0]).SeriesInstanceUID},{('clear', 'dense')[i % 2]}")
    (folder / "scans" / "labels.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return {}


def slides(folder: Path) -> dict[str, Any]:
    """Slides of patients, every second of them darker, with a row each in a table."""
    lines = ["slide,dx,patient"]
    for i in range(6):
        pixels = picture(128, 160, (slice(0, 128), slice(0, 96)), i, colour=((200, 110, 170), (120, 50, 150))[i % 2])
        write_slide(folder / "slides" / f"s{i}.svs", pixels)
        lines.append(f"s{i},{('benign', 'tumour')[i % 2]},P{i}")
    (folder / "slides" / "labels.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return {}


def outlines(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "outlines" / kind).mkdir(parents=True)
    for i in range(24):
        mask = np.zeros((32, 32), dtype=np.uint8)
        top, left = rng.integers(4, 18, 2)
        mask[top : top + 10, left : left + 10] = 255
        grey = rng.integers(0, 100, mask.shape, dtype=np.uint8) + mask // 2
        Image.fromarray(mask).save(folder / "outlines" / "masks" / f"{i}.png")
        Image.fromarray(grey).save(folder / "outlines" / "images" / f"{i}.png")
    return {}


def waiting(folder: Path) -> dict[str, Any]:
    """A run that waits for people."""
    scans_with_recipe(folder)
    with pytest.raises(SystemExit, match="3"):
        main(["run", "recipe.yaml", "oracle=worklist", "pretrain=none", "--run-dir", "runs/mine-s0", "--quiet"])
    return {}


def digits(_: Path) -> dict[str, Any]:
    return {"embeddings": load_digits(return_X_y=True)[0]}


def a_run(folder: Path) -> dict[str, Any]:
    return {"run_dir": fake_run(folder / "runs" / "chest-xray-s0", pool=120)}


PREPARED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "README.md": scans,
    "docs/howto/csv.md": table,
    "docs/howto/volumes.md": volumes,
    "docs/howto/dicom.md": series,
    "docs/howto/masks.md": outlines,
    "docs/howto/slides.md": slides,
    "docs/howto/annotation_tools.md": waiting,
    "docs/howto/encoder.md": scans_with_recipe,
    "docs/howto/cluster.md": scans_with_recipe,
    "docs/library.md": digits,
    "docs/report.md": a_run,
    "docs/tracking.md": a_run,
}
TO_FOLLOW = ("README.md", "docs/tutorial.md", "docs/howto/")
PLAYED = sorted({b.page for b in BLOCKS if b.runs and (b.language == "python" or b.page.startswith(TO_FOLLOW))})


@pytest.mark.slow
@pytest.mark.parametrize("page", PLAYED)
def test_what_a_reader_would_do(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    names = PREPARED[page](tmp_path) if page in PREPARED else {}
    play(page, names, shell=page.startswith(TO_FOLLOW))
