"""`predict`: what the last model of a run says of the pool, or of new images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from ..assemble import open_project
from ..core.progress import Progress
from ..core.rundir import RunDir
from ..core.temporary import scratch_folder
from ..core.types import IntArray, LabelMap
from ..data.base import Dataset
from ..data.own_size import Values, own_probs, write_png, write_values
from ..data.readers.volumes import AXES, Axes, Axis, Volumes, parted
from ..data.stores.images import ImageStore
from ..data.tiles import corners_of
from ..data.volume_masks import AllAxes, OneAxis, write_volume
from ..errors import InputError, UnreadableImages
from ..oracles.base import NONE, SEPARATOR
from .deployed import Deployed, model_of_run, recipe_of_run
from .outputs import check_new, check_outside, file_names, new_folder, write_table
from .pixels_only import axes_of, axis_of, files_of, place_of, sides, volume_key

LISTED = 20


@dataclass(frozen=True)
class _Images:
    """The images to predict: rows of a dataset, decoded, and the folder of their files where they lie in files."""

    dataset: Dataset
    store: ImageStore
    rows: IntArray
    files: Path | None

    @property
    def ids(self) -> list[str]:
        return [self.dataset.manifest.ids[i] for i in self.rows.tolist()]


def predict(
    run: Path | str,
    data: Path | str | None = None,
    *,
    out: Path | str,
    device: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
) -> Path:
    """Write what the last model of a run predicts; the path of the table.

    run   a run directory with a committed round
    data  a folder of images or volumes, a CSV that names files, an NPZ or one file, read with the recipe's readers and
          windows; without it the pool of the run
    out   a CSV that is not there yet: id, predicted, and the probability of each class (`prob/NAME`), or of each of
          several labels, calibrated where the round was; of tiles also the slide, and the left and upper edge x and y
          in pixels of its finest level. Of segmentation a folder: `masks/` in the values of
          `data.mask_values`, PNG in the image's own pixels or NIfTI that lies on its volume (`axis: all`: by the mean
          of the probabilities of the three slices of each voxel), and `predictions.csv`
    say   gets a line about the model, and about images that are unlike those that it was trained on

    Errors, one line each: no run, no trained model, nothing there, images that no reader can read, `out` that exists.
    """
    run, out = Path(run), Path(out)
    check_new(out)
    model = model_of_run(run, device)
    segments = model.note.task == "segmentation"
    if segments == (out.suffix.lower() == ".csv"):
        expected = "a folder for the masks (-o FOLDER)" if segments else "a CSV file (-o FILE.csv)"
        raise InputError(out, expected, "a CSV file" if segments else "another name")
    if segments and data is not None:
        check_outside(out, Path(data))
    for line in _about(run, model):
        say(line)
    with scratch_folder() as scratch:
        images = _pool(run, device) if data is None else _new(run, Path(data), model, Path(scratch), say, progress)
        if segments:
            with new_folder(out) as folder:
                _write_masks(folder, model, images, progress)
            return out / "predictions.csv"
        _write_classes(out, model, images, progress)
        return out


def _about(run: Path, model: Deployed) -> Iterator[str]:
    note = model.note
    calibrated = "calibrated" if note.calibrated else "not calibrated (recipe: calibration)"
    yield f"model of {run}: round {note.round}, trained on {note.labels} labels; probabilities are {calibrated}"


def _pool(run: Path, device: str) -> _Images:
    project = open_project(recipe_of_run(run), run_dir=run, device=device)
    if project.dataset.manifest.fingerprint != RunDir(run).facts()["manifest"]:
        raise InputError(run, "the data that this run began with", "other data; name the images to predict")
    rows = np.flatnonzero(np.asarray(project.dataset.manifest.splits) == "pool").astype(np.int64)  # copies too
    return _Images(project.dataset, project.store(), rows, files_of(recipe_of_run(run).data))


def _new(
    run: Path, data: Path, model: Deployed, scratch: Path, say: Callable[[str], None], progress: Progress
) -> _Images:
    """New images, those that cannot be read left out with a line."""
    place = place_of(data, scratch, recipe_of_run(run))
    dataset = place.load()
    for line in (*(f"not read: {left}" for left in place.left), *_unlike(run, model, dataset)):
        say(f"warning: {line}")

    def build(images: Dataset) -> ImageStore:
        step = lambda done, total: progress(done, total, "reading images")  # noqa: E731
        channels = None if images.stack > 1 else model.note.channels
        return ImageStore.build(
            images, image_size=model.note.image_size, channels=channels, cache=scratch, progress=step
        )

    try:
        store = build(dataset)
    except UnreadableImages:
        dataset = place.load(on_error="skip")
        store = build(dataset)
    for path, why in dataset.skipped[:LISTED]:
        say(f"skipped {path}: {why}")
    if len(dataset.skipped) > LISTED:
        say(f"skipped {len(dataset.skipped) - LISTED} more")
    return _Images(dataset, store, np.arange(len(store), dtype=np.int64), place.files)


def _unlike(run: Path, model: Deployed, dataset: Dataset) -> Iterator[str]:
    """In what new images are unlike those that the model was trained on; refuses slices where it takes other stacks."""
    note = model.note
    stack = int(str(volume_key(note.recipe["data"], "stack", 1)))
    if dataset.stack != stack:
        raise InputError("DATA", f"images of {stack} slices each, as the model was trained on", str(dataset.stack))
    kinds = {1: "grey", 3: "colour"}
    if stack == 1 and dataset.channels != note.channels:
        yield f"the model was trained on {kinds[note.channels]} images, these are {kinds[dataset.channels]}"
    low, high = sides(dataset)
    before = _sides_of_training(run)
    if before is not None and high and not (before[0] <= low and high <= before[1]):
        words = [f"{a} px" if a == b else f"{a} to {b} px" for a, b in (before, (low, high))]
        yield f"the longer side of the training images is {words[0]}, of these {words[1]}"


def _sides_of_training(run: Path) -> tuple[int, int] | None:
    """The longer sides of some images of the run's own; None where its data cannot be reached any more."""
    try:
        dataset = open_project(recipe_of_run(run), run_dir=run).dataset
    except (InputError, UnreadableImages):
        return None
    return sides(dataset)


def _write_classes(out: Path, model: Deployed, images: _Images, progress: Progress) -> None:
    """Write the table of classes, or of several labels."""
    classes, rows = model.classes, []
    for block, probs in model.of_store(images.store, images.rows):
        for i, values in zip(block.tolist(), probs.tolist(), strict=True):
            if model.note.task == "multilabel":
                word = SEPARATOR.join(c for c, p in zip(classes, values, strict=True) if p >= 0.5) or NONE
            else:
                word = classes[int(np.argmax(values))]
            rows.append((images.dataset.manifest.ids[i], word, *(f"{p:.6f}" for p in values)))
        progress(len(rows), len(images.rows), "predicting")
    columns = ("id", "predicted", *(f"prob/{name}" for name in classes))
    corners = corners_of(images.ids) if images.dataset.locator is not None else None
    if corners is not None:
        columns += ("slide", "x", "y")
        rows = [(*row, *corner) for row, corner in zip(rows, corners, strict=True)]
    write_table(out, columns, rows)


def _write_masks(folder: Path, model: Deployed, images: _Images, progress: Progress) -> None:
    """Write masks, and the table of them."""
    data = model.note.recipe["data"]
    values = Values.of(data.get("mask_values") or {}, model.classes)
    dataset, table, done = images.dataset, dict[int, tuple[str, ...]](), 0
    whole = _whole_volumes(images, axes_of(data))
    names = dict(zip(images.rows.tolist(), file_names(images.ids, ".png"), strict=True))
    paths = sorted(whole)
    volumes = dict(zip(paths, file_names(paths, ".nii.gz"), strict=True))
    masks: dict[str, OneAxis | AllAxes] = {}
    slices: dict[str, list[tuple[int, Axis, int]]] = {path: [] for path in paths}

    def add(i: int, name: str, labels: LabelMap) -> None:
        shares = np.bincount(labels.ravel(), minlength=len(model.classes)) / labels.size
        table[i] = (dataset.manifest.ids[i], f"masks/{name}", *(f"{share:.6f}" for share in shares))

    for block, probs in model.of_store(images.store, images.rows):
        for i, maps in zip(block.tolist(), probs, strict=True):
            own = own_probs(maps, *dataset.read(i).shape[:2])
            path, axis = parted(dataset.manifest.paths[i])
            if path not in whole:
                labels = own.argmax(axis=0).astype(np.uint8)
                add(i, names[i], labels)
                write_png(folder / "masks" / names[i], values.write(labels))
                continue
            file = cast(Path, images.files) / path
            if path not in masks:
                masks[path] = AllAxes.of(file, len(own)) if axis is not None else OneAxis(axis_of(data))
            place = (axis or masks[path].axis, dataset.manifest.z[i])
            masks[path].add(*place, own)
            slices[path].append((i, *place))
            if len(slices[path]) == whole[path]:
                mask = masks.pop(path)
                along = {kind: mask.along(kind) for kind in dict.fromkeys(kind for _, kind, _ in slices[path])}
                for row, kind, z in slices[path]:
                    add(row, volumes[path], along[kind][z])
                write_volume(folder / "masks" / volumes[path], file, values.write(along[mask.axis]), mask.axis)
        progress(done := done + len(block), len(images.rows), "predicting")
    columns = ("id", "mask", *(f"share/{name}" for name in model.classes))
    write_table(folder / "predictions.csv", columns, [table[i] for i in images.rows.tolist()])
    write_values(folder / "values.json", values, model.classes)


def _whole_volumes(images: _Images, axis: Axes) -> dict[str, int]:
    """Path -> number of slices, of the volumes all slices of which, along all axes, are among the images."""
    manifest, files = images.dataset.manifest, images.files
    if files is None:
        return {}
    slices: dict[str, list[int]] = {}
    for i in images.rows.tolist():
        if manifest.z[i] >= 0:
            slices.setdefault(manifest.paths[i], []).append(manifest.z[i])
    whole: dict[str, int] = {}
    for path in dict.fromkeys(parted(path)[0] for path in slices):
        if path.lower().endswith(Volumes.SUFFIXES):
            parts = {kind: f"{path}#{kind}" for kind in AXES} if axis == "all" else {axis: path}
            planes = {part: Volumes(kind).probe(files / path).planes or 0 for kind, part in parts.items()}
            if all(sorted(slices.get(part, [])) == list(range(count)) for part, count in planes.items()):
                whole[path] = sum(planes.values())
    return whole
