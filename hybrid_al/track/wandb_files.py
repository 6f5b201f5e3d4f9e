"""What the files of W&B's offline runs hold: records of a log in blocks, as wandb-core writes them."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, FILE_HEADER, HEADER = 32768, 7, 7
QUIET = 3.0  # seconds without a write after which a file that has no end has no writer
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file, oldest first; it ends where a killed process stopped writing.

    A block of 32 KiB holds pieces of (crc, length, kind, bytes); what is longer than the rest of a block goes on.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, at, record = path.read_bytes(), FILE_HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        piece = data[at + HEADER : at + HEADER + length]
        if kind not in (WHOLE, FIRST, MIDDLE, LAST) or len(piece) < length:
            return
        at += HEADER + length
        record = piece if kind in (WHOLE, FIRST) else record + piece
        if kind in (WHOLE, LAST):
            message = Record()
            message.ParseFromString(record)
            yield message


def next_step(folder: Path, id: str) -> int:
    """The step after the last that any run folder of this id in `folder` holds; 0 without any.

    Of runs that begin in one second wandb makes folders that end in -1, -2 and so on.
    """
    files = sorted(folder.glob(f"*run-*-{id}*/run-{id}.wandb"))
    steps = [r.history.step.num for f in files for r in _settled(f) if r.WhichOneof("record_type") == "history"]
    return max(steps, default=-1) + 1


def wait_for_end(folder: Path, id: str, seconds: float = 30.0) -> None:
    """Wait until wandb's process, which outlives the end of a run by a moment, wrote the last record of its files."""
    until = time.monotonic() + seconds
    for file in folder.glob(f"offline-run-*-{id}*/run-{id}.wandb"):
        while time.monotonic() < until and not _has_end(file) and time.time() - file.stat().st_mtime < seconds:
            time.sleep(0.1)


def _settled(path: Path) -> list[Any]:
    """The records of a file once nobody writes them any more: after a kill wandb's process goes on for a moment."""
    while abs(time.time() - path.stat().st_mtime) < QUIET and not _has_end(path):  # of the future: a clock set back
        time.sleep(0.1)
    return list(records(path))


def _has_end(path: Path) -> bool:
    return any(record.WhichOneof("record_type") == "exit" for record in records(path))
