"""What the page sends: one answer about one image, checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ..core.files import write_atomic
from ..core.rundir import RunDir
from ..core.types import IGNORE, LabelMap
from ..data.answers import to_png
from ..errors import InputError, UnknownName
from ..oracles.base import NONE, SEPARATOR
from ..oracles.boxes import EDGES
from ..oracles.inbox import Boxes, InboxSettings, Words
from ..oracles.ledger import REASONS
from ..oracles.one_bit import NOT

DRAWN = "drawn"
"""Folder of a round for what was drawn on the page; files are named by their content and never change."""

MOST_COMMENT = 2000
Proposal = Literal["", "accepted", "edited", "discarded"]
Proposer = Literal["", "model", "segmenter", "both"]


@dataclass(frozen=True)
class Mask:
    """A label map as the page sends it: class numbers, 255 where not known, row by row, in base64."""

    width: int
    height: int
    pixels: str


@dataclass(frozen=True)
class Box:
    """A box around a structure; edges in pixels of the image from its upper left corner."""

    name: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Submission:
    """An answer as the page sends it.

    id        made by the page, so that an answer that is sent twice is taken once
    round     of the page that sends it
    kind      an answer; a skip, with a reason of `REASONS` or none; a withdrawal of the reader's last answer
    classes   names, of a task whose answers are words
    mask      of a task whose answers are drawn, `boxes` of one whose answers are boxes
    proposal  what became of a proposal of `proposer`; `proposed` is its mask, where the answer is another
    prompts   boxes and points that a segmenter was given, `refused` of its structures that do not stand
    replace   put it in the place of another reader's answer
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]
    round: int
    sample: str
    kind: Literal["answer", "skip", "withdrawn"]
    classes: tuple[str, ...] = ()
    mask: Mask | None = None
    boxes: tuple[Box, ...] | None = None
    reason: str = ""
    comment: Annotated[str, Field(max_length=MOST_COMMENT)] = ""
    seconds: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    proposal: Proposal = ""
    proposer: Proposer = ""
    proposed: Mask | None = None
    prompts: Annotated[int, Field(ge=0, le=100_000)] = 0
    refused: Annotated[int, Field(ge=0, le=100_000)] = 0
    replace: bool = False
    reader: str = ""

    def check(self) -> None:
        """InputError for a reason that there is not."""
        if self.reason and self.reason not in REASONS:
            raise UnknownName("reason", self.reason, REASONS)


def words(names: Sequence[str], classes: Sequence[str], *, several: bool, asked: str = "") -> str:
    """Names of classes as the text of an answer, in the order of the classes; or no to the class that is `asked`."""
    if asked and list(names) == [f"{NOT}{asked}"]:
        return names[0]
    for name in names:
        if name not in classes:
            raise UnknownName("class", name, classes)
    if len(set(names)) < len(names) or (not several and len(names) != 1):
        raise InputError("classes", "each label once" if several else "one class", ", ".join(names) or "none")
    return SEPARATOR.join(name for name in classes if name in names) or NONE


def drawn(
    submission: Submission, run: RunDir, settings: InboxSettings, size: tuple[int, int], classes: Sequence[str]
) -> tuple[str, str]:
    """Write the mask or the boxes of a submission; path in the run directory, and its SHA-256. InputError: bad ones."""
    assert not isinstance(settings, Words)
    if isinstance(settings, Boxes):
        data, suffix = _boxes(submission.boxes, size, classes), ".json"
    else:
        data, suffix = to_png(_label_map(submission.mask, size, classes)), ".png"
    return _keep(data, suffix, run, submission.round)


def proposed(submission: Submission, text: str, run: RunDir, size: tuple[int, int], classes: Sequence[str]) -> str:
    """Path of the mask that was proposed, written where it is another than the answer's `text`; empty without one."""
    if submission.proposal == "accepted":
        return text
    if submission.proposed is None:
        return ""
    return _keep(to_png(_label_map(submission.proposed, size, classes)), ".png", run, submission.round)[0]


def _keep(data: bytes, suffix: str, run: RunDir, round: int) -> tuple[str, str]:
    digest = hashlib.sha256(data).hexdigest()
    file = run.round_path(round) / DRAWN / f"{digest[:32]}{suffix}"
    if not file.is_file():
        write_atomic(file, data)
    return file.relative_to(run.path).as_posix(), digest


def _boxes(boxes: Sequence[Box] | None, size: tuple[int, int], classes: Sequence[str]) -> bytes:
    if boxes is None:
        raise InputError("boxes", "a list of boxes, empty where there is no structure", "nothing")
    height, width = size
    rows = []
    for box in boxes:
        if box.name not in classes[1:]:
            raise UnknownName("class", box.name, classes[1:])
        if not (0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height):
            came = ", ".join(f"{getattr(box, edge):g}" for edge in EDGES)
            raise InputError("boxes", f"0 <= left < right <= {width} and 0 <= top < bottom <= {height}", came)
        rows.append({"class": box.name, **{edge: getattr(box, edge) for edge in EDGES}})
    return json.dumps(rows).encode()


def _label_map(mask: Mask | None, size: tuple[int, int], classes: Sequence[str]) -> LabelMap:
    if mask is None:
        raise InputError("mask", "a mask of the image", "nothing")
    if (mask.height, mask.width) != size:
        expected = f"{size[0]} x {size[1]} pixels as its image has"
        raise InputError("mask", expected, f"{mask.height} x {mask.width}")
    try:
        pixels = base64.b64decode(mask.pixels, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("mask", "its pixels in base64", "other text") from None
    if len(pixels) != mask.height * mask.width:
        raise InputError("mask", f"{mask.height * mask.width} pixels", str(len(pixels)))
    labels: LabelMap = np.frombuffer(pixels, dtype=np.uint8).reshape(size)
    if (unknown := labels[(labels >= len(classes)) & (labels != IGNORE)]).size:
        raise InputError("mask", f"classes 0 to {len(classes) - 1}, or {IGNORE}", str(unknown[0]))
    if (labels == IGNORE).all():
        raise InputError("mask", "at least one pixel with a class, or a skip", "none")
    return labels
