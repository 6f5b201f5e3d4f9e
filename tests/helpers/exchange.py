"""A query that is exchanged with a tool: its run, what is true of its images, and whether labels are the same."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hybrid_al.assemble import Project, open_project
from hybrid_al.core.types import IGNORE, Annotation, IntArray, Query
from hybrid_al.data.answers import read_answer, read_boxes
from hybrid_al.errors import AwaitingLabels
from hybrid_al.oracles.base import Oracle
from hybrid_al.oracles.formats.base import image_name
from hybrid_al.recipe import parse
from tests.helpers.dicom_files import write_image
from tests.helpers.tiny import SIZE, recipe_of

MASKS = recipe_of("segmentation")
RECIPES: dict[str, dict[str, Any]] = {
    "class": recipe_of("classification"),
    "classes": recipe_of("multilabel"),
    "mask": MASKS,
    "scribble": {**MASKS, "oracle": {"answer": "scribbles"}},
    "point": {**MASKS, "oracle": {"answer": "points"}},
    "box": {**MASKS, "oracle": {"answer": "boxes"}},
}


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is to be said of an image: names of classes, a label map, or rows (class, top, left, bottom, right)."""

    index: int
    id: str
    name: str
    words: tuple[str, ...] = ()
    labels: Any = None
    boxes: Any = None
    classes: tuple[str, ...] = ()

    def areas(self, kind: str) -> list[tuple[str, Any]]:
        """(label, mask) of each class that is to be drawn."""
        first = 1 if kind == "mask" else 0
        return [(self.classes[c], self.labels == c) for c in np.unique(self.labels).tolist() if first <= c < IGNORE]


def opened(path: Path, kind: str, name: str, plain: dict[str, Any] | None = None) -> tuple[Project, Oracle, IntArray]:
    plain = plain or RECIPES[kind]
    oracle = plain.get("oracle", {})
    project = open_project(parse({**plain, "oracle": {**oracle, "name": name}}), run_dir=path)
    path.mkdir(parents=True, exist_ok=True)
    project.claim()
    task, answers = project.task.open(project.setting, project.materials())
    picks = task.regions.at(0).indices[[1, 4, 6, 2]]
    project.run.commit_query(
        0, Query(picks), project.dataset.manifest, task.regions.parts if hasattr(task.regions, "parts") else 1
    )
    with suppress(AwaitingLabels):
        answers.annotate(picks, 0)
    return project, answers, picks


def truths(project: Project, annotations: tuple[Annotation, ...]) -> list[Truth]:
    classes, manifest = project.dataset.classes, project.dataset.manifest
    out = []
    for a in annotations:
        base = Truth(a.index, manifest.ids[a.index], image_name(manifest, a.index), classes=classes)
        if a.kind in ("class", "classes"):
            numbers = (a.target,) if isinstance(a.target, int) else a.target
            assert isinstance(numbers, tuple)
            out.append(dataclasses.replace(base, words=tuple(classes[c] for c in numbers)))
            continue
        file = project.run.path / str(a.target)
        boxes = read_boxes(file) if a.kind == "box" else None
        out.append(dataclasses.replace(base, labels=read_answer(file), boxes=boxes))
    return out


def same(a: Project, ours: tuple[Annotation, ...], b: Project, theirs: tuple[Annotation, ...]) -> None:
    assert [x.index for x in sorted(ours, key=lambda x: x.index)] == sorted(x.index for x in theirs)
    for x, y in zip(*(sorted(all, key=lambda x: x.index) for all in (ours, theirs)), strict=True):
        assert (x.kind, x.cost) == (y.kind, y.cost)
        if not isinstance(x.target, str):
            assert x.target == y.target
            continue
        files = a.run.path / x.target, b.run.path / str(y.target)
        np.testing.assert_array_equal(read_answer(files[0]), read_answer(files[1]))
        if x.kind == "box":
            rows = [sorted(map(tuple, read_boxes(file).tolist())) for file in files]
            assert rows[0] == rows[1]


def dicom_recipe(folder: Path) -> dict[str, Any]:
    """Two series of six slices with masks, a patient each, and a third one held out."""
    rng = np.random.default_rng(0)
    (folder / "masks").mkdir(parents=True)
    for k in range(15):
        series = f"1.2.3.{1 + k // 6}"
        pixels = rng.integers(0, 99, (SIZE, SIZE)).astype(np.int16)
        write_image(folder / "scans" / f"{k:02d}.dcm", pixels, series, float(k), patient=series)
        mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
        mask[k % 5 : k % 5 + 4, 3:9] = 1
        Image.fromarray(mask).save(folder / "masks" / f"{k:02d}.png")
    data = {
        "source": "dicom", "root": str(folder / "scans"), "masks": str(folder / "masks"), "image_size": SIZE,
        "classes": ["background", "liver"], "holdout": {"test": 0.34},
    }  # fmt: skip
    return {**MASKS, "data": data}
