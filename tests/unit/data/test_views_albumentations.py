"""Pipelines of albumentations: what is refused, and what a recipe makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml

from hybrid_al.assemble import open_project
from hybrid_al.components import check_components
from hybrid_al.core.types import IGNORE
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.stores.masks import MaskStore
from hybrid_al.data.views.albumentations import Pipeline
from hybrid_al.data.views.modalities import VIEWS
from hybrid_al.data.views.pixels import pixel_views
from hybrid_al.errors import InputError
from hybrid_al.learners.inputs import MaskInputs
from hybrid_al.recipe import load
from hybrid_al.report.overview import draw_views
from tests.helpers.pipelines import FLIPS, MOVING, STRONG, pipeline, transform
from tests.helpers.tiny import SIZE, recipe_of

PAGE = Path(__file__).parents[3] / "docs" / "views.md"
GREY = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def refusal(plain: dict[str, Any], images: torch.Tensor = GREY) -> str:
    with pytest.raises(InputError) as error:
        Pipeline.of(plain, "views.weak").check_on(images)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (transform("Lambda", name="x"), "expected a transform without code, got Lambda"),
        (transform("os.system"), "names, got 'os.system'"),
        (transform("subprocess.Popen", args=["true"]), "names, got 'subprocess.Popen'"),
        (transform("HorizontalFlop"), "got 'HorizontalFlop'; did you mean 'HorizontalFlip'?"),
        (transform("HorizontalFlip", often=1), "(HorizontalFlip): expected one of p, got 'often'"),
        ({"__class_fullname__": "HorizontalFlip"}, "(HorizontalFlip): expected a probability p, got none"),
        (transform("GaussianBlur", 2.0), "(GaussianBlur): expected settings of this transform, got"),
        (transform("MaskDropout"), "expected a transform of an image alone that keeps its kind, got MaskDropout"),
        (transform("TextImage", font_path="/etc/passwd"), "expected a transform of an image alone"),
        (transform("HistogramMatching", reference_images=["a.png"], metadata_key="image"), "an image alone"),
        (transform("ToTensorV2"), "expected a transform of an image alone that keeps its kind, got ToTensorV2"),
        (transform("OneOf"), "expected a list of transforms, got None"),
        ({"p": 1}, "expected a mapping with the key __class_fullname__"),
    ],
)
def test_what_is_no_transform_is_refused_with_its_place(node: dict[str, Any], message: str) -> None:
    text = refusal(pipeline(transform("HorizontalFlip"), node))
    assert text.startswith("views.weak.transform.transforms[1]") and message in text


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (transform("RandomCrop", 0.01, height=8, width=8), "leaves uint8 of shape (16, 16, 1), got uint8 of shape (8"),
        (transform("Normalize", 0.01), "leaves uint8 of shape (16, 16, 1), got float32 of shape (16, 16, 1)"),
        (transform("ToSepia", 0.01), "expected transforms that grey images have, got ToSepia, which is of colours"),
        (transform("ToRGB", 0.01), "expected transforms that grey images have, got ToRGB, which is of colours"),
        (transform("Crop", 0.01, x_min=20, x_max=40, y_min=20, y_max=40), "expected a pipeline for images of shape"),
    ],
)
def test_what_changes_the_kind_of_image_is_refused_however_rare_it_is(node: dict[str, Any], message: str) -> None:
    rare = pipeline(transform("OneOf", 0.01, transforms=[transform("NoOp"), transform("NoOp"), node]))
    assert message in refusal(rare)


def test_colours_are_for_images_that_have_them() -> None:
    sepia = pipeline(transform("albumentations.augmentations.pixel.transforms.ToSepia"))
    Pipeline.of(sepia, "views.weak").check_on(GREY.repeat(1, 3, 1, 1))
    assert "ToSepia" in refusal(sepia)


def test_only_what_a_file_says_is_its_identity() -> None:
    first, same = Pipeline.of(FLIPS, "views.weak"), Pipeline.of(json.loads(json.dumps(FLIPS)), "views.strong")
    assert first == same and repr(first) == repr(same) and repr(first) != repr(Pipeline.of(STRONG, "views.weak"))
    assert repr(first).startswith("albumentations 2.0.")


def test_masks_are_left_a_strong_view_in_place() -> None:
    kept = json.loads(Pipeline.of(STRONG, "views.strong").in_place().content)["transforms"]
    assert [node["__class_fullname__"] for node in kept] == ["NoOp", "OneOf", "RandomBrightnessContrast", "NoOp"]
    geometry = json.loads(Pipeline.of(STRONG, "views.strong").geometry().content)["transforms"]
    assert [node["__class_fullname__"] for node in geometry] == ["Affine", "OneOf", "NoOp", "NoOp"]
    with pytest.raises(InputError, match="a transform that neither moves nor erases pixels, for masks, got none"):
        Pipeline.of(FLIPS, "views.strong").in_place()


def test_a_recipe_takes_a_mapping_or_a_file_and_keeps_the_content(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(STRONG))
    (tmp_path / "b.json").write_text(json.dumps(STRONG))
    recipes = [load(recipe_of("classification", views={"strong": s})) for s in (STRONG, f"{tmp_path}/a.yaml")]
    recipes.append(load(recipe_of("classification"), [f"views.strong={tmp_path}/b.json"]))
    assert recipes[0] == recipes[1] == recipes[2]
    identities = [recipe.identity()["views"] for recipe in recipes]
    assert identities == [{"pretrain": None, "weak": None, "strong": STRONG}] * 3
    assert "views" not in load({"name": "x"}).plain()
    with pytest.raises(InputError, match=r"^views: none\.yaml: expected a pipeline of albumentations, .* no such file"):
        load(recipe_of("classification", views={"weak": "none.yaml"}))


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_views_that_are_not_given_stay_those_of_the_modality(task: str, tmp_path: Path) -> None:
    recipe = load(recipe_of(task, views={"strong": STRONG}))
    check_components(recipe)
    project = open_project(recipe, run_dir=tmp_path / "run")
    views = project.views()
    assert views.weak == VIEWS["microscopy"].weak and views.pretrain == VIEWS["microscopy"].pretrain
    assert views.strong == Pipeline.of(STRONG, "x") and views.strong_pixels is None
    draw_views(project, project.store(), tmp_path / "views.png")
    assert (tmp_path / "views.png").is_file()


@pytest.mark.parametrize(
    ("views", "changes", "message"),
    [
        ({"strong": FLIPS}, {}, "recipe: views.strong: expected a transform that neither moves nor erases pixels"),
        ({"weak": pipeline(transform("Resize", height=8, width=8))}, {}, "recipe: views.weak: expected a pipeline"),
    ],
)
def test_a_pipeline_that_does_not_fit_the_data_is_refused_before_training(
    views: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    project = open_project(load(recipe_of("segmentation", views=views, **changes)), run_dir=tmp_path / "run")
    with pytest.raises(InputError, match=message):
        project.views()


def test_answers_by_boxes_have_no_label_where_the_view_is_filled() -> None:
    store = ImageStore(np.full((2, 16, 16, 1), 100, dtype=np.uint8), "grey", ())
    views = pixel_views(replace(VIEWS["microscopy"], weak=Pipeline.of(MOVING, "views.weak")))
    inputs = MaskInputs(store, views, np.full((2, 2), 16), torch.device("cpu"))
    masks = cast(MaskStore, SimpleNamespace(batch=lambda rows: np.zeros((len(rows), 16, 16), dtype=np.uint8)))
    boxes = {0: np.asarray([[1, 2, 2, 12, 12]]), 1: np.zeros((0, 5), dtype=np.int64)}
    batch = inputs.labeled(np.arange(2), masks, torch.Generator().manual_seed(0), False, boxes)
    shown = (batch.x[:, 0] * 255).round() == 100
    assert torch.equal(batch.y == 0, shown) and torch.equal(batch.y == IGNORE, ~shown) and not shown.all()


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(InputError) as error:
        check_components(load(recipe_of("classification", views={"weak": FLIPS})))
    expected = "recipe: views.weak: expected albumentations (pip install hybrid-al[albumentations]), got none"
    assert str(error.value) == expected


SPY = """
import socket, sys
def refuse(*a, **k): raise SystemExit("a socket was opened")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import hybrid_al.data.views.albumentations as views
assert "albumentations" not in sys.modules and "cv2" not in sys.modules
views.load("views")
assert "albumentations" in sys.modules
"""


@pytest.mark.slow
def test_the_package_is_loaded_late_and_asks_the_network_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)
    result = subprocess.run([sys.executable, "-c", SPY], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_example_of_the_page_is_a_recipe(tmp_path: Path) -> None:
    example = PAGE.read_text(encoding="utf-8").split("## A pipeline of one's own\n")[1].split("```yaml\n")[1]
    views = yaml.safe_load(example.split("```")[0])["views"]
    project = open_project(load(recipe_of("classification", views=views)), run_dir=tmp_path / "run")
    x = project.store().batch(project.dataset.manifest.indices("pool"))
    strong = project.views().strong
    assert isinstance(strong, Pipeline) and x.shape[-1] == SIZE
    assert not torch.equal(strong(x, torch.Generator().manual_seed(0)), x)
