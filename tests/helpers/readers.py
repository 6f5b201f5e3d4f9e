"""A run of made-up images that several readers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hybrid_al.api.answers import take
from hybrid_al.core.files import write_json
from hybrid_al.core.rundir import RunDir
from hybrid_al.oracles.inbox import inbox, lists_of
from hybrid_al.oracles.readings import Readings
from tests.helpers.label_page import SIZE, open_run


def shared_run(path: Path, kind: str = "class", *, asked: int = 4, **reading: Any) -> RunDir:
    """A run that anna and ben share."""
    run = open_run(path, kind, asked=asked)
    write_json(run.path / "run.json", {**run.facts(), "reading": {"readers": ["anna", "ben"], **reading}}, own=True)
    return run


def readings_of(run: RunDir, round: int = 0) -> Readings:
    """What the readers said by a round."""
    lists = lists_of(inbox(run))
    readings = lists.readings(round) if lists else None
    assert readings is not None
    return readings


def says(run: RunDir, name: str, answers: dict[str, str], **options: Any) -> tuple[int, int]:
    """A reader hands in a CSV."""
    file = run.path.parent / f"{name}.csv"
    file.write_text("id,label\n" + "".join(f"{i},{text}\n" for i, text in answers.items()), encoding="utf-8")
    with run.lock():
        return take(run.path, file, name, **options)


def draws(run: RunDir, name: str, masks: dict[int, Any]) -> tuple[int, int]:
    """A reader hands in a folder of masks: one value, or a label map."""
    folder = run.path.parent / f"by-{name}-{len(list(run.path.parent.iterdir()))}"
    folder.mkdir()
    for i, mask in masks.items():
        Image.fromarray(np.broadcast_to(np.asarray(mask, dtype=np.uint8), SIZE).copy()).save(folder / f"{i:06d}.png")
    with run.lock():
        return take(run.path, folder, name)


def together(run: RunDir, round: int = 0) -> dict[int, Any]:
    """What counts in the end: sample -> target."""
    lists = lists_of(inbox(run))
    assert lists is not None
    return {a.index: a.target for a in lists.latest_answers(np.arange(4), round)[0]}
