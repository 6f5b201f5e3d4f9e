"""`predict`: what the last model of a run says of the pool, or of new images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..assemble import open_project
from ..core.progress import Progress
from ..core.rundir import RunDir
from ..core.temporary import scratch_folder
from ..core.types import IntArray, LabelMap
from ..data.base import Dataset
from ..data.own_size import Values, own_labels, write_png, write_values
from ..data.readers.volumes import Axis, Volumes
from ..data.stores.images import ImageStore
from ..data.tiles import corners_of
from ..data.volume_masks import write_volume
from ..errors import InputError, UnreadableImages
from ..oracles.base import NONE, SEPARATOR
from .deployed import Deployed, model_of_run, recipe_of_run
from .outputs import check_new, check_outside, file_names, new_folder, write_table
from .pixels_only import axis_of, files_of, place_of, sides, volume_key

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
          `data.mask_values`, PNG in the image's own pixels or NIfTI that lies on its volume, and `predictions.csv`
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
    values = Values.of(model.note.recipe["data"].get("mask_values") or {}, model.classes)
    dataset, table, done = images.dataset, [], 0
    whole = _whole_volumes(images, axis_of(model.note.recipe["data"]))
    names = dict(zip(images.rows.tolist(), file_names(images.ids, ".png"), strict=True))
    paths = sorted(whole)
    volumes = dict(zip(paths, file_names(paths, ".nii.gz"), strict=True))
    slices: dict[str, dict[int, LabelMap]] = {}
    for block, probs in model.of_store(images.store, images.rows):
        for i, maps in zip(block.tolist(), probs, strict=True):
            height, width = dataset.read(i).shape[:2]
            labels = own_labels(maps, height, width)
            path, z = dataset.manifest.paths[i], dataset.manifest.z[i]
            name = volumes[path] if path in volumes else names[i]
            shares = np.bincount(labels.ravel(), minlength=len(model.classes)) / labels.size
            table.append((dataset.manifest.ids[i], f"masks/{name}", *(f"{share:.6f}" for share in shares)))
            if path not in whole:
                write_png(folder / "masks" / name, values.write(labels))
                continue
            slices.setdefault(path, {})[z] = labels
            if len(slices[path]) == whole[path]:
                stack = np.stack([labels for _, labels in sorted(slices.pop(path).items())])
                assert images.files is not None
                write_volume(
                    folder / "masks" / name,
                    images.files / path,
                    values.write(stack),
                    axis_of(model.note.recipe["data"]),
                )
        progress(done := done + len(block), len(images.rows), "predicting")
    columns = ("id", "mask", *(f"share/{name}" for name in model.classes))
    write_table(folder / "predictions.csv", columns, table)
    write_values(folder / "values.json", values, model.classes)


def _whole_volumes(images: _Images, axis: Axis) -> dict[str, int]:
    """Path -> number of slices, of the volumes all slices of which are among the images."""
    manifest, files = images.dataset.manifest, images.files
    if files is None:
        return {}
    slices = [manifest.paths[i] for i in images.rows.tolist() if manifest.z[i] >= 0]
    counts = Counter(path for path in slices if path.lower().endswith(Volumes.SUFFIXES))
    return {path: count for path, count in counts.items() if Volumes(axis).probe(files / path).planes == count}
