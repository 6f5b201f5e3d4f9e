"""The open query of a run as a sheet for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from ...core.rundir import RunDir
from ...data.answers import file_name, to_png
from ..masks import ASKED
from ..worklist import WorklistOracle
from .base import Instance, Item, Plane, Proposal, Sheet, image_name

Picture = Callable[[int], npt.NDArray[np.uint8]]
"""Position -> the image (H, W, 1 or 3) for a person, in its own pixels."""


def sheet_of(
    run: RunDir,
    round: int,
    lists: WorklistOracle,
    rows: Sequence[int],
    picture: Picture,
    *,
    values: Mapping[str, str] | None = None,
    proposals: Mapping[int, Proposal] | None = None,
    plane: Callable[[int], Plane | None] = lambda index: None,
    instance: Callable[[int], Instance | None] = lambda index: None,
    step: Callable[[int], None] = lambda count: None,
) -> Sheet:
    """The samples `rows` of the query of a round; `step` hears how many images were read."""
    ids, items = lists.manifest.ids, []
    reasons = {row["id"]: row["reason"] for row in run.query_rows(round) or ()}
    for k, i in enumerate(rows):
        height, width = picture(i).shape[:2]
        asked = run.round_path(round) / ASKED / file_name(i)
        items.append(
            Item(
                i,
                ids[i],
                image_name(lists.manifest, i),
                (height, width),
                partial(png_of, picture, i),
                reason=reasons.get(ids[i], ""),
                asked=asked if asked.is_file() else None,
                plane=plane(i),
                instance=instance(i),
                proposal=(proposals or {}).get(i),
            )
        )
        step(k + 1)
    facts = run.facts()
    name = f"{facts['name']}-s{facts['seed']}"
    return Sheet(name, round, lists.wording.kind, lists.classes, tuple(items), values or {})


def png_of(picture: Picture, index: int) -> bytes:
    """An image as a PNG file."""
    pixels = picture(index)
    return to_png(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
