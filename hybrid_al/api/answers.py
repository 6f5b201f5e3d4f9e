"""`labels`: answers in a file or folder of any format, taken into the inbox of a run. It loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..data.readers.volumes import Volumes
from ..errors import InputError
from ..oracles.boxes import BoxWorklist
from ..oracles.formats import FORMATS, recognise
from ..oracles.formats.base import Asked, Plane, Reference, code, image_name
from ..oracles.formats.intake import Intake, kind_words
from ..oracles.inbox import inbox
from ..oracles.masks import MaskWorklist
from ..oracles.worklist import WorklistOracle
from .pixels_only import axis_of, files_of

if TYPE_CHECKING:
    from ..recipe import Recipe


def take(
    run: Path | str,
    file: Path | str,
    annotator: str,
    *,
    replace: bool = False,
    empty: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[int, int]:
    """Take in the answers of a file or folder of any format; (number of its answers, answers still missing).

    empty  an image of another tool's file with nothing drawn has nothing to draw; else it waits
    say    gets what a person should know beside

    The run must be locked. Errors: see the inboxes and `formats.intake`.
    """
    disk, file = RunDir(Path(run)), Path(file)
    name, content = recognise(file)
    box = inbox(disk)
    if name is None or not isinstance(box, WorklistOracle | MaskWorklist | BoxWorklist):
        return box.take(file, annotator, replace=replace)
    lists = box if isinstance(box, WorklistOracle) else box.lists
    asked = Asked(lists.wording.kind, lists.classes, partial(_volumes, disk, lists))
    if asked.kind not in FORMATS[name].KINDS:
        came = f"a file of {FORMATS[name].TOOL}"
        raise InputError(file, f"a file that holds {kind_words(asked.kind)}, as this run asks for", came)
    given = FORMATS[name].read(content, asked)
    return Intake(box, empty).take(file, given, annotator, replace=replace, say=say)


def _volumes(disk: RunDir, lists: WorklistOracle) -> dict[str, Reference]:
    """Name of a volume in files of tools -> the slices of it that may be answered."""
    data = recipe_of(disk).data
    files, volumes, manifest = files_of(data), dict[str, Reference](), lists.manifest
    _, ids = lists.open_query("masks")
    for sample in sorted(ids, key=lambda i: manifest.position[i]):
        index = manifest.position[sample]
        if (plane := plane_of(manifest, index, files, data.params)) is not None:
            reference = volumes.setdefault(code(manifest, plane.path), Reference({}, plane))
            reference.planes[plane.z] = image_name(manifest, index)
    return volumes


def recipe_of(disk: RunDir) -> Recipe:
    """The recipe of a run; InputError where it is that of a `hal.Loop`, whose images are the caller's own."""
    from ..recipe import of_run, parse

    plain = of_run(disk.path)
    if plain["data"]["source"] == "own":
        raise InputError(disk.path, "a run of a recipe", "one of a hal.Loop, whose images are the caller's own")
    return parse(plain, disk.path / "recipe.yaml")


def plane_of(manifest: Manifest, index: int, files: Path | None, params: Mapping[str, object]) -> Plane | None:
    """The slice of a volume in a file that a sample is; None for an image, or one that lies in no file."""
    path, z = manifest.paths[index], manifest.z[index]
    if z < 0 or files is None or not path.lower().endswith(Volumes.SUFFIXES):
        return None
    return Plane(files / path, path, axis_of(params), z)
