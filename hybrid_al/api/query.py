"""`query`: an open query as files of a tool for annotation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from ..assemble import Project, open_project
from ..core.progress import Progress
from ..core.registry import component, parse_spec
from ..core.rundir import RunDir
from ..core.types import AnnotationKind, FloatArray
from ..data.boxes import boxes
from ..data.display import picture
from ..data.own_size import Values, own_labels
from ..errors import InputError, UnknownName
from ..oracles import ORACLES
from ..oracles.boxes import BoxWorklist
from ..oracles.formats import FORMATS
from ..oracles.formats.base import Proposal, Sheet
from ..oracles.formats.intake import kind_words
from ..oracles.formats.sheets import sheet_of
from ..oracles.inbox import inbox, lists_of, owed
from ..oracles.label_studio import LabelStudio, lacks_proposal
from ..oracles.masks import MaskWorklist
from ..oracles.readers import reading_of
from ..oracles.worklist import WorklistOracle
from ..recipe import of_run
from ..report.overview import answers_of, go_on
from .answers import dicom_of, plane_of, recipe_of
from .outputs import check_outside, new_folder
from .pixels_only import files_of

DICOM = "dicom_seg"
PROPOSED = ("class", "classes", "mask", "box")
"""Kinds of answers that a model can propose."""


def write(
    run: Path | str,
    *,
    format: str,
    out: Path | str,
    reader: str | None = None,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
) -> tuple[Path, int]:
    """Write what is not answered yet of the open query of a run for a tool into a new folder; (README, images).

    Where a round is committed its model proposes answers, but to blind readers.

    reader  whose part of the query, where several readers share the run

    Errors: an unknown format, or one that cannot hold the
    answers; no open query, or one that is answered; data that is another than that of the run; `out` among its images.
    """
    disk = RunDir(Path(run))
    if format not in FORMATS:
        raise UnknownName("--format", format, FORMATS)
    box = inbox(disk)
    lists = lists_of(box)
    if lists is None:
        raise InputError(run, "a run whose answers are classes, masks or boxes", type(box).__name__)
    kind = lists.wording.kind
    if kind not in FORMATS[format].KINDS:
        able = ", ".join(name for name, one in FORMATS.items() if kind in one.KINDS)
        raise InputError("--format", f"one that holds {kind_words(kind)}, as this run asks for: {able}", format)
    r = len(disk.rounds())
    ids = disk.query_ids(r)
    if ids is None:
        raise InputError(run, "a run with an open query", f"none in round {r}; {go_on(disk)}")
    shares, reading = owed(disk, r), reading_of(disk)
    if shares is None or reading is None:
        answered = answers_of(disk, r)
        rows = [lists.manifest.position[i] for i in dict.fromkeys(ids) if i not in answered]
    else:
        rows = [lists.manifest.position[i] for i in shares.get(reading.check("--reader", reader), ())]
    if not rows:
        raise InputError(
            run,
            f"a query with images to answer{f' for {reader}' * bool(reader)}",
            f"one that is answered; {go_on(disk)}",
        )
    if (files := files_of(recipe_of(disk).data)) is not None:
        check_outside(Path(out), files)
    with new_folder(Path(out)) as folder:
        sheet = _sheet(disk, r, lists, rows, format, device, progress, proposes=not (reading and reading.blind))
        FORMATS[format].write(sheet, folder)
        readme = _readme(sheet, format, disk, reader or "NAME")
        (folder / "README.txt").write_text(readme, encoding="utf-8")
    return Path(out) / "README.txt", len(rows)


def propose(run: Path | str, device: str = "cpu") -> int:
    """Give the model's proposals to the tasks of an open query in Label Studio that have none; to how many.

    Nothing where the oracle of the run is another one, or no model is trained yet. ServerProblem as the server says.
    """
    disk = RunDir(Path(run))
    name, settings = parse_spec(of_run(disk.path)["oracle"])
    oracle, box, r = component(ORACLES, "oracle", name, settings), inbox(disk), len(disk.rounds())
    ids = disk.query_ids(r)
    if not isinstance(oracle, LabelStudio) or not r or ids is None:
        return 0
    lists = box.lists if isinstance(box, MaskWorklist | BoxWorklist) else cast(WorklistOracle, box)
    answered = answers_of(disk, r)
    rows = [lists.manifest.position[i] for i in dict.fromkeys(ids) if i not in answered]
    project = oracle.find(disk)
    tasks = project.tasks()
    if not any(lacks_proposal(one) for one in tasks):
        return 0
    sheet = _sheet(disk, r, lists, rows, "label_studio", device, lambda *_: None)
    return project.propose(sheet, tasks)


def _sheet(
    disk: RunDir,
    r: int,
    lists: WorklistOracle,
    rows: list[int],
    format: str,
    device: str,
    progress: Progress,
    *,
    proposes: bool = True,
) -> Sheet:
    project, manifest = open_project(recipe_of(disk), run_dir=disk.path, device=device), lists.manifest
    if project.dataset.manifest.fingerprint != manifest.fingerprint:
        raise InputError(disk.path, "the data that this run began with", "other data")
    values = {}
    if project.dataset.masks is not None:
        mask_values = cast(Mapping[object, object], project.recipe.data.params.get("mask_values") or {})
        values = Values.of(mask_values, lists.classes).named(lists.classes)
    files, data = files_of(project.recipe.data), project.recipe.data
    return sheet_of(
        disk,
        r,
        lists,
        rows,
        partial(picture, project.dataset),
        values=values,
        proposals=_proposals(disk, project, lists.wording.kind, rows, device) if proposes else {},
        plane=lambda i: plane_of(manifest, i, files, data.params),
        instance=lambda i: dicom_of(manifest, i, files) if format == DICOM else None,
        step=lambda count: progress(count, len(rows), "reading images"),
    )


def _proposals(
    disk: RunDir, project: Project, kind: AnnotationKind, rows: list[int], device: str
) -> dict[int, Proposal]:
    """What the last model of the run says of images."""
    if kind not in PROPOSED or not disk.rounds():
        return {}
    from .deployed import model_of_run

    model, proposals = model_of_run(disk.path, device), {}
    for block, probs in model.of_store(project.store(), np.asarray(rows, dtype=np.int64)):
        for i, values in zip(block.tolist(), probs, strict=True):
            size = project.dataset.read(i).shape[:2] if values.ndim == 3 else (0, 0)
            proposals[i] = _proposal(kind, model.classes, values, *size)
    return proposals


def _proposal(kind: AnnotationKind, classes: tuple[str, ...], probs: FloatArray, height: int, width: int) -> Proposal:
    if kind == "class":
        return Proposal((classes[int(probs.argmax())],), score=float(probs.max()))
    if kind == "classes":
        return Proposal(tuple(c for c, p in zip(classes, probs.tolist(), strict=True) if p >= 0.5))
    labels, score = own_labels(probs, height, width), float(probs.max(axis=0).mean())
    if kind == "mask":
        return Proposal(labels=labels, score=score)
    rows = [
        (classes[c], (float(left), float(top), float(right), float(bottom)))
        for c, top, left, bottom, right in boxes(labels).tolist()
    ]
    return Proposal(boxes=tuple(rows), score=score)


def _readme(sheet: Sheet, format: str, disk: RunDir, reader: str) -> str:
    kind, take = FORMATS[format], f"hybrid-al labels {shlex.quote(str(disk.path))} FILE_OR_FOLDER"
    lines = [
        f"{len(sheet.items)} images of round {sheet.round} of {sheet.run}, for {kind.TOOL}.",
        f"Asked for: {kind_words(sheet.kind)}. Labels: {', '.join(sheet.labels)}.",
        *(f"{k}. {step}" for k, step in enumerate(kind.STEPS, 1)),
        f"{len(kind.STEPS) + 1}. {take} --annotator {shlex.quote(reader)}",
        "Keep the names of the images: they say which sample of which run an answer is about.",
    ]
    if any(item.asked for item in sheet.items):
        lines.append("Only what is white in the image of the same name in asked/ is read of a mask.")
    return "\n".join(lines) + "\n"
