"""The draft of a recipe for a folder of whole-slide images, with a table of labels beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import InputError
from ..readers.tiffs import Tiffs
from ..samples import reason
from ..slides import VENDORS, Pyramid, is_pyramid, opened
from ..splits import by_first_folder, split_named
from ..study_labels import ROLES, Answers, Labels, by_folder, by_name
from ..tables import NONE, Line
from ..tiles import FINER, TILE, Cut, Grid, corner, names_of
from ..words import plain, whole
from .base import MAX_CLASSES, Description, counted, listing
from .columns import Roles, read_roles
from .groups import group_in_names
from .names import PATIENT
from .plan import Rows
from .table import best_table, labels_of, straddling, without_labels
from .tree import Tree, spread

PROBED = 20  # TIFF files that show whether all are slides
COUNTED = 12  # slides whose tiles are counted
ENOUGH = 0.5  # of the rows that name a slide here
TILES, EACH = (256, 128, 64, 32), 4  # sides, and how many tiles lie side by side in the smallest slide
MPP = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
BARCODE = r"TCGA-[^-/]+-[^-/]+"
CORNER = {"x": ("x", "left", "xmin", "x0"), "y": ("y", "top", "ymin", "y0")}


def slides_of(tree: Tree) -> list[str]:
    """The slides in a folder; none where it holds other images above all.

    TIFF files are slides where those that are tried are pyramids, or too large for images.
    """
    vendors = [file for file in tree.files if file.lower().endswith(VENDORS)]
    tiffs = [file for file in tree.files if file.lower().endswith((*Tiffs.SUFFIXES, ".btf"))]
    slides = vendors
    if tiffs and all(is_pyramid(tree.root / file) for file in spread(tiffs, PROBED)):
        slides = sorted([*vendors, *tiffs])
    others = {*tree.images} - {*slides}
    return slides if len(slides) >= len(others) else []


def describe_slides(tree: Tree, paths: Sequence[str]) -> Description:
    """A description of a folder of slides."""
    about = Description()
    pyramids = _headers(tree, paths, about)
    cut = _cut(pyramids, about)
    about.data = {"source": "slides", "root": str(tree.root), "sample": "tile", **about.data}
    names, group = names_of(paths), _group(paths, about)
    table = best_table(tree, partial(_named, names), "slide or tile", about)
    counted_paths = paths if table is not None and table.unit != "slide" else spread(list(paths), COUNTED)
    tiles = _tiles(tree, counted_paths, cut, about)
    exact, each = len(counted_paths) == len(paths), float(np.mean([len(found) for found in tiles.values()]))
    rows = [(path, n) for path, found in tiles.items() for n in found] if exact else [(path, "") for path in paths]
    size = f"of {cut.tile} px at {f'{cut.mpp} microns per pixel' if cut.mpp else 'level 0'}"
    many = f"{len(rows)} tiles" if exact else f"about {round(each * len(paths))} tiles"
    about.took.insert(0, ("images", f"{many} {size} in {len(tiles) if exact else len(paths)} slides"))
    answers = Answers.nothing((), len(rows))
    if table is not None:
        with about.answering():
            answers = _answers(table, names, rows, about) or answers
    elif folders := _class_folders(paths):
        answers = by_folder([path for path, _ in rows], None)
        about.data |= {"labels": "folders", "classes": list(answers.classes)}
        about.took.append(("classes", f"{len(folders)}, the folders: {counted(folders.elements())}"))
    else:
        about.took.append(("classes", "none: all tiles are unlabeled"))
        about.note("data.group", "table: labels.csv, columns: {slide: COLUMN, label: COLUMN}   # would name labels")
    if "split" not in about.data.get("columns", {}):
        answers = answers.with_splits(by_first_folder([path for path, _ in rows])[0])
    groups = _groups(rows, group, answers)
    splits = [answer["split"] for answer in answers.rows]
    if (parted := straddling(groups, splits)) and "split" not in about.data.get("columns", {}):
        expected = "all slides of a patient in one of the folders of splits"
        with about.answering():
            raise InputError(tree.root, expected, f"{parted[0]} in several")
    elif parted:
        splits = [None] * len(rows)
        column = about.data["columns"].pop("split")
        about.open.append(f"column {column} parts slides or patients: left, splits are drawn by group")
    answered = [min(answer["labels"], default=answer["label"]) >= 0 for answer in answers.rows]
    labels = [answer["label"] for answer in answers.rows]
    rows_of_slides = Rows(groups, splits, labels, answered, 1.0 if exact else each)
    return about.finish(rows_of_slides, [tree.root.name], "tiles", headers=("histology", "slides"))


def _headers(tree: Tree, paths: Sequence[str], about: Description) -> list[Pyramid]:
    """The headers of some slides; what cannot be read, and what else lies there, is said."""
    pyramids, problems = [], []
    for path in spread(list(paths), PROBED):
        try:
            with opened(tree.root / path) as slide:
                pyramids.append(slide.pyramid)
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {reason(error)}")
    if not pyramids:
        raise InputError(tree.root, "slides that can be read", problems[0])
    kinds = Counter(PurePosixPath(path).suffix.lower() for path in paths)
    about.saw.append(f"{len(paths)} slides: " + listing(f"{kind} {count}" for kind, count in kinds.most_common()))
    if problems:
        about.leave(f"slides that cannot be read, {len(problems)} of {len(pyramids) + len(problems)}: {problems[0]}")
        about.note("data.root", "on_error: skip   # would leave out slides that cannot be read")
    rest = [file for file in tree.files if file not in {*paths} and tree.root / file not in tree.tables]
    if rest:
        about.left.append(f"{len(rest)} files that are no slides ({rest[0]})")
    if unlike := sorted({f"*{PurePosixPath(f).suffix}" for f in rest if f.lower().endswith((*Tiffs.SUFFIXES, ".btf"))}):
        about.data["ignore"] = unlike
    return pyramids


def _cut(pyramids: Sequence[Pyramid], about: Description) -> Cut:
    """Resolution and side of tiles that fit all slides: 0.5 microns per pixel, or the next that the coarsest has."""
    known = [pyramid.mpp for pyramid in pyramids if pyramid.mpp]
    mpp = None
    if len(known) == len(pyramids):
        coarsest = max(map(max, known))
        mpp = next((step for step in MPP if step * FINER >= coarsest), None)
    scales = [mpp / max(p.mpp) if mpp else 1.0 for p in pyramids]
    least = min(min(p.levels[0]) / scale for p, scale in zip(pyramids, scales, strict=True))
    tile = next((side for side in TILES if EACH * side <= least), TILES[-1])
    if mpp:
        about.data |= {"tile": tile, "mpp": mpp}
        low, high = min(map(min, known)), max(map(max, known))
        have = f"{low:.3g}" if high < FINER * low else f"{low:.3g} to {high:.3g}"
        about.note(
            "data.mpp", f"microns per pixel of a tile: 0.25 is about 40x, 0.5 20x, 1 10x; the slides have {have}"
        )
    else:
        about.data |= {"tile": tile, "level": 0}
        lacking = len(pyramids) - len(known)
        about.open.append(
            f"{lacking} of {len(pyramids)} slides say no microns per pixel: data.level: 0 takes their pixels as they"
            " are, which is right where all were scanned alike; data.mpp: 0.5 needs it"
        )
    about.data["tissue"], about.side, about.channels = 0.5, tile, 3
    about.note("data.tile", "side of a tile in pixels; overlap: 32 would show as many again in the next tile")
    about.note("data.tissue", "least share of a tile that is tissue, by its saturation; 0 keeps all tiles")
    return Cut(tile, mpp, None if mpp else 0, 0, 0.5)


def _tiles(tree: Tree, paths: Sequence[str], cut: Cut, about: Description) -> dict[str, list[str]]:
    """Slide -> the corners of its tiles; of all tiles where none is tissue."""
    grids: dict[str, Grid] = {}
    kept: dict[str, list[int]] = {}
    for path in paths:
        try:
            with opened(tree.root / path) as slide:
                grids[path], kept[path] = cut.grid(slide.pyramid), cut.kept(slide)
        except (OSError, ValueError) as error:
            about.open.append(f"{path}: {reason(error)}; on_error: skip would leave it out")
    if not grids:
        raise InputError(tree.root, "slides that can be cut into tiles", about.open[-1])
    if empty := [path for path, numbers in kept.items() if not numbers]:
        about.left.append(f"{len(empty)} of {len(kept)} slides without a tile of tissue: {listing(empty, 3)}")
    if not any(kept.values()):
        about.data["tissue"] = 0
        about.open.append(
            "no tile is tissue by its saturation: data.tissue: 0 keeps all tiles; are the slides stained?"
        )
        kept = {path: list(range(grid.count)) for path, grid in grids.items()}
    return {path: [corner(grids[path], number) for number in numbers] for path, numbers in kept.items()}


def _group(paths: Sequence[str], about: Description) -> str:
    """A regular expression of patients in the paths, where several slides show one; else `slide`."""
    codes = [match.group() for path in paths if (match := re.search(BARCODE, path))]
    group = BARCODE if len(codes) == len(paths) > len({*codes}) else group_in_names(paths, Description(), volumes=False)
    about.data["group"] = "slide" if group == NONE else group
    if group == NONE:
        about.note("data.group", "tiles of a slide stay in one split; a regular expression on the path names a patient")
        if len(paths) > 1:
            about.open.append("no patients found: every slide counts as its own; set data.group if several show one")
    else:
        about.note("data.group", "slides of one patient stay in one split; group: slide takes each for its own")
    return group


def _groups(rows: Sequence[tuple[str, str]], group: str, answers: Answers) -> list[str]:
    own = [path if group == NONE else match.group() if (match := re.search(group, path)) else path for path, _ in rows]
    return [named or path for named, path in zip(answers.groups or [""] * len(own), own, strict=True)]


def _class_folders(paths: Sequence[str]) -> Counter[str]:
    """The first folders with their slides, where they may be classes: several slides in each."""
    folders = Counter(path.partition("/")[0] if "/" in path else "" for path in by_first_folder(paths)[1])
    named = all(name and not PATIENT.match(name) and not split_named(name) for name in folders)
    return folders if named and 1 < len(folders) <= MAX_CLASSES and min(folders.values()) > 1 else Counter()


@dataclass(frozen=True)
class _Table:
    path: Path
    header: Sequence[str]
    lines: Sequence[Line]
    unit: str
    columns: Mapping[str, str]
    count: int


def _named(names: Mapping[str, str], path: Path, header: Sequence[str], lines: Sequence[Line]) -> _Table | None:
    slides, starts = by_name({*names}), {*names.values()}
    for column in header:
        cells = [row[column] for _, row in lines]
        tiles = sum(bool((match := TILE.match(cell)) and match[1] in starts) for cell in cells)
        if tiles >= ENOUGH * len(cells):
            return _Table(path, header, lines, "tile", {"tile": column}, tiles)
        count = sum(cell.replace("\\", "/").removeprefix("./") in slides for cell in cells)
        if count and count >= ENOUGH * len({*cells}):
            corners = {
                role: next((name for name in header if plain(name) in words), "") for role, words in CORNER.items()
            }
            if all(name and all(whole(row[name]) is not None for _, row in lines) for name in corners.values()):
                return _Table(path, header, lines, "place", {"slide": column, **corners}, count)
            return _Table(path, header, lines, "slide", {"slide": column}, count)
    return None


def _answers(
    table: _Table, names: Mapping[str, str], rows: Sequence[tuple[str, str]], about: Description
) -> Answers | None:
    """The answers about tiles, and the keys of the recipe that read them."""
    about.saw.append(f"{table.path.name}: {len(table.lines)} rows; columns {listing(table.header, 20)}")
    unit = "slide" if table.unit == "slide" else "tile"
    about.took.append(("labels of", f"{table.path.name}, a row a {unit}, column {', '.join(table.columns.values())}"))
    roles: Roles = read_roles(table.header, table.lines, {*table.columns.values()}, about)
    if not (roles.label or roles.labels):
        about.left.append(without_labels(table.path, table.columns))
        return None
    if roles.group:
        about.data["group"] = "slide"
        about.comments["data.group"] = [f"slides of one {roles.group} (data.columns) stay in one split"]
        about.open = [line for line in about.open if not line.startswith("no patients found")]
    own = {"label": roles.label, "group": roles.group, "split": roles.split}
    about.data |= {
        "table": str(table.path),
        "columns": {**table.columns, **{role: name for role, name in own.items() if name}},
    }
    labels_of(table.path, table.lines, roles, about)
    keys = ("labels", "classes", "unknown", "separator", "none")
    settings = {key: about.data[key] for key in keys if key in about.data}
    answers = Labels(table.path, about.data["columns"], **settings, roles=(*ROLES, "group")).find(
        {
            "tile": [f"{names[path]}/{place}" for path, place in rows],
            "slide": [path for path, _ in rows],
            "place": [f"{path}/{place}" for path, place in rows],
        }
    )
    about.open += list(answers.notes)
    return answers
