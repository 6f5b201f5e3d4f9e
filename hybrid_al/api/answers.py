"""`labels`: answers in a file or folder of any format, taken into the inbox of a run. It loads no torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..core.types import IGNORE
from ..data.display import picture
from ..data.readers.volumes import Volumes, load_volume
from ..errors import InputError, reading
from ..oracles.boxes import BoxWorklist
from ..oracles.formats import FORMATS, recognise
from ..oracles.formats.base import UNKNOWN, Asked, Instance, Plane, Reference, image_name, volume_name
from ..oracles.formats.content import HEAD
from ..oracles.formats.dicom_seg import instance_of, is_dicom
from ..oracles.formats.intake import GIVEN_OUT, Intake, kind_words
from ..oracles.formats.voxels import FLAT
from ..oracles.inbox import inbox, lists_of
from ..oracles.ledger import WITHDRAWN
from ..oracles.masks import MaskWorklist, image_size
from ..oracles.worklist import WorklistOracle, csv_rows
from .pixels_only import axis_of, files_of

if TYPE_CHECKING:
    from ..recipe import Recipe

AnyInbox = WorklistOracle | MaskWorklist | BoxWorklist


def take(
    run: Path | str,
    file: Path | str,
    annotator: str,
    *,
    replace: bool = False,
    empty: bool = False,
    unasked: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[int, int]:
    """Take in the answers of a file or folder of any format; (number of its answers, answers still missing).

    empty    an image of another tool's file with nothing drawn has nothing to draw; else it waits
    unasked  answers about images of the pool that nobody was asked about are taken too
    say      gets what a person should know beside

    The run must be locked. Errors: see the inboxes and `formats.intake`.
    """
    disk, file = RunDir(Path(run)), Path(file)
    name, content = recognise(file)
    box = inbox(disk)
    if not isinstance(box, WorklistOracle | MaskWorklist | BoxWorklist):
        return box.take(file, annotator, replace=replace)
    if unasked:
        box = _open_to_all(disk, box)
    if name is None:
        return box.take(file, annotator, replace=replace)
    lists = box if isinstance(box, WorklistOracle) else box.lists
    values = {v: UNKNOWN if c == IGNORE else lists.classes[c] for v, c in table_of(box).items()}
    asked = Asked(
        lists.wording.kind,
        lists.classes,
        values,
        partial(_reference, disk, lists),
        say,
        partial(_instances, disk, lists),
    )
    if asked.kind not in FORMATS[name].KINDS:
        came = f"a file of {FORMATS[name].TOOL}"
        raise InputError(file, f"a file that holds {kind_words(asked.kind)}, as this run asks for", came)
    with reading(file, f"answers as they come from {FORMATS[name].TOOL}"):
        given = FORMATS[name].read(content, asked)
    return Intake(box, empty).take(file, given, annotator, replace=replace, say=say)


def take_back(run: Path | str, file: Path | str, annotator: str) -> tuple[int, int]:
    """Withdraw the answers of a person about the ids in a CSV; (their number, answers still missing).

    An image of the open query waits again; one of an earlier query has no label any more. The run must be locked.
    InputError: an id about which that person has no answer.
    """
    disk, file = RunDir(Path(run)), Path(file)
    if (lists := lists_of(inbox(disk))) is None:
        raise InputError(run, "a run whose answers are classes, masks or boxes", "another one")
    round, standing = len(disk.rounds()), lists.standing(annotator)
    ids = dict[str, None]()
    for line, row in csv_rows(file, ("id",)):
        index = lists.manifest.find(row["id"])
        if index not in standing:
            raise InputError(f"{file} line {line}", f"an id that {annotator} answered", repr(row["id"]))
        ids[lists.manifest.ids[index]] = None
    if not ids:
        raise InputError(file, "at least one id", "none")
    return len(ids), lists.store(file, round, dict.fromkeys(ids, WITHDRAWN), annotator)


def _open_to_all(disk: RunDir, box: AnyInbox) -> AnyInbox:
    """An inbox that also takes answers about images of the pool that nobody was asked about."""
    if isinstance(box, WorklistOracle):
        return dataclasses.replace(box, unasked=_no_picture)
    from ..assemble import open_project

    project = open_project(recipe_of(disk), run_dir=disk.path)
    project.check_run()
    if project.task.regional:
        raise InputError("--unasked", "a run that asks about whole images", f"{disk.path}, which asks about regions")
    return dataclasses.replace(box, lists=dataclasses.replace(box.lists, unasked=partial(picture, project.dataset)))


def _no_picture(index: int) -> npt.NDArray[np.uint8]:
    raise ValueError(f"no picture of sample {index}: answers are words")


def table_of(box: object) -> Mapping[int, int]:
    """Value in a mask file -> class, the background first; empty where answers are no masks."""
    return dict(sorted(box.table.items(), key=lambda pair: pair[1])) if isinstance(box, MaskWorklist) else {}


def _reference(disk: RunDir, lists: WorklistOracle, name: str) -> Reference:
    """See `Asked.reference`: by the code in a name."""
    manifest, codes = lists.manifest, re.findall(r"-([0-9a-f]{8})(?![0-9a-f])", name)
    _, ids = lists.open_query("masks")
    data = recipe_of(disk).data if codes and any(z >= 0 for z in manifest.z) else None
    files = None if data is None else files_of(data)
    images: dict[int, str] = {}
    volume: Plane | None = None
    for sample in ids:
        index = manifest.position[sample]
        plane = None if data is None else plane_of(manifest, index, files, data.params)
        if plane is None and any(f"{index:06d}-{one}" == image_name(manifest, index) for one in codes):
            height, width = image_size(lists, index)
            return Reference((width, height, 1), FLAT, {0: image_name(manifest, index)})
        if plane is not None and any(plane.name.endswith(f"-{one}") for one in codes):
            volume = plane
            images[plane.z] = image_name(manifest, index)
    if volume is None:
        raise ValueError(f"the name of no image of the open query or of an earlier one ({GIVEN_OUT})")
    image = load_volume(volume.file)
    return Reference(tuple(image.shape[:3]), image.affine, dict(sorted(images.items())), volume.axis)


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
    return Plane(files / path, volume_name(manifest, path), axis_of(params), z)


def dicom_of(manifest: Manifest, index: int, files: Path | None) -> Instance | None:
    """The DICOM image that a sample is; None where it is none, or lies in no file."""
    file = None if files is None else files / manifest.paths[index]
    if file is None or not file.is_file():
        return None
    with file.open("rb") as stream:
        if not is_dicom(stream.read(HEAD)):
            return None
    return instance_of(file, max(manifest.z[index], 0))


def _instances(disk: RunDir, lists: WorklistOracle) -> dict[Instance, str]:
    """See `Asked.instances`."""
    manifest, files = lists.manifest, files_of(recipe_of(disk).data)
    rows = [manifest.position[sample] for sample in lists.open_query("masks")[1]]
    found = {i: dicom_of(manifest, i, files) for i in rows}
    return {instance: image_name(manifest, i) for i, instance in found.items() if instance is not None}
