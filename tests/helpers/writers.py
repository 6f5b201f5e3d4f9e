"""Four processes that answer through the page's API and are killed between any two writes.

Each begins again where its last answer was acknowledged, as a page does, until all answers are given.

python -m tests.helpers.writers RUN COUNT ODDS
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from hybrid_al.core.rundir import RunDir
from hybrid_al.oracles import ledger
from tests.helpers.label_page import CLASSES, light_client_of, submission

WRITERS = 4


def answers_of(writer: int, count: int) -> list[dict[str, Any]]:
    """The answers of one writer: every fourth sample, each tenth of them twice."""
    ids = [k for k in range(count) if k % WRITERS == writer and k != 1]
    twice = [(k, again) for k in ids for again in ((0, 1) if k % 10 == 3 else (0,))]
    return [
        submission(
            f"{k:06d}-{again}", f"scan{k}", reader=f"reader {writer}", classes=[CLASSES[(k + again) % 2]], seconds=k % 7
        )
        for k, again in twice
    ]


def write(run: Path, writer: int, count: int, deadly: float) -> None:
    """Give the answers that are not acknowledged yet; each step on the disk may be the last with odds of `deadly`."""
    rng, acknowledged = random.Random(os.getpid()), run / f"acknowledged-{writer}"

    def die(odds: float) -> None:
        if rng.random() < odds:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly_sync(_: int) -> None:  # a kill takes nothing that was written; the sync itself is for power cuts
        die(deadly)

    def deadly_plain(entry: ledger.Entry) -> dict[str, Any]:
        plain = dataclasses.asdict(entry)
        if rng.random() < deadly:  # half a line gets to the disk
            with (run / ledger.LEDGER).open("ab", buffering=0) as out:
                out.write(json.dumps(plain).encode()[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        return plain

    setattr(os, "fsync", deadly_sync)  # noqa: B010 (in this process alone)
    setattr(ledger, "asdict", deadly_plain)  # noqa: B010
    done = acknowledged.stat().st_size if acknowledged.exists() else 0

    async def give() -> None:
        async with light_client_of(RunDir(run)) as client:
            with acknowledged.open("ab", buffering=0) as note:
                for answer in answers_of(writer, count)[done:]:
                    reply = await client.post("/api/answer", json=answer)
                    assert reply.status_code == 200, reply.text
                    note.write(b".")
                    die(deadly)

    asyncio.run(give())


def main(run: Path, count: int, deadly: float) -> None:
    """Start the writers, and each again when it was killed; prints how often that was."""
    kills, at_work = 0, dict[int, int]()
    for writer in range(WRITERS):
        at_work[_fork(run, writer, count, deadly)] = writer
    while at_work:
        process, status = os.wait()
        writer = at_work.pop(process)
        if os.WIFSIGNALED(status):
            kills += 1
            at_work[_fork(run, writer, count, deadly)] = writer
        else:
            assert os.waitstatus_to_exitcode(status) == 0, f"writer {writer} failed"
    print(kills)


def _fork(run: Path, writer: int, count: int, deadly: float) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        write(run, writer, count, deadly)
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
