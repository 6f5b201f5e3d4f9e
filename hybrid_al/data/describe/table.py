"""The draft of a recipe for a table that names images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from ...core.manifest import Split
from ...errors import InputError
from ..paths import is_file
from ..splits import split_named
from ..tables import NONE, Line, read_table, usual_column
from ..words import NOTHING, Cell, class_numbers, label_rows, missing_marks, normal
from .base import Description, counted, listing
from .columns import MARKS, Roles, read_roles
from .groups import group_in_names, groups_of, say_groups
from .names import role_of
from .places import UNSAFE, Place, by_name, find_outside, find_place
from .plan import Rows
from .tree import READERS, Tree

NOW_KNOWN = "; then oracle: simulated, and here holdout: {val: 0.1, test: 0.2}"


@dataclass(frozen=True)
class Listing:
    """A table, where the files lie that it names, and how many of its rows name one; `answers`: it has labels."""

    table: Path
    header: Sequence[str]
    lines: Sequence[Line]
    place: Place
    files: Sequence[str]
    count: int
    answers: bool


class Naming(Protocol):
    """A table that names images, `count` of them."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def count(self) -> int:
        """How many it names."""
        ...


Named = TypeVar("Named", bound=Naming)


def best_table(
    tree: Tree, named: Callable[[Path, Sequence[str], Sequence[Line]], Named | None], what: str, about: Description
) -> Named | None:
    """The table that names most, as `named` tells from path, header and lines; all others are left, with a remark."""
    found = list[Named]()
    for path in tree.tables:
        try:
            header, lines = read_table(path)
        except InputError as error:
            about.left.append(f"{path.name}: not read ({error})")
            continue
        table = named(path, header, lines)
        if table is None:
            about.left.append(f"{path.name}: names no {what} (columns {listing(header)})")
        else:
            found.append(table)
    best = max(found, key=lambda table: table.count, default=None)
    about.left += [f"{table.path.name}: a recipe reads one table" for table in found if table is not best]
    return best


def listing_of(table: Path, tree: Tree) -> Listing | str:
    """A table that names images in a folder, or why it is none."""
    try:
        header, lines = read_table(table)
    except InputError as error:
        return f"not read ({str(error).removeprefix(str(table)).lstrip(',: ')})"
    rows = [row for _, row in lines]
    if READERS.stem(header[0]) != header[0] or any(is_file(table.parent / name) for name in header):
        return f"line 1: expected the names of columns, got {', '.join(header)}"
    file_of = {normal(file): file for file in tree.images}
    place = find_place(header, rows, list(file_of)) or find_outside(header, rows, table.parent)
    if place is None:
        columns = f"(columns {listing(header)}){_zeros(rows, file_of)}"
        return f"no column names images that exist here, each in one place {columns}"
    if place.outside is None:
        paths = [place.file(row[place.column].strip(), file_of) for row in rows]
        files, count = [file_of.get(path, path) for path in paths], sum(path in file_of for path in paths)
    else:
        files = [str(place.outside / row[place.column].strip()) for row in rows]
        count = sum(is_file(file) for file in files)
    roles = read_roles(header, lines, {place.column}, Description())
    answers = bool(roles.label or roles.labels or any(role_of(name) == "mask" for name in header))
    return Listing(table, header, lines, place, files, count, answers)


def _zeros(rows: Sequence[Mapping[str, str]], files: Iterable[str]) -> str:
    """A remark on a column of numbers that name files once zeros stand before them; "" without one."""
    names = {
        stem.lstrip("0"): PurePosixPath(f).name
        for f in files
        if (stem := READERS.stem(PurePosixPath(f).name)).isdigit()
    }
    for column in rows[0] if rows and names else ():
        cells = [READERS.stem(row[column].strip()) for row in rows]
        if all(cell.isdigit() and cell.lstrip("0") in names for cell in cells):
            name = names[cells[0].lstrip("0")]
            return f"; column {column} lost zeros ({cells[0]} for {name}): write them as text, as the files are called"
    return ""


def describe_table(found: Listing, tree: Tree, *, alone: bool = False) -> Description:
    """A description of a table; `alone`: what else lies in its folder is not spoken of."""
    about = Description()
    table, place = found.table, found.place
    about.saw.append(f"{table.name}: {len(found.lines)} rows; columns {listing(found.header, 20)}")
    folders = {folder or "./": len(images) for folder, images in tree.folders().items()}
    if not alone:
        masks = f", {len(tree.masks)} masks" if tree.masks else ""
        about.saw.append(f"{len(tree.images)} images{masks}: {_counts(folders)}")
        about.pass_over(tree)
    mask = _mask_template(found, tree, about)
    roles = read_roles(found.header, found.lines, {place.column, _column_of(mask)}, about)
    if mask and (roles.label or roles.labels):
        about.open.append(f"masks are there too ({mask}): this recipe classifies; see its comments for masks")
        about.note("data.columns", f"for masks: task: segmentation, learner: finetune, mask: {mask!r} and no label")
    mask_files = [] if roles.label or roles.labels or not mask else _masks(found, tree, mask)
    about.data = {"source": "csv", "root": str(table), "group": roles.group or "none"}
    columns = _path(found, about, alone=not mask_files)
    if mask_files:
        columns["mask"] = mask
    columns |= {role: name for role, name in (("label", roles.label), ("split", roles.split)) if name}
    answers = () if roles.labels or columns.keys() & {"label", "mask"} else ("label", "mask")
    unread = [role for role in (*answers, "split") if role not in columns and usual_column(role, found.header)]
    about.data["columns"] = columns | dict.fromkeys(unread, NONE)
    base = place.outside or table.parent
    planes = about.sized([path for file in found.files if is_file(path := base / file)])
    _say(found, roles, about, tree, alone=alone)
    labels, answered = [-1] * len(found.lines), [False] * len(found.lines)
    with about.answering():
        labels, answered = labels_of(found.table, found.lines, roles, about)
    if mask_files:
        with about.answering():
            about.masked([tree.root / file for file in mask_files if file])
        answered = [bool(file) for file in mask_files]
        if "{" in mask and not all(answered):
            about.open.append(
                f"{answered.count(False)} rows have no mask at {mask}: take them out, or name masks in a column"
            )
    rows = [row for _, row in found.lines]
    groups = _groups(found, roles, about, volumes=tree.volumes)
    splits = [split_named(row[roles.split]) if roles.split else None for row in rows]
    if several := straddling(groups, splits):
        group = roles.group or about.data["group"]
        by = f"column {group}" if roles.group else "their paths"
        groups, about.data["group"] = list(found.files), "none"
        about.comments["data.group"] = [f"group: {group}   # only without columns.split, as splits part groups"]
        about.open.append(
            f"column {roles.split} parts {len(several)} groups of {by} ({listing(several, 3)}): the "
            f"splits are kept and every image counts as its own; or set data.group, and split: none in data.columns"
        )
    names = (tree.root.name, table.stem, *found.header, *tree.folders())
    return about.finish(Rows(groups, splits, labels, answered, planes), names)


def straddling(groups: Sequence[str], splits: Sequence[Split | None]) -> list[str]:
    """The groups with samples in several splits."""
    places: dict[str, set[Split | None]] = {}
    for group, split in zip(groups, splits, strict=True):
        places.setdefault(group, set()).add(split)
    return sorted(group for group, here in places.items() if len(here) > 1)


def _counts(folders: dict[str, int]) -> str:
    return listing(f"{folder} {count}" for folder, count in folders.items())


def _path(found: Listing, about: Description, *, alone: bool) -> dict[str, str]:
    """The column or template of the paths; `alone`: no masks lie in other folders, so that paths may start deeper."""
    place = found.place
    if place.outside is not None:
        about.data["images"] = str(place.outside)
        return {"path": place.column}
    if alone and len(place.folders) == 1 and place.folder:
        about.data["images"] = str(found.table.parent / place.folder)
        return {"path": place.within("")}
    return {"path": place.template}


def _say(found: Listing, roles: Roles, about: Description, tree: Tree, *, alone: bool) -> None:
    place, count = found.place, found.count
    how = f"{count}, column {place.column}" if place.template == place.column else f"{count}, {place.template}"
    about.took.insert(0, ("images", how if place.outside is None else f"{how} below {place.outside}"))
    if place.rivals:
        about.open.append(f"files of these names lie in {listing(place.rivals)} too; those in {place.folder} are taken")
    if missing := len(found.lines) - count:
        here = set(tree.images) if place.outside is None else {f for f in found.files if is_file(place.outside / f)}
        first = next(i for i, file in enumerate(found.files) if file not in here)
        about.open.append(
            f"{missing} rows name no file of this folder (first: line {found.lines[first][0]}, {found.files[first]}): "
            "take them out, or set data.on_error: skip"
        )
        about.note("data.columns", f"on_error: skip   # would leave out the {missing} rows whose files are missing")
    _say_twice(found, roles, about)
    folders = {PurePosixPath(file).parent for file in found.files}
    near = {image for image in tree.images if not alone or PurePosixPath(image).parent in folders}
    if rest := near - set(found.files) if place.outside is None else set():
        about.leave(f"{len(rest)} images that the table does not name ({min(rest)})")


def _say_twice(found: Listing, roles: Roles, about: Description) -> None:
    """Rows that name the file of an earlier one, which a run refuses, and how many of them say another label."""
    first: dict[str, Line] = {}
    again = [
        (line, file)
        for line, file in zip(found.lines, found.files, strict=True)
        if first.setdefault(file, line) != line
    ]
    if again:
        column = roles.label
        others = [each for each in again if column and each[0][1][column] != first[each[1]][1][column]]
        (line, _), file = (others or again)[0]
        conflict = f", {len(others)} of them with another label" if others else ""
        about.open.append(
            f"{len(again)} rows name the file of an earlier one{conflict} (line {line} as line {first[file][0]}, "
            f"{file}): leave one row a file, as a run takes no two"
        )


def _groups(found: Listing, roles: Roles, about: Description, *, volumes: bool) -> list[str]:
    """The group of every row: of its column, else as the paths name patients."""
    if roles.group:
        cells = [row[roles.group].strip() for _, row in found.lines]
        about.took.append(("groups", f"{len(set(cells) - {''})}, column {roles.group}"))
        about.note("data.group", "group: none   # would count every image as its own")
        return [cell or file for cell, file in zip(cells, found.files, strict=True)]
    base = found.table.parent
    names = [Path(relpath(base / file, about.data.get("images", base))).as_posix() for file in found.files]
    group = group_in_names(names, about, volumes=volumes)
    groups = groups_of(names, group)
    if group != "none":
        about.data["group"] = {"pattern": group}
        say_groups(groups, about)
    return groups


def labels_of(table: Path, lines: Sequence[Line], roles: Roles, about: Description) -> tuple[list[int], list[bool]]:
    """The class numbers of the rows, -1 where unknown, and which rows have their labels."""
    rows = [row for _, row in lines]
    if roles.labels:
        about.data["labels"] = list(roles.labels)
        about.task = "multilabel"
        counts = {name: sum(row[name].strip() in ("1", "1.0") for row in rows) for name in roles.labels}
        about.took.append(("labels", _counts(counts)))
        known = [all(row[name].strip() not in MARKS for name in roles.labels) for row in rows]
        if lacking := len(rows) - sum(known):
            text = f"{lacking} of {len(rows)} rows have labels that are unknown, and answer no query"
            if blank := sum(any(not row[name].strip() for name in roles.labels) for row in rows):
                text += f"; data.empty: 0 would read an empty cell, of which {blank} rows have some, as not there"
                about.note(
                    "data.labels", "empty: 0   # would read an empty cell as not there" + NOW_KNOWN * (not any(known))
                )
            about.open.append(text)
        return [-1] * len(rows), known
    if not roles.label:
        if about.data["columns"].get("mask", NONE) == NONE:
            about.took.append(("classes", "none: all images are unlabeled; data.columns.label would name a column"))
        return [-1] * len(rows), [False] * len(rows)
    cells = [(f"{table}, line {line}", row[roles.label]) for line, row in lines]
    if roles.separator:
        return _several(cells, roles, about)
    marks = missing_marks(cell for _, cell in cells)
    _say_unknown(marks, about)
    classes, labels = class_numbers(cells, None, marks)
    about.data["classes"] = list(classes)
    counts_text = counted(classes[label] for label in labels if label >= 0)
    about.took.append(("classes", f"{len(classes)}, column {roles.label}: {counts_text}"))
    return labels, [label >= 0 for label in labels]


def _several(cells: Sequence[Cell], roles: Roles, about: Description) -> tuple[list[int], list[bool]]:
    """As `_labels`, of a column whose cells hold several labels."""
    texts = sorted({cell for _, cell in cells})
    none = next((text for text in texts if text.lower() in NOTHING), "")
    marks = missing_marks(text for text in texts if text != none)
    _say_unknown(marks, about)
    classes, rows = label_rows(cells, roles.separator, none, None, marks)
    about.task = "multilabel"
    about.data |= {"separator": roles.separator, **({"none": none} if none else {}), "classes": list(classes)}
    about.took.append(("labels", _counts({name: [row[k] for row in rows].count(1) for k, name in enumerate(classes)})))
    said = f", {none} means none of them" if none else ""
    about.open.append(f"column {roles.label}: several labels with {roles.separator} between them{said}: right?")
    return [-1] * len(rows), [min(row, default=-1) >= 0 for row in rows]


def _say_unknown(marks: Sequence[str], about: Description) -> None:
    if marks:
        about.data["unknown"] = list(marks)
        about.open.append(f"{', '.join(marks)}: read as not labeled; a class of that name goes from unknown to classes")


def _column_of(template: str) -> str:
    return template if "{" not in template else template.partition("{")[2].partition("}")[0]


def _mask_template(found: Listing, tree: Tree, about: Description) -> str:
    """The column or template of the masks, "" without any."""
    rows = [row for _, row in found.lines]
    if found.place.outside is not None:
        return ""
    for name in by_name(found.header, "mask"):
        if role_of(name) == "mask" and (place := find_place([name], rows, tree.readable)):
            return place.template
    pairs = [
        (row[found.place.column].strip(), tree.mask_of[file])
        for row, file in zip(rows, found.files, strict=True)
        if file in tree.mask_of
    ]
    shapes = {tuple(mask.rpartition(cell)[::2]) for cell, mask in pairs if cell in mask}
    if len(shapes) == 1 and all(cell in mask for cell, mask in pairs) and not UNSAFE.search(found.place.column):
        folder, ending = next(iter(shapes))
        return f"{folder}{{{found.place.column}}}{ending}"
    if pairs:
        about.left.append(f"{len(pairs)} masks ({pairs[0][1]}): no template of the columns names them all")
    return ""


def _masks(found: Listing, tree: Tree, template: str) -> list[str]:
    """The mask of every row, "" where it has none."""
    masks = []
    for _, row in found.lines:
        name = template.format_map(row) if "{" in template else row[template]
        masks.append(name.strip() if is_file(tree.root / name.strip()) else "")
    return masks


def without_labels(table: Path, columns: Mapping[str, str]) -> str:
    """What is said of a table of which no column is called as labels are: how one is taken. columns: role -> column."""
    named = "".join(f"{role}: {column}, " for role, column in columns.items())
    way = f"data.table: {table} and data.columns: {{{named}label: COLUMN}} take one"
    return f"{table.name}: no column that its name calls labels; {way}"
