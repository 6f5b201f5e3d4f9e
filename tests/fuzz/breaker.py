"""The breaker: plays inputs that a seeded generator spoiled, in forked children with limits of time and memory.

`python -m tests.fuzz.breaker --count 300 --seed 7` plays so many of each format, `--hours 1` as many as fit; files of
`corpus/`, which once were failures, come first. A failure is written there. What counts as one: an exception that is
none of ours, a child that dies or takes too long, and a run whose damage nobody noticed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybrid_al.errors import HybridALError
from tests.fuzz.formats import FORMATS, Target
from tests.fuzz.mutations import Silent

CORPUS = Path(__file__).with_name("corpus")
SECONDS, MEMORY, BATCH = 20.0, 4 << 30, 25
KINDS = ("taken", "refused", "traceback", "hang", "died", "silent")


@dataclass
class Tally:
    """What became of the inputs of a format, and a line for each failure."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def row(self, name: str) -> str:
        """A row of the table."""
        return f"| {name} | {sum(self.counts.values())} | {' | '.join(str(self.counts[kind]) for kind in KINDS)} |"


def play(
    target: Target, files: Sequence[Path], tally: Tally, keep: Path | None = None, patience: float = SECONDS
) -> None:
    """Play files in children, a new one after each that dies or takes more than `patience` seconds for a file."""
    rest = list(files)
    while rest:
        for kind, said in _child(target, rest, patience):
            file = rest.pop(0)
            tally.counts[kind] += 1
            if kind not in ("taken", "refused"):
                tally.failures.append(f"{target.name} {file.name}: {kind}: {said}")
                if keep is not None:
                    (keep / target.name).mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, keep / target.name / _kept_name(file))


def _kept_name(file: Path) -> str:
    """A name of its own; that of a file of a run begins with the file that it stands for."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    return f"{file.name}-{digest}" if "__" in file.name else digest + "".join(file.suffixes)


def _child(target: Target, files: Sequence[Path], patience: float) -> Iterator[tuple[str, str]]:
    """What became of each file, as far as one child came."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _limit()
            for file in files:
                kind, said = outcome(target, file)
                os.write(writer, f"{kind}\t{' '.join(said.split())[:300]}\n".encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(writer)
    played, buffer = 0, b""
    while played < len(files):
        ready, _, _ = select.select([reader], [], [], patience)
        chunk = os.read(reader, 65536) if ready else b""
        if not chunk:
            os.kill(child, signal.SIGKILL)
            break
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            kind, _, said = line.decode("utf-8").partition("\t")
            played += 1
            yield kind, said
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if played < len(files):
        yield ("hang", f"longer than {patience:.0f} s") if not ready else ("died", f"signal {status & 127}")


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    size = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def outcome(target: Target, file: Path) -> tuple[str, str]:
    """Play one file in this process: kind and what was said."""
    try:
        target.play(file)
    except HybridALError as error:
        long = max(map(len, str(error).split("\n")))
        return ("refused", "") if long < 5000 else ("traceback", f"a line of {long} characters")
    except Silent as error:
        return "silent", str(error)
    except BaseException as error:  # noqa: BLE001 (what else it may be is what is looked for)
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__}: {error} ({Path(last.filename).name} line {last.lineno})"
    return "taken", ""


def spoiled(target: Target, rng: np.random.Generator, count: int, folder: Path) -> list[Path]:
    """Write `count` spoiled files into a new folder."""
    folder.mkdir(parents=True)
    files = []
    for i in range(count):
        name, data = target.spoil(rng, i)
        (file := folder / name).write_bytes(data)
        files.append(file)
    return files


def kept(target: Target) -> list[Path]:
    """The failures of a format that were ever found."""
    return sorted(file for file in (CORPUS / target.name).glob("*") if file.is_file())


def run(
    names: Sequence[str],
    count: int,
    seed: int,
    seconds: float,
    keep: Path | None = CORPUS,
    patience: float = SECONDS,
) -> dict[str, Tally]:
    """Play the corpus of each format, then `count` new inputs, or in turn until the time is over."""
    tallies, end = {name: Tally() for name in names}, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as temporary:
        targets = {name: FORMATS[name](Path(temporary) / f"{name}-seeds") for name in names}
        for name, target in targets.items():
            play(target, kept(target), tallies[name], patience=patience)
        for turn in range(max(1, -(-count // BATCH))):
            for k, (name, target) in enumerate(targets.items()):
                if time.monotonic() > end:
                    return tallies
                rng = np.random.default_rng([seed, k, turn])
                files = spoiled(
                    target, rng, min(BATCH, count - turn * BATCH), folder := Path(temporary) / name / str(turn)
                )
                play(target, files, tallies[name], keep, patience)
                shutil.rmtree(folder)
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    """The results as Markdown."""
    head = f"| format | tried | {' | '.join(KINDS)} |\n|{'---|' * (len(KINDS) + 2)}"
    return "\n".join([head, *(tally.row(name) for name, tally in tallies.items())])


def main() -> None:
    """Play, print the table, and end with 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=10**9, help="inputs of each format")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--patience", type=float, default=SECONDS, help="seconds until an input counts as one that hangs"
    )
    parser.add_argument("formats", nargs="*", default=list(FORMATS))
    options = parser.parse_args()
    tallies = run(options.formats, options.count, options.seed, 3600 * options.hours, patience=options.patience)
    print(f"seed {options.seed}\n{table(tallies)}")
    failures = [line for tally in tallies.values() for line in tally.failures]
    print("\n".join(failures), file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
