"""`export`: what a run leaves behind, for other programs: its labels, its encoder and its model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from ..core.files import write_atomic
from ..core.labels import LABELLESS
from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..core.types import IGNORE, Annotation, IntArray, LabelMap
from ..data.answers import read_answer, read_boxes
from ..data.base import Dataset
from ..data.own_size import Values, own_map, write_png, write_values
from ..data.pixels import image_box
from ..data.readers.volumes import Axis, Volumes
from ..data.volume_masks import write_volume
from ..errors import HybridALError, InputError
from ..oracles.base import NONE, SKIP
from ..oracles.boxes import EDGES
from .outputs import check_new, file_names, new_folder, write_table
from .pixels_only import axis_of

PERSON, SIMULATED = "person", "simulated"
LABELS, POINTS, BOXES = "labels.csv", "points.csv", "boxes.csv"


def export(
    run: Path | str, *, out: Path | str, names: bool = False, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Write all labels and the last model of a run into a new folder; its path.

    labels.csv           id, label, annotator, round, time and origin (`person` or `simulated`) of the labels in force;
                         a label is the name of a class, of several with ";" between them, the path of a mask, `skip`
    masks, points.csv, boxes.csv   those of segmentation, in the images' own pixels; values.json says what values mean
    encoder.safetensors  of stage 0
    model.safetensors    of the last round, with model.json; and model.onnx where onnx and onnxscript are installed
    README.md            what is there, and how the model is loaded

    names  plain ids in the place of hashed ones (`data.ids: hashed`), made anew from the data and the salt

    Labels of val and test, and those of the pool that no query asked about, are not in it. No pickle is written.
    Errors: no run, no label and no model yet, a folder that exists, images of points, boxes or volumes out of reach.
    """
    run, out = Path(run), Path(out)
    check_new(out)
    labels = _Labels(RunDir(run), names)
    with new_folder(out) as folder:
        parts = labels.write(folder)
        model = _write_model(run, folder, say) if labels.has_recipe else []
        if not labels.has_recipe:
            say("no model: that of a hal.Loop is the caller's own")
        write_atomic(folder / "README.md", _readme(labels, parts, model, folder))
    return out


@dataclass
class _Labels:
    """The labels of a run, as files for people."""

    disk: RunDir
    names: bool = False
    points: list[tuple[object, ...]] = field(default_factory=list)
    boxes: list[tuple[object, ...]] = field(default_factory=list)
    volumes: dict[str, dict[int, LabelMap]] = field(default_factory=dict)

    @cached_property
    def facts(self) -> Mapping[str, object]:
        return self.disk.facts()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, cast(list[str], self.facts["classes"])))

    @cached_property
    def recipe(self) -> Mapping[str, object]:
        """The keys of its recipe."""
        return cast(Mapping[str, object], self.facts["recipe"])

    @property
    def _data(self) -> Mapping[str, object]:
        return cast(Mapping[str, object], self.recipe.get("data") or {})

    @property
    def has_recipe(self) -> bool:
        """Whether it is no run of a `hal.Loop`."""
        return self._data.get("source") != "own"

    @cached_property
    def origin(self) -> str:
        """Who gave the labels: all of a run come from one oracle."""
        from ..core.registry import component
        from ..oracles import ORACLES

        spec = dict(cast(Mapping[str, object], self.recipe["oracle"]))
        return SIMULATED if component(ORACLES, "oracle", str(spec.pop("name")), spec).holds_truth else PERSON

    @cached_property
    def manifest(self) -> Manifest:
        """The samples of the run, with plain names where they are asked for."""
        manifest = self.disk.manifest()
        if not self.names or manifest.alias is None:
            return manifest
        return self._dataset.plain

    @cached_property
    def _dataset(self) -> Dataset:
        """The data of the run, as it is today."""
        from ..assemble import open_project
        from .deployed import recipe_of_run

        project = open_project(recipe_of_run(self.disk.path), run_dir=self.disk.path)
        project.check_run()
        return project.dataset

    @cached_property
    def current(self) -> list[Annotation]:
        """The labels in force, in the order in which samples were first asked about."""
        return list(self.disk.labels(len(self.manifest)).current.values())

    @cached_property
    def files(self) -> Path | None:
        """The folder of the images; None where they lie in no files."""
        from .deployed import recipe_of_run
        from .pixels_only import files_of

        return files_of(recipe_of_run(self.disk.path).data)

    @cached_property
    def values(self) -> Values:
        return Values.of(cast(Mapping[object, object], self._data.get("mask_values") or {}), self.classes)

    @cached_property
    def sizes(self) -> IntArray:
        """Height and width of each image in its own pixels (N, 2), from the data of the run."""
        from ..tasks.mask_answers import masks_of

        return masks_of(self._dataset).sizes

    def write(self, folder: Path) -> list[str]:
        """Write the files of labels; a line about each."""
        ids = [self.manifest.ids[a.index] for a in self.current]
        rows = [
            (sample, self._text(a, folder, name), a.annotator, a.round, a.time or "", self.origin)
            for a, sample, name in zip(self.current, ids, file_names(ids, ".png"), strict=True)
        ]
        write_table(folder / LABELS, ("id", "label", "annotator", "round", "time", "origin"), rows)
        lines = [f"`{LABELS}`: {len(rows)} labels in force, {self._origin_in_words()}"]
        self._write_volumes(folder)
        if (folder / "masks").is_dir():
            write_values(folder / "values.json", self.values, self.classes)
            lines.append("`masks/`: in the images' own pixels; `values.json` says what a value means")
        if self.points:
            write_table(folder / POINTS, ("id", "class", "x", "y"), self.points)
            lines.append(f"`{POINTS}`: {len(self.points)} points, in pixels of the image from its upper left corner")
        if self.boxes:
            write_table(folder / BOXES, ("id", "class", *EDGES), self.boxes)
            lines.append(f"`{BOXES}`: boxes, edges in pixels of the image from its upper left corner")
        return lines

    def _origin_in_words(self) -> str:
        if self.origin == SIMULATED:
            return "all given by the simulated oracle: they came with the data, and nobody was asked"
        return "all given by people"

    def _text(self, a: Annotation, folder: Path, name: str) -> str:
        """The cell of a label; masks, points and boxes go to files of their own."""
        if a.kind in LABELLESS:  # of what it is not, nothing is exported
            return SKIP
        if isinstance(a.target, int):
            return self.classes[a.target]
        if isinstance(a.target, tuple):
            return ";".join(self.classes[c] for c in a.target) or NONE
        file = self.disk.path / str(a.target)
        if a.kind == "box":
            self._add_boxes(a.index, read_boxes(file))
            return BOXES
        labels = read_answer(file, len(self.classes))
        if a.kind == "point" and a.region is None:
            self._add_points(a.index, labels)
            return POINTS
        if a.kind == "scribble" or a.region is not None:
            labels = own_map(labels, *self.sizes[a.index].tolist())
        return self._keep_mask(a.index, labels, folder, name)

    def _keep_mask(self, index: int, labels: LabelMap, folder: Path, name: str) -> str:
        path, z = self.manifest.paths[index], self.manifest.z[index]
        if z >= 0 and path.lower().endswith(Volumes.SUFFIXES) and self.files is not None:
            self.volumes.setdefault(path, {})[z] = labels
            return f"masks/{_volume_name(path)}"
        write_png(folder / "masks" / name, self.values.write(labels))
        return f"masks/{name}"

    def _write_volumes(self, folder: Path) -> None:
        """Write labeled slices as volumes, in which all others are not known."""
        for path, slices in self.volumes.items():
            axis: Axis = axis_of(self._data)
            file = cast(Path, self.files) / path
            if not file.is_file():
                raise InputError(file, "the volume on which labeled slices lie", "no such file")
            header = Volumes(axis).probe(file)
            whole = np.full((cast(int, header.planes), header.height, header.width), IGNORE, dtype=np.uint8)
            for z, labels in slices.items():
                whole[z] = labels
            write_volume(folder / "masks" / _volume_name(path), file, self.values.write(whole), axis)

    def _add_points(self, index: int, labels: LabelMap) -> None:
        height, width = self.sizes[index].tolist()
        box = image_box(height, width, labels.shape[0])
        for row, column in zip(*np.nonzero(labels != IGNORE), strict=True):
            x = (column - box.left + 0.5) * width / box.width
            y = (row - box.top + 0.5) * height / box.height
            self.points.append((self.manifest.ids[index], self.classes[labels[row, column]], f"{x:.1f}", f"{y:.1f}"))

    def _add_boxes(self, index: int, boxes: IntArray) -> None:
        height, width = self.sizes[index].tolist()
        size = int(str(self._data["image_size"]))
        box = image_box(height, width, size)
        for number, top, left, bottom, right in boxes.tolist():
            edges = ((left - box.left) * width / box.width, (top - box.top) * height / box.height,
                     (right - box.left) * width / box.width, (bottom - box.top) * height / box.height)  # fmt: skip
            self.boxes.append((self.manifest.ids[index], self.classes[number], *(f"{edge:.1f}" for edge in edges)))
        if not len(boxes):
            self.boxes.append((self.manifest.ids[index], NONE, "", "", "", ""))


def _volume_name(path: str) -> str:
    return file_names([path], ".nii.gz")[0]


def _write_model(run: Path, folder: Path, say: Callable[[str], None]) -> list[str]:
    """Write encoder and model; a line about each file."""
    from . import onnx
    from .deployed import BAGS, NOTE, WEIGHTS, model_of_run, recipe_of_run
    from .results import open

    if recipe_of_run(run).task.name == BAGS:
        say("no model: that of bags is not of single images, and stays in the run")
        return []

    encoder = open(run).encoder
    shutil.copyfile(encoder, folder / encoder.name)
    model = model_of_run(run)
    model.save(folder)
    note, size = model.note, model.note.image_size
    calibrated = "calibrated" if note.calibrated else "not calibrated"
    shape = {"segmentation": f"(B, {len(note.classes)}, {size}, {size})"}.get(note.task, f"(B, {len(note.classes)})")
    lines = [
        f"`{encoder.name}`: the encoder of stage 0",
        f"`{WEIGHTS}`, `{NOTE}`: the model of round {note.round}, trained on {note.labels} labels; images "
        f"(B, {note.channels}, {size}, {size}) in [0, 1] -> probabilities {shape}, {calibrated}",
    ]
    if absent := onnx.missing():
        say(f"no model.onnx: {' and '.join(absent)} not installed (pip install 'hybrid-al[onnx]')")
        return lines
    try:
        onnx.write_onnx(model, folder / "model.onnx")
    except HybridALError as error:
        (folder / "model.onnx").unlink(missing_ok=True)
        say(str(error))
        return lines
    return [*lines, "`model.onnx`: the same as a graph, input `images`, output `probabilities`"]


EXAMPLE = """\
import torch
from hybrid_al.api.deployed import load_model

model = load_model(".")  # this folder
images = torch.zeros(1, {channels}, {size}, {size})  # model.predict(...) takes files, a folder or an array of any size
with torch.no_grad():
    print(model.classes, model(images))
"""


def _readme(labels: _Labels, parts: Sequence[str], model: Sequence[str], folder: Path) -> str:
    """What is in the folder, and a program that loads the model."""
    lines = [f"# {labels.facts['name']}, seed {labels.facts['seed']}", "", *(f"- {line}" for line in [*parts, *model])]
    if model:
        from .deployed import load_note

        note = load_note(folder)
        example = EXAMPLE.format(channels=note.channels, size=note.image_size)
        lines += ["", "Classes, in the order of the probabilities: " + ", ".join(note.classes) + ".", ""]
        lines += ["Run in this folder:", "", f"```python\n{example}```"]
    return "\n".join(lines) + "\n"
