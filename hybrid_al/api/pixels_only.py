"""Images of which only the pixels count: a folder or file of a person as a dataset without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from ..data.base import Dataset
from ..data.describe import describe
from ..data.describe.tree import READERS, Tree, channel_patterns
from ..data.paths import template_columns
from ..data.readers.volumes import Axes, Axis
from ..data.slides import SUFFIXES as SUFFIXES_OF_SLIDES
from ..data.slides import VENDORS
from ..data.tables import NONE, SUFFIXES, read_table, table_of
from ..errors import InputError, UnreadableImages
from ..recipe import Data, Recipe, load
from .images import data_of

TABLES = (*SUFFIXES, ".npz")
PIXELS = ("window", "reader")
TILES = ("tile", "mpp", "level", "overlap", "tissue")
"""Keys of a recipe's `data` that decide which pixels a file has, and `TILES` which tiles a slide has."""


@dataclass(frozen=True)
class Place:
    """Where images are.

    data   the `data` section of a recipe that finds them, without labels and held-out shares
    files  folder that the paths of samples are relative to; None where they lie in an array
    left   remarks on images that lie there and are not among them
    """

    data: Mapping[str, object]
    files: Path | None
    left: tuple[str, ...] = ()

    def load(self, overrides: Sequence[str] = (), *, on_error: str = "stop") -> Dataset:
        """The dataset; images whose headers show that they cannot be read are left out (`Dataset.skipped`).

        Errors: no image that can be read; overrides that are none of `data`.
        """
        from ..components import source

        try:
            return source(load({"name": "images", "data": {**self.data, "on_error": on_error}}, overrides)).load()
        except UnreadableImages:
            if on_error == "skip":
                raise
            return self.load(overrides, on_error="skip")


def place_of(path: Path, scratch: Path, like: Recipe | None = None) -> Place:
    """A folder, a CSV, an NPZ, or a single image or volume; groups are those that `describe` finds.

    scratch  folder for a list of files
    like     a recipe whose readers and windows are kept; a CSV that has its columns is read by them, and its splits are
             of no account

    Errors: nothing there, no image.
    """
    kept: dict[str, object] = {} if like is None else pixels_of(like)
    tiles_like = like.data.params if like is not None and like.data.source == "slides" else None
    if tiles_like is not None and path.is_file() and path.name.lower().endswith(SUFFIXES_OF_SLIDES):
        return _tiles(path, tiles_like)
    if path.is_file() and path.name.lower().endswith(VENDORS):
        raise InputError(path, "a folder of slides", f"one slide: give the folder {path.parent}")
    if path.is_file() and not path.name.lower().endswith(TABLES):
        return Place({**data_of([path], scratch, 64), **kept}, path.resolve().parent)
    data, left = _by_columns_of(like, path), tuple[str, ...]()
    if data is None:
        about = describe(path, answers=False)
        data, left = about.data, tuple(about.unread)
    if data["source"] == "dicom":
        return _series(data, left, like)
    if data["source"] == "slides":
        return _tiles(data["root"], data if tiles_like is None else tiles_like, data.get("ignore", ()), left)
    keys = ("source", "root", "group", "images", "ignore", *(("window",) if like is None else ()))
    section: dict[str, object] = {key: data[key] for key in keys if key in data}
    if isinstance(columns := data.get("columns"), Mapping):
        roles = ("path", "slice", *(() if like is not None else ("split",)))
        unread = dict.fromkeys(("label", "mask", "split"), NONE)
        section["columns"] = unread | {role: columns[role] for role in roles if role in columns}
    if like is not None and section["source"] != "npz" and "columns" not in section:
        left += _keep_channel(str(like.data.params.get("image_ending") or ""), path, section)
    if section["source"] == "npz":
        kept.pop("reader", None)
    elif "columns" not in section:
        section |= {"source": "folder", "labels": "none"}  # which reads volumes too, by any reader
    return Place({**section, **kept}, files_of(Data.model_validate(section)), left)


def _keep_channel(ending: str, path: Path, section: dict[str, object]) -> tuple[str, ...]:
    """Leave out the files that lack the ending that images of a run have, where some have it; a remark on them."""
    files = Tree.of(path).readable
    others = [file for file in files if not READERS.stem(file).endswith(ending)]
    if not 0 < len(others) < len(files):
        return ()
    section["ignore"] = [*cast(list[str], section.get("ignore", [])), *channel_patterns(others)]
    return (f"{len(others)} files whose names do not end in {ending}, as those do that the model was trained on",)


def _tiles(root: object, params: Mapping[str, object], ignore: object = (), left: tuple[str, ...] = ()) -> Place:
    """Where slides are, one or those of a folder, cut as these keys of a recipe say."""
    tiles = {key: params[key] for key in TILES if key in params}
    return Place({"source": "slides", "root": str(root), "ignore": ignore, **tiles}, None, left)


def _series(data: Mapping[str, object], left: tuple[str, ...], like: Recipe | None) -> Place:
    """Where the images of a folder of DICOM are, in the window and the stack of a recipe."""
    params = {} if like is None else like.data.params
    section = {key: data[key] for key in ("source", "root", "group", "sample", "window") if key in data}
    section |= {key: params[key] for key in ("stack", "window") if params.get(key) is not None}
    section["columns"] = {"split": NONE}
    return Place(section, files_of(Data.model_validate(section)), left)


def files_of(data: Data) -> Path | None:
    """The folder that the paths of samples are relative to, by a recipe's `data`; None where they are no files."""
    if data.source not in ("folder", "csv", "nifti", "dicom"):
        return None
    root = Path(str(data.params.get("root", "")))
    if data.source in ("folder", "dicom") or (root.is_dir() and not (root / "index.csv").is_file()):
        return root.resolve()
    return Path(str(data.params.get("images") or table_of(root).parent)).resolve()


def pixels_of(recipe: Recipe) -> dict[str, object]:
    """What decides the pixels of a file, of which the source `nifti` has keys of its own."""
    params = recipe.data.params
    kept: dict[str, object] = {key: params[key] for key in PIXELS if params.get(key) is not None}
    if recipe.data.source == "nifti":
        settings: dict[str, object] = {key: params[key] for key in ("axis", "stack") if key in params}
        kept["reader"] = {"name": "volumes", **settings}
    return kept


def _by_columns_of(recipe: Recipe | None, path: Path) -> dict[str, object] | None:
    """The section of a CSV that has the columns of paths of the recipe's own; None where it is none."""
    columns = None if recipe is None else recipe.data.params.get("columns")
    if not isinstance(columns, dict) or "path" not in columns or not table_of(path).name.lower().endswith(SUFFIXES):
        return None
    header, _ = read_table(table_of(path))
    roles = [role for role in ("path", "slice") if role in columns]
    names = [name for role in roles for name in template_columns(f"data.columns.{role}", str(columns[role]))]
    if not set(names) <= set(header):
        return None
    return {
        "source": "csv",
        "root": str(path),
        "group": "none",
        "columns": {role: columns[role] for role in roles},
    }


def sides(dataset: Dataset, most: int = 20) -> tuple[int, int]:
    """The least and the largest longer side in pixels of some images, evenly spread; (0, 0) where none can be read."""
    n = len(dataset.manifest)
    longer = []
    for i in np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)).tolist():
        try:
            longer.append(max(dataset.read(i).shape[:2]))
        except (OSError, ValueError):
            continue
    return (min(longer), max(longer)) if longer else (0, 0)


def axes_of(data: Mapping[str, object]) -> Axes:
    """The kind of slices, by the `data` of a recipe."""
    return cast(Axes, volume_key(data, "axis", "axial"))


def axis_of(data: Mapping[str, object]) -> Axis:
    """The axis across slices; for runs of one kind of them."""
    axis = axes_of(data)
    assert axis != "all", "slices of three kinds, whose paths name no file"
    return axis


def volume_key(data: Mapping[str, object], key: str, default: object) -> object:
    """A setting of the reader of volumes, which is a key of the source or of `reader`, by the `data` of a recipe."""
    reader = data.get("reader")
    return data.get(key) or (reader.get(key) if isinstance(reader, Mapping) else None) or default
