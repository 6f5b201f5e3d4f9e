"""`query`: an open query as files of a tool for annotation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from ..assemble import Project, open_project
from ..core.rundir import RunDir
from ..core.types import AnnotationKind, FloatArray
from ..data.answers import file_name, to_png
from ..data.boxes import boxes
from ..data.own_size import Values, own_labels
from ..errors import InputError, UnknownName
from ..oracles.boxes import BoxWorklist
from ..oracles.formats import FORMATS
from ..oracles.formats.base import Item, Proposal, Sheet, image_name
from ..oracles.formats.intake import kind_words
from ..oracles.inbox import inbox
from ..oracles.masks import ASKED, MaskWorklist
from ..oracles.worklist import WorklistOracle
from ..report.overview import answers_of, go_on
from ..stage0 import Progress
from ..tasks.base import picture
from .answers import plane_of, recipe_of
from .outputs import new_folder
from .pixels_only import files_of

PROPOSED = ("class", "classes", "mask", "box")
"""Kinds of answers that a model can propose."""


def write(
    run: Path | str,
    *,
    format: str,
    out: Path | str,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
) -> tuple[Path, int]:
    """Write what is not answered yet of the open query of a run for a tool into a new folder; (README, images).

    Where a round is committed its model proposes answers. Errors: an unknown format, or one that cannot hold the
    answers; no open query, or one that is answered; data that is another than that of the run.
    """
    disk = RunDir(Path(run))
    if format not in FORMATS:
        raise UnknownName("--format", format, FORMATS)
    box = inbox(disk)
    lists = (
        box if isinstance(box, WorklistOracle) else box.lists if isinstance(box, MaskWorklist | BoxWorklist) else None
    )
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
    answered = answers_of(disk, r)
    rows = [lists.manifest.position[i] for i in dict.fromkeys(ids) if i not in answered]
    if not rows:
        raise InputError(run, "a query with images to answer", f"one that is answered; {go_on(disk)}")
    with new_folder(Path(out)) as folder:
        sheet = _sheet(disk, r, kind, lists, rows, device, progress)
        FORMATS[format].write(sheet, folder)
        readme = _readme(sheet, format, disk)
        (folder / "README.txt").write_text(readme, encoding="utf-8")
    return Path(out) / "README.txt", len(rows)


def _sheet(
    disk: RunDir, r: int, kind: AnnotationKind, lists: WorklistOracle, rows: list[int], device: str, progress: Progress
) -> Sheet:
    project, manifest = open_project(recipe_of(disk), run_dir=disk.path, device=device), lists.manifest
    if project.dataset.manifest.fingerprint != manifest.fingerprint:
        raise InputError(disk.path, "the data that this run began with", "other data")
    values = {}
    if project.dataset.masks is not None:
        mask_values = cast(Mapping[object, object], project.recipe.data.params.get("mask_values") or {})
        values = Values.of(mask_values, lists.classes).named(lists.classes)
    proposals = _proposals(disk, project, kind, rows, device)
    files, items = files_of(project.recipe.data), []
    reasons = _reasons(disk, r)
    for k, i in enumerate(rows):
        height, width = project.dataset.read(i).shape[:2]
        asked = disk.round_path(r) / ASKED / file_name(i)
        items.append(
            Item(
                i, manifest.ids[i], image_name(manifest, i), (height, width), partial(_png, project, i),
                reason=reasons.get(manifest.ids[i], ""), asked=asked if asked.is_file() else None,
                plane=plane_of(manifest, i, files, project.recipe.data.params), proposal=proposals.get(i),
            )
        )  # fmt: skip
        progress(k + 1, len(rows), "reading images")
    facts = disk.facts()
    return Sheet(f"{facts['name']}-s{facts['seed']}", r, kind, lists.classes, tuple(items), values)


def _png(project: Project, index: int) -> bytes:
    pixels = picture(project.dataset, index)
    return to_png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _reasons(disk: RunDir, r: int) -> dict[str, str]:
    import csv

    with (disk.round_path(r) / "query.csv").open(newline="", encoding="utf-8") as rows:
        return {row["id"]: row["reason"] for row in csv.DictReader(rows)}


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


def _readme(sheet: Sheet, format: str, disk: RunDir) -> str:
    kind = FORMATS[format]
    lines = [
        f"{len(sheet.items)} images of round {sheet.round} of {sheet.run}, for {kind.TOOL}.",
        f"Asked for: {kind_words(sheet.kind)}. Labels: {', '.join(sheet.labels)}.",
        *(f"{k}. {step}" for k, step in enumerate(kind.STEPS, 1)),
        f"{len(kind.STEPS) + 1}. hybrid-al labels {disk.path} FILE_OR_FOLDER --annotator NAME",
        "Keep the names of the images: they say which sample of which run an answer is about.",
    ]
    if any(item.asked for item in sheet.items):
        lines.append("Only what is white in the image of the same name in asked/ is read of a mask.")
    return "\n".join(lines) + "\n"
