"""The draft of a recipe for a folder of DICOM files, by their headers, and by a table of labels beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import InputError
from ..readers.dicom import GROUPS, segment_names
from ..splits import by_first_folder, split_named
from ..studies import Slice, Study, middle_frame, read_study
from ..study_labels import UNITS, Answer, Labels, by_folder, by_name, key_of, keys_of
from ..tables import NONE, Line
from .base import MAX_CLASSES, Description, counted, listing
from .columns import Roles, read_roles
from .names import PATIENT
from .plan import Rows
from .table import best_table, labels_of, straddling, without_labels
from .tree import Tree

UID = re.compile(r"[\d.]+")
ENOUGH = 0.5  # of the rows, or of the images, that a column has to name
KEYWORDS = ("PatientID", "Modality", "BodyPartExamined")
CHEST, HEAD, BELLY = ("CHEST", "THORAX", "LUNG"), ("HEAD", "BRAIN", "SKULL"), ("ABDOMEN", "PELVIS", "LIVER")
OF_MODALITY = {
    "CT": "ct",
    "MR": "mr",
    "US": "ultrasound",
    "IVUS": "ultrasound",
    "SM": "histology",
    "GM": "microscopy",
    "OP": "fundus",
    "OPT": "oct",
    "MG": "mammography",
    "ES": "endoscopy",
    "DMS": "dermoscopy",
}
"""The modality of a recipe by the attribute Modality."""


def describe_dicom(tree: Tree) -> Description:
    """A description of a folder whose images are DICOM files."""
    about = Description()
    study, sample = _study(tree, about)
    parts = [part for series in study.series for part in series.slices]
    if sample == "file":
        parts = [part for part in parts if part.frame == middle_frame(part)]
    if not parts:
        first = (
            [f"{len(study.failures)} that cannot be read ({': '.join(study.failures[0])})"] if study.failures else []
        )
        came = "; ".join([*study.notes, *first])
        raise InputError(tree.root, "DICOM files with images", came)
    _say(tree, study, parts, about)
    about.data = {"source": "dicom", "root": str(tree.root), "sample": sample}
    if sample == "slice":
        about.note("data.sample", "series: one sample a series, its middle slice; slices: 16 takes 16 in the middle")
    keyword = _group(parts, about)
    _window(parts, about)
    paths = [part.path for part in parts]
    of_folders, below = by_first_folder(paths)
    answers = [Answer(label=-1, labels=(), split=None) for _ in parts]
    masked = _masks(tree, study, about)
    table = None if masked else best_table(tree, partial(_named, parts), "file, series, study or patient", about)
    if table is not None:
        with about.answering():
            answers = _answers(table, parts, about) or answers
    elif not masked and (folders := _class_folders(below, parts, keyword)):
        found = by_folder(paths, None)
        answers = list(found.rows)
        about.data |= {"labels": "folders", "classes": list(found.classes)}
        about.took.append(("classes", f"{len(folders)}, the folders: {counted(folders.elements())}"))
        about.note("data.classes", "without labels: folders no folder is a class")
    elif not masked:
        about.took.append(("classes", "none: all images are unlabeled; data.table would name a table of labels"))
    about.sized([tree.root / path for path in dict.fromkeys(part.path for part in parts)])
    columns: dict[str, str] = about.data.get("columns", {})
    column, groups = columns.get("split"), [_key(part, keyword) for part in parts]
    splits = [answer["split"] for answer in answers] if column else of_folders
    if parted := straddling(groups, splits):
        splits = [None] * len(parts)
        about.data["columns"] = {**columns, "split": NONE}
        what = f"column {column} parts" if column else f"the folders {listing(_first_folders(paths))} part"
        about.open.append(f"{what} {len(parted)} groups of {keyword}: left, splits are drawn by group")
    elif not column and of_folders[0] is not None:
        about.note("data.root", f"splits are {listing(_first_folders(paths))}; columns: {{split: none}} draws others")
    rows = Rows(
        groups,
        splits,
        [answer["label"] for answer in answers],
        [
            part.facts.series in masked or min(answer["labels"], default=answer["label"]) >= 0
            for part, answer in zip(parts, answers, strict=True)
        ],
    )
    return about.finish(rows, [tree.root.name], headers=_modality(parts, about))


def _first_folders(paths: Sequence[str]) -> list[str]:
    return sorted({path.partition("/")[0] for path in paths})


def _class_folders(below: Sequence[str], parts: Sequence[Slice], keyword: str) -> Counter[str]:
    """The first folders with their images, where they may be classes: several groups in each, and none in two.

    below  the path of each of the images (N,) below the folder of its split, if any
    """
    folders = Counter(path.partition("/")[0] if "/" in path else "" for path in below)
    groups = {(path.partition("/")[0], _key(part, keyword)) for path, part in zip(below, parts, strict=True)}
    several = Counter(folder for folder, _ in groups)
    named = all(folder and not PATIENT.match(folder) and not UID.fullmatch(folder) for folder in folders)
    apart = len({group for _, group in groups}) == len(groups)
    fits = named and apart and 1 < len(folders) <= MAX_CLASSES and min(several.values()) > 1
    return folders if fits and not any(map(split_named, folders)) else Counter()


def _study(tree: Tree, about: Description) -> tuple[Study, str]:
    """The series, and the unit that a sample can be: a file where slices have no order."""
    try:
        return read_study(tree.root, tree.dicom, KEYWORDS), "slice"
    except InputError as error:
        about.open.append(f"slices cannot be put in order, so that each file is a sample: {error}")
        return read_study(tree.root, tree.dicom, KEYWORDS, ordered=False), "file"


def _say(tree: Tree, study: Study, parts: Sequence[Slice], about: Description) -> None:
    volumes = sum(series.ordered and len(series.slices) > 1 for series in study.series)
    kinds = Counter(part.facts.kind for part in parts)
    about.saw.append(f"{len(tree.dicom)} DICOM files: " + listing(f"{kind} {n}" for kind, n in kinds.items()))
    unit = "slices" if volumes else "images"
    about.took.append(("images", f"{len(parts)} {unit} of {len(study.series)} series, {volumes} of them in order"))
    about.left += list(study.notes)
    if study.failures:
        path, why = study.failures[0]
        about.leave(f"{len(study.failures)} DICOM files that cannot be read ({path}: {why})")
        about.note("data.root", "on_error: skip   # would leave out files that cannot be read")
    others = [file for file in tree.files if file not in set(tree.dicom) and tree.root / file not in tree.tables]
    if others:
        about.left.append(f"{len(others)} files of other kinds ({others[0]})")


def _masks(tree: Tree, study: Study, about: Description) -> set[str]:
    """The series that have a segmentation; the classes are the labels of its segments, one for each number."""
    names: dict[int, str] = {}
    for path, _ in study.masks:
        for number, name in segment_names(tree.root / path).items():
            if names.setdefault(number, name) != name:
                raise InputError(tree.root / path, f"{names[number]} for segment {number}, as in others", name)
    if names:
        about.task = "segmentation"
        about.data |= {"masks": str(tree.root), "classes": ["background", *(names[k] for k in sorted(names))]}
        if sorted(names) != list(range(1, len(names) + 1)):
            about.data["mask_values"] = {0: "background", **names}
        listed = ", ".join(f"{number} {names[number]}" for number in sorted(names))
        about.took.append(("masks", f"{len(study.masks)} segmentations: {listed}"))
        about.left += [f"{table.name}: the masks are the labels" for table in tree.tables]
    return {facts.series for _, facts in study.masks}


def _key(part: Slice, keyword: str) -> str:
    if keyword == "PatientID":
        return part.facts.values[0]
    return {"StudyInstanceUID": part.facts.study, "SeriesInstanceUID": part.facts.series}.get(keyword, part.path)


def _group(parts: Sequence[Slice], about: Description) -> str:
    """The first keyword that every header has a value for."""
    keyword = next((keyword for keyword in GROUPS if all(_key(part, keyword) for part in parts)), NONE)
    about.data["group"] = keyword if keyword in ("PatientID", NONE) else {"tag": keyword}
    about.took.append(("groups", f"{len({_key(part, keyword) for part in parts})}, {keyword} of the headers"))
    if keyword != "PatientID":
        empty = sum(not _key(part, "PatientID") for part in parts)
        about.open.append(f"PatientID is empty in {empty} of {len(parts)} headers: groups are by {keyword}")
    else:
        about.note("data.group", "{tag: StudyInstanceUID} would take each study for a group of its own")
    return keyword


def _bodies(parts: Sequence[Slice]) -> set[str]:
    return {part.facts.values[2].upper() for part in parts}


def _window(parts: Sequence[Slice], about: Description) -> None:
    """Of CT a window by the part of the body; of others that of the header or the series stays."""
    if _most(parts) != "CT":
        about.note("data.group", "window: [low, high] would say which values become black and white")
        return
    bodies = _bodies(parts)
    windows = (("lung", CHEST), ("brain", HEAD), ("soft_tissue", BELLY))
    window = next((name for name, words in windows if bodies and bodies <= set(words)), "soft_tissue")
    about.data["window"] = window
    about.note("data.window", "lung, bone, brain, soft_tissue, mediastinum, or [low, high] in HU")
    if window == "soft_tissue" and not bodies <= set(BELLY):
        about.open.append("data.window: CT of no one known part of the body, for which soft_tissue stands there")


def _most(parts: Sequence[Slice]) -> str:
    """The most frequent attribute Modality."""
    return Counter(part.facts.values[1] for part in parts).most_common(1)[0][0]


def _modality(parts: Sequence[Slice], about: Description) -> tuple[str, str]:
    """The modality of the recipe by the headers, and what says it; two empty texts where nothing does."""
    most, bodies = _most(parts), _bodies(parts)
    modality = OF_MODALITY.get(most, "")
    if most in ("CR", "DX", "RG") and bodies:
        modality = "chest_xray" if bodies <= set(CHEST) else "generic"
    kinds = Counter(part.facts.values[1] or "none" for part in parts)
    if len(kinds) > 1:
        about.open.append(f"several modalities in the headers: {listing(f'{k} {n}' for k, n in kinds.most_common())}")
    return modality, f"{most} of the headers"


@dataclass(frozen=True)
class _Table:
    path: Path
    header: Sequence[str]
    lines: Sequence[Line]
    unit: str
    column: str
    count: int


def _named(parts: Sequence[Slice], path: Path, header: Sequence[str], lines: Sequence[Line]) -> _Table | None:
    """A table with the column of the finest unit that it names."""
    for unit in UNITS:
        keys = Counter(key for part in parts if (key := key_of(part, unit, patient=0)))
        names = by_name(set(keys)) if unit == "file" else dict(zip(keys, keys, strict=True))
        for column in header:
            cells = {row[column] for _, row in lines} - {""}
            hits = {names[cell] for cell in cells if cell in names}
            images = sum(keys[key] for key in hits)
            if hits and (len(hits) >= ENOUGH * len(cells) or images >= ENOUGH * len(parts)):
                return _Table(path, header, lines, unit, column, images)
    return None


def _answers(table: _Table, parts: Sequence[Slice], about: Description) -> list[Answer]:
    """The answers about each image, and the keys of the recipe that read them."""
    about.saw.append(f"{table.path.name}: {len(table.lines)} rows; columns {listing(table.header, 20)}")
    about.took.append(("labels of", f"{table.path.name}, a row a {table.unit}, column {table.column}"))
    roles: Roles = read_roles(table.header, table.lines, {table.column}, about)
    if not (roles.label or roles.labels):
        about.left.append(without_labels(table.path, {table.unit: table.column}))
        return []
    columns = {table.unit: table.column, "label": roles.label, "split": roles.split}
    about.data |= {"table": str(table.path), "columns": {role: name for role, name in columns.items() if name}}
    labels_of(table.path, table.lines, roles, about)
    keys = ("labels", "classes", "unknown", "separator", "none")
    settings = {key: about.data[key] for key in keys if key in about.data}
    answers = Labels(table.path, about.data["columns"], **settings).find(keys_of(parts, patient=0))
    about.open += list(answers.notes)
    return list(answers.rows)
