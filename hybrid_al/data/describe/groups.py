"""Patients in the paths of images, which are kept whole in one split."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .base import Description, listing
from .names import IN_PATH, MOST_ALIKE, P_NUMBER, PATTERN, START

NO_GROUP = "no patients found: every image counts as its own"
HOW = "a regular expression on the path would name one"


def group_in_names(paths: Sequence[str], about: Description, *, volumes: bool) -> str:
    """A regular expression of patients in the paths, where each path has one and some have the same; else none."""
    found = [match.group() for path in paths if (match := IN_PATH.search(path))]
    if len(found) == len(paths) and 1 < len(set(found)) < len(paths):
        words = {re.sub(r"[ _-]?\d+$", "", match).lower() for match in found}
        word = words.pop() if len(words) == 1 else ""
        return PATTERN.format(P_NUMBER if word == "p" else word) if word else IN_PATH.pattern
    if volumes:
        about.note("data.group", "the slices of a volume stay in one split; every volume counts as its own")
    else:
        about.open.append(f"{NO_GROUP}; set data.group if several show one patient{_starts(paths)}")
        about.note("data.group", f"{NO_GROUP}; {HOW}")
    return "none"


def _starts(paths: Sequence[str]) -> str:
    """What to set where the names of a few images each begin alike, as those of one patient may."""
    starts = [match[1] for path in paths if (match := START.search(path))]
    count = len(set(starts))
    if len(starts) < len(paths) or not max(5, len(paths) / MOST_ALIKE) <= count < len(paths):
        return ""
    return (
        f": names have {count} starts ({listing(dict.fromkeys(starts), 3)}); group: '{START.pattern}' would take them"
    )


def groups_of(paths: Sequence[str], group: str) -> list[str]:
    """The group of each path, as the source reads it."""
    if group == "none":
        return list(paths)
    pattern = re.compile(group)
    matches = [pattern.search(path) for path in paths]
    return [match.group(1 if pattern.groups else 0) if match else "" for match in matches]


def say_groups(groups: Sequence[str], about: Description) -> None:
    """Say that patients were found in the paths, and what the other reading is."""
    about.took.append(("groups", f"{len(set(groups))}, such as {groups[0]} (data.group)"))
    about.note("data.group", "group: none   # would count every image as its own")
