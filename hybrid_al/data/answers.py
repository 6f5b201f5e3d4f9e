"""Answers about masks as files of the run directory: label maps as PNG, boxes beside them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from ..core.rundir import RunDir, write_atomic
from ..core.types import IGNORE, IntArray, LabelMap


def answer_table(classes: int) -> dict[int, int]:
    """Value in the files of answers -> class: numbers from 0, `IGNORE` for what was not said."""
    return {**{c: c for c in range(classes)}, IGNORE: IGNORE}


def box_file(mask: Path) -> Path:
    """Where the boxes lie that belong to the label map of an answer."""
    return mask.with_suffix(".json")


def read_boxes(mask: Path) -> IntArray:
    """The boxes (n, 5) of an answer, as `boxes.boxes` gives them."""
    return np.asarray(json.loads(box_file(mask).read_text()), dtype=np.int64).reshape(-1, 5)


def answer_file(run: RunDir, round: int, index: int) -> Path:
    """Where the answer about a sample lies."""
    return run.round_path(round) / "answers" / f"{index:06d}.png"


def write_answer(run: RunDir, round: int, index: int, labels: LabelMap) -> str:
    """Write an answer; its path relative to the run directory."""
    file = answer_file(run, round, index)
    write_atomic(file, to_png(labels))
    return file.relative_to(run.path).as_posix()


def to_png(labels: LabelMap) -> bytes:
    """A label map as a PNG file whose grey values are the classes."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(labels).save(out, format="PNG", optimize=False)
    return out.getvalue()


def from_png(file: bytes) -> LabelMap:
    """What `to_png` made a file of."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(file)))
