"""A run with models in which one bit of one file is another: it is said, or picks, metrics and records stay the same.

Three states of one run: killed in stage 0 beside its checkpoint, killed with two rounds committed, and with the query
of the third one. What `status --verify` says is said; otherwise the run is played to its end and compared.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_al.core.rundir import RunDir
from hybrid_al.core.verify import verify
from hybrid_al.errors import InputError
from hybrid_al.recipe import parse
from pretrain import loop
from tests.fuzz.mutations import Rng, Silent
from tests.helpers.played import play
from tests.helpers.tiny import recipe_of

LARGE = 1 << 16  # bytes of files that no command changes in their place: copies of a state share them
SCORES = "scores.npz"  # some bytes of an archive say nothing, and this one is there before the round is sealed
OF_QUERY = ("query.csv", "query.json", SCORES, "cost.json")  # files of a round before it is answered
PLAYED = 20  # one of so many runs whose damage `status --verify` says is played all the same
RECIPE = recipe_of(
    "classification",
    learner="finetune",
    query={"name": "hybrid", "score": {"entropy": 1.0, "consistency": 1.0}},
    pretrain={"name": "simclr", "epochs": 3, "batch": 6},
    calibration={"fit": "val"},
    train={"name": "mean_teacher", "steps": 2, "min_steps": 2, "batch": 4},
    loop={"budgets": [4, 2, 2]},
)


class _Killed(BaseException):
    """The end of a process."""


class Flips:
    """See `tests.fuzz.formats.Target`; a file is the place in a state and the bit that is turned there."""

    name = "flips"

    def __init__(self, folder: Path) -> None:
        self.folder, self.recipe = folder, parse(RECIPE)
        with _checkpoint(), suppress(_Killed):
            play(folder / "stage0" / "run", self.recipe)
        play(folder / "whole" / "run", self.recipe)
        self.whole = outcome(folder / "whole" / "run")
        for state in ("committed", "asked"):
            shutil.copytree(folder / "whole", folder / state)
            last = folder / state / "run" / "rounds" / "002"
            for file in last.iterdir():
                if state == "committed" or file.name not in OF_QUERY:
                    file.unlink()
            if state == "committed":
                last.rmdir()
            self._whole(state)
        files = [f for state in ("stage0", "committed", "asked") for f in (folder / state).rglob("*") if f.is_file()]
        self.files = sorted(f.relative_to(folder).as_posix() for f in files if f.stat().st_size)
        assert any(name.endswith("resume.pt") for name in self.files)

    def _whole(self, state: str) -> None:
        """Check that a state from which nothing was taken ends as the whole run."""
        shutil.copytree(self.folder / state, copy := self.folder / "copy")
        play(copy / "run", self.recipe)
        assert outcome(copy / "run") == self.whole, state
        shutil.rmtree(copy)

    def spoil(self, rng: Rng, number: int) -> tuple[str, bytes]:
        """Half of the flips in any file, half in any byte of the larger ones' many."""
        sizes = np.asarray([(self.folder / name).stat().st_size for name in self.files])
        shares = np.full(len(sizes), 1 / len(sizes)) if rng.random() < 0.5 else np.sqrt(sizes) / np.sqrt(sizes).sum()
        k = int(rng.choice(len(sizes), p=shares))
        place = {
            "file": self.files[k],
            "byte": int(rng.integers(sizes[k])),
            "bit": int(rng.integers(8)),
            "played": number % PLAYED == 0,
        }
        return f"{number}.json", json.dumps(place).encode()

    def play(self, file: Path) -> None:
        """See `Target`."""
        place = json.loads(file.read_text(encoding="utf-8"))
        state, copy = place["file"].partition("/")[0], self.folder / f"copy-{file.stem}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / state, copy, copy_function=_light)
        spoiled = copy / place["file"].partition("/")[2]
        data = bytearray((self.folder / place["file"]).read_bytes())
        data[place["byte"]] ^= 1 << place["bit"]
        spoiled.unlink()
        spoiled.write_bytes(data)
        try:
            lines = verify(RunDir(copy / "run"))[1] if state != "stage0" else []
            if lines and not place["played"]:
                raise InputError(spoiled, "a run as it was written", lines[0])
            self._play(copy / "run", place, spoiled if lines else None, bytes(data))
        finally:
            shutil.rmtree(copy)

    def _play(self, run: Path, place: dict[str, Any], said_of: Path | None, data: bytes) -> None:
        """To its end; InputError where something was said on the way. `said_of`: the file that is said already."""
        said = StringIO()
        with redirect_stderr(said):
            play(run, self.recipe)
        if said_of is not None and said_of.read_bytes() == data:  # nothing needed it: the others are compared
            said_of.write_bytes((self.folder / place["file"]).read_bytes())
        if outcome(run) != self.whole:
            raise Silent(f"{place}: other picks, metrics or records; said: {said.getvalue() or 'nothing'}")
        words = [line for line in said.getvalue().splitlines() if "damaged" in line or "again" in line]
        if words or said_of is not None:
            raise InputError(run, "a run as it was written", (words or ["damage that status --verify says"])[0])


def outcome(run: Path) -> list[object]:
    """Picks, metrics, digests and the consistency of every round."""
    parts: list[object] = []
    for file in sorted(run.glob("rounds/*/round.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        with np.load(file.with_name("consistency.npz"), allow_pickle=False) as archive:
            records = {name: archive[name].tobytes() for name in archive.files}
        digests = {name: digest for name, digest in row["digests"].items() if name != SCORES}
        parts.append([row["query"], row["metrics"], digests, records])
    return parts


def _light(source: str, target: str) -> None:
    """Copy a file; a large one is the same."""
    if Path(source).stat().st_size > LARGE:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


class _checkpoint:
    """Within, stage 0 saves its state after each step, and ends with the third."""

    def __enter__(self) -> None:
        self.before, self.save = loop.CHECKPOINT_SECONDS, loop._save
        saves = []

        def last(*arguments: Any) -> None:
            self.save(*arguments)
            saves.append(1)
            if len(saves) == 3:
                raise _Killed

        loop.CHECKPOINT_SECONDS = -1.0
        setattr(loop, "_save", last)  # noqa: B010 (a name of its own)

    def __exit__(self, *_: object) -> None:
        loop.CHECKPOINT_SECONDS = self.before
        setattr(loop, "_save", self.save)  # noqa: B010
