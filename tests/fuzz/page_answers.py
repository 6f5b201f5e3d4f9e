"""Thousands of answers through the API of the page by four processes, killed between any two writes.

None is lost, doubled or attributed to another reader: `python -m tests.fuzz.page_answers --images 9100 --kills 200`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hybrid_al.oracles.audit import audit
from hybrid_al.oracles.ledger import Ledger, collect
from hybrid_al.page.desk import Desk
from tests.helpers import writers
from tests.helpers.label_page import MadeUp, open_run

STEPS = 3  # of an answer, each of which may be the last of its process


def play(folder: Path, images: int, kills: int) -> tuple[int, int, list[str]]:
    """(answers, kills, what is wrong in the end); about so many `kills` are meant to be."""
    run = open_run(folder / "run", n=images, asked=images)
    expected = [answer for w in range(writers.WRITERS) for answer in writers.answers_of(w, images)]
    deadly = kills / (STEPS * len(expected))
    command = [sys.executable, "-m", "tests.helpers.writers", str(run.path), str(images), str(deadly)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        return len(expected), 0, [out.stderr]
    lines = Ledger(run).entries()
    entries = {entry.id: entry for entry in lines}
    told = {a["id"]: (a["sample"], a["reader"], a["classes"][0]) for a in expected}
    kept = {id: (entry.sample, entry.reader, entry.text) for id, entry in entries.items()}
    last = {a["sample"]: (a["classes"][0], a["reader"]) for a in expected}
    collect(run)
    standing = Desk(run, reader=None, size=MadeUp().size).standings(0)
    faults = {
        "lost": told.keys() - kept.keys(),
        "of nobody": kept.keys() - told.keys(),
        "doubled": [f"{len(lines) - len(entries)} lines"] * (len(lines) > len(entries)),
        "of another reader, image or class": [id for id in told.keys() & kept.keys() if told[id] != kept[id]],
        "not what counts in the end": [i for i, s in standing.items() if last[i] != (s.text, s.reader) or not s.taken],
        "not in the run": last.keys() - standing.keys(),
        "in the audit": audit(run.path).problems,
    }
    return len(expected), int(out.stdout), [f"{len(ids)} {what}: {min(ids)}" for what, ids in faults.items() if ids]


def main() -> None:
    """Play, and end with 1 where an answer is lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=9100, help="a tenth of them is answered twice")
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        answers, kills, faults = play(Path(temporary), options.images, options.kills)
    seconds = time.monotonic() - begin
    print(f"{answers} answers by {writers.WRITERS} writers, {kills} kills, {len(faults)} faults, {seconds:.0f} s")
    print("\n".join(faults), file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
