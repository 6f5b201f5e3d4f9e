"""What the other columns of a table hold: labels, groups, splits, and what stays unread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..splits import split_named
from ..tables import Line
from ..words import plain
from .base import MAX_CLASSES, Description, counted, listing
from .names import NO_FINDINGS, REMARKS, role_of
from .places import by_name

ONES = frozenset({"0", "1", "0.0", "1.0"})
MARKS = frozenset({"", "-1", "-1.0"})
SEPARATORS = ("|", ";")
SHOWN = 20  # letters of a value
FEW = 20  # values of a column that may be a label


@dataclass(frozen=True)
class Roles:
    """Columns by role; "" where there is none. `labels` are columns of 0 and 1, of a task with several labels.

    separator  what stands between several labels in the column `label`, "" where it holds classes
    """

    label: str = ""
    separator: str = ""
    group: str = ""
    split: str = ""
    labels: tuple[str, ...] = ()
    used: frozenset[str] = field(default_factory=frozenset)


def read_roles(header: Sequence[str], lines: Sequence[Line], used: set[str], about: Description) -> Roles:
    """The roles of the columns that are not `used`; says of each other column why it was left."""
    rows = [row for _, row in lines]
    values = {name: [row[name].strip() for row in rows] for name in header}
    taken = set(used)
    split = _split(header, values, taken, about)
    label = _label(header, values, taken | {split}, about)
    group = _group(header, lines, values, taken | {split, label}, about)
    taken |= {split, label, group}
    binary = [n for n in header if n not in taken and _binary(values[n]) and plain(n) not in NO_FINDINGS]
    constant = [n for n in binary if len({float(v) for v in values[n] if v} - {-1.0}) < 2]
    binary = [name for name in binary if name not in constant]
    labels: tuple[str, ...] = ()
    if label and binary:
        about.note("data.columns", f"several labels: task: multilabel, labels: [{', '.join(binary)}], no columns.label")
    elif len(binary) == 1:
        label = binary[0]
        about.note(
            "data.columns",
            f"{label} is taken for the label: it alone is 0 or 1; classes: [no {label}, {label}] would name them",
        )
        about.open.append(f"column {label} of 0 and 1 is taken for the label: right?")
    elif binary:
        labels = tuple(binary)
        if all(sum(float(values[n][i] or 0) == 1 for n in labels) == 1 for i in range(len(rows))):
            about.open.append("each row has one of the labels: as one column of names this would be a classification")
    if labels and constant:
        about.left.append(f"columns that are the same in all rows: {listing(constant)}")
    taken |= {label, *labels, *(constant if labels else ())}
    _left(header, values, taken, about)
    mark = _separator(values[label]) if label else ""
    return Roles(label, mark, group, split, labels, frozenset(taken - {""}))


def _binary(cells: Sequence[str]) -> bool:
    return set(cells) <= ONES | MARKS and bool(ONES & set(cells))


def _split(header: Sequence[str], values: Mapping[str, list[str]], used: set[str], about: Description) -> str:
    for name in by_name(header, "split"):
        cells = {cell for cell in values[name] if cell}
        if name in used or not cells:
            continue
        if all(split_named(cell) for cell in cells):
            return name
        if role_of(name) == "split":
            about.left.append(f"column {name}: {listing(sorted(cells))} are no splits (train, val, test)")
    return ""


def _label(header: Sequence[str], values: Mapping[str, list[str]], used: set[str], about: Description) -> str:
    for name in by_name(header, "label"):
        cells = {cell for cell in values[name] if cell}
        if name in used or role_of(name) != "label" or not cells or (plain(name) == "y" and "x" in map(plain, header)):
            continue
        if len(cells) == 1:
            about.left.append(f"column {name}: one value alone ({min(cells)})")
        elif len(cells) > MAX_CLASSES and not _separator(values[name]):
            about.left.append(f"column {name}: {len(cells)} values in {len(values[name])} rows, too many for classes")
        else:
            return name
    return ""


def _separator(cells: Sequence[str]) -> str:
    return next((mark for mark in SEPARATORS if any(mark in cell for cell in cells)), "")


def _group(
    header: Sequence[str], lines: Sequence[Line], values: Mapping[str, list[str]], used: set[str], about: Description
) -> str:
    named = [n for n in by_name(header, "group") if n not in used and role_of(n) == "group" and any(values[n])]
    named.sort(key=lambda name: not _repeats(values[name]))
    for name in named:
        gaps = [line for line, row in lines if not row[name].strip()]
        if 2 * len(gaps) > len(lines):
            about.left.append(f"column {name}: may be a group, but {len(gaps)} of {len(lines)} cells are empty")
            continue
        if gaps:
            text = f"column {name} is empty in line {listing(map(str, gaps))}"
            about.open.append(f"{text}: fill it in, for check refuses a row without a group")
            about.note("data.group", f"{text}; `none` would count every image as its own")
        return name
    return ""


def _repeats(cells: Sequence[str]) -> bool:
    return len(set(cells)) < len(cells)


def _left(header: Sequence[str], values: Mapping[str, list[str]], taken: set[str], about: Description) -> None:
    """Say of each column without a role what it may be."""
    plain_ones = []
    for name in header:
        cells = [cell for cell in values[name] if cell]
        distinct = len(set(cells))
        if name in taken or any(line.startswith(f"column {name}:") for line in about.left):
            continue
        numbers = all(cell.replace(".", "", 1).lstrip("-").isdigit() for cell in cells)
        may_be_group = _repeats(cells) and distinct > FEW // 4 and (not numbers or "id" in plain(name))
        if may_be_group and not _is_remark(name, cells) and (distinct > FEW or 10 * distinct > len(cells)):
            about.left.append(f"column {name}: may be a group, it repeats ({distinct} values in {len(cells)} rows)")
            about.note("data.group", f"group: {name}   # may be one: {distinct} values in {len(cells)} rows")
        elif 2 <= distinct <= FEW and _repeats(cells) and not numbers and not _is_remark(name, cells):
            kinds = counted(cell[:SHOWN] for cell in cells)
            about.left.append(f"column {name}: may be a label, or a site or device as data.domain ({kinds})")
        else:
            plain_ones.append(name)
    if plain_ones:
        about.left.append(f"columns of nothing that is needed: {listing(plain_ones)}")


def _is_remark(name: str, cells: Sequence[str]) -> bool:
    """Whether a column says something of a person, or where an image comes from."""
    return plain(name) in NO_FINDINGS | REMARKS or any("://" in cell for cell in cells)
