"""Annotations of masks as files of the run directory: label maps as PNG, boxes beside them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from ..core.files import write_atomic
from ..core.rundir import RunDir
from ..core.seals import sealed, whole
from ..core.types import IGNORE, IntArray, LabelMap

ANSWERS = "answers"


def file_name(index: int) -> str:
    """File name of a sample: of its image for the annotator, of its mask, of its answer."""
    return f"{index:06d}.png"


def answer_file(run: RunDir, round: int, index: int) -> Path:
    """Where the answer about a sample lies."""
    return run.round_path(round) / ANSWERS / file_name(index)


def write_answer(
    run: RunDir, round: int, index: int, labels: LabelMap, *, boxes: IntArray | None = None, folder: str = ANSWERS
) -> str:
    """Write an answer into a folder of a round, its boxes (n, 5) beside it; its path relative to the run directory."""
    file = run.round_path(round) / folder / file_name(index)
    if boxes is not None:
        write_atomic(_box_file(file), json.dumps(boxes.tolist()))
    write_atomic(file, to_png(labels))
    return file.relative_to(run.path).as_posix()


def read_answer(file: Path, classes: int = IGNORE) -> LabelMap:
    """The label map of an answer; ValueError for a number that is neither a class below `classes` nor `IGNORE`."""
    from PIL import Image

    with whole(sealed(file)), Image.open(file, formats=["PNG"]) as image:
        labels: LabelMap = np.asarray(image)
    if (unknown := labels[(labels >= classes) & (labels != IGNORE)]).size:
        raise ValueError(f"expected classes 0 to {classes - 1}, or {IGNORE}, got {unknown[0]}")
    return labels


def read_boxes(mask: Path) -> IntArray:
    """The boxes (n, 5) of an answer, as `boxes.boxes` gives them."""
    file = sealed(_box_file(mask))
    with whole(file):
        return np.asarray(json.loads(file.read_text(encoding="utf-8")), dtype=np.int64).reshape(-1, 5)


def to_png(labels: LabelMap) -> bytes:
    """A label map as a PNG file whose grey values are the classes."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(labels).save(out, format="PNG", optimize=False)
    return out.getvalue()


def _box_file(mask: Path) -> Path:
    return mask.with_suffix(".json")
