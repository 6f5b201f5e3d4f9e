"""Kills at random moments: a run that is killed again and again ends as one that nobody touched.

`python -m tests.fuzz.kills --kills 200 --signals 60` kills every stage with SIGKILL, also the processes that it
started, and ends it with TERM, HUP and INT, which must take it to its end within seconds, with a line and an exit code.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from tests.fuzz.forked import SOFT, Child
from tests.fuzz.stages import DONE, RECIPES, WAITING, Person, Stage, differences, outcome, unanswered

STOPPED = "interrupted; the last commit is unchanged, and the same command goes on"
PATIENCE = 60.0  # seconds after a signal until a call counts as one that hangs
DAY = 86400.0
SECONDS = 15.0  # from a signal to the end, on a machine that others use too


@dataclass
class Tally:
    """What became of the calls of a stage; `todo`: the kills and signals that are still to come."""

    todo: list[signal.Signals]
    kills: int = 0
    signals: int = 0
    wholes: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, fault: str) -> None:
        """Note a fault, and say it."""
        self.faults.append(fault)
        print(fault, file=sys.stderr, flush=True)

    def row(self, name: str) -> str:
        """A row of the table."""
        return f"| {name} | {self.kills} | {self.signals} | {self.wholes} | {self.slowest:.1f} | {len(self.faults)} |"


@dataclass
class Killer:
    """Plays a stage, and hurts its calls while `tally` has kills and signals to come."""

    stage: Stage
    rng: np.random.Generator
    tally: Tally
    seconds: dict[str, float] = field(default_factory=dict)  # of a step that nobody touches

    def play(self, run: Path) -> None:
        """Play a run to its end."""
        step: str | None = self.stage.first
        person, tries = Person(), 0
        while step is not None:
            child, began = self.stage.begin(run, step), time.monotonic()
            hit = self._hurt(child, run, step, person, calm=tries > 20)
            tries = tries + 1 if hit else 0
            if child.code is None or (left := child.orphans()):
                hangs = f"hangs:\n{child.stacks()}" if child.code is None else ""
                self._fault(step, hangs or f"left {', '.join(left)} at work")
                child.kill_all()
            if not hit:
                self.seconds.setdefault(step, time.monotonic() - began)
                if child.code not in (DONE, WAITING):
                    self._fault(step, f"ended with {child.code}: {child.lines()[-3:]}")
                    return
            self.stage.warm()
            if not hit or (step == "label" and not unanswered(run)):
                step = self.stage.after(run, step, child.code or 0)
        self.tally.wholes += 1
        for fault in person.faults(run) if person.saved else ():
            self._fault("label", fault)

    def play_a_day_later(self, run: Path) -> None:
        """Play a run that is done again, untouched, if it has temporary files left, which then are a day old."""
        if left := [*run.rglob("*.tmp")]:
            for file in left:
                os.utime(file, (time.time() - DAY,) * 2)
            tally, self.tally = self.tally, Tally([])
            self.play(run)
            tally.faults, self.tally = tally.faults + self.tally.faults, tally

    def _hurt(self, child: Child, run: Path, step: str, person: Person, *, calm: bool) -> bool:
        """Wait for a child, and send it a signal after a while: whether it was hit. People end their page by INT."""
        todo = [] if calm else self.tally.todo
        number = todo[-1] if todo else signal.SIGINT
        longest = self.seconds.get(step, PATIENCE)
        moment = float(self.rng.uniform(0.0, longest)) if todo else 10 * PATIENCE
        if step == "label":
            timer = threading.Timer(moment, self._send, [child, number])
            timer.start()
            person.answer(child, run, lambda: timer.is_alive() and child.code is None)
            timer.cancel()
            timer.join()
        elif child.wait(moment) is not None or not todo:
            return False
        sent = time.monotonic()
        self._send(child, number)
        child.wait(PATIENCE)
        took = time.monotonic() - sent
        if child.code in (DONE, WAITING):
            return False
        if todo:
            todo.pop()
            self.tally.kills += number == signal.SIGKILL
            self.tally.signals += number != signal.SIGKILL
        if number != signal.SIGKILL:
            self._check_end(child, step, number, took)
        if any("Traceback" in line or "fault of hybrid-al" in line for line in child.lines()):
            self._fault(step, f"said {child.lines()[-5:]} after {number.name}")
        return True

    def _send(self, child: Child, number: signal.Signals) -> None:
        """A signal: INT to the whole group, as a terminal does; a kill also to one of the processes that it started."""
        if child.code is not None:
            return
        if number == signal.SIGINT:
            os.killpg(child.pid, number)
            return
        targets = [child.pid, *(child.children() if number == signal.SIGKILL else ())]
        try:
            os.kill(targets[int(self.rng.integers(len(targets)))], number)
        except ProcessLookupError:
            child.wait(PATIENCE)

    def _check_end(self, child: Child, step: str, number: signal.Signals, took: float) -> None:
        """An end by a signal: exit code, line, time."""
        self.tally.slowest = max(self.tally.slowest, took)
        lines = child.lines()
        if child.code != 128 + number:
            self._fault(step, f"ended with {child.code} after {number.name}: {lines[-2:]}")
        elif STOPPED not in lines:
            self._fault(step, f"said {lines[-3:]} after {number.name}")
        if took > SECONDS:
            self._fault(step, f"took {took:.0f} s to end after {number.name}")

    def _fault(self, step: str, text: str) -> None:
        self.tally.add(f"{self.stage.name}: {step} {text}")


def kill(name: str, folder: Path, kills: int, signals: int, seed: int) -> Tally:
    """Play a stage untouched, then again and again while it is hurt; compare each end with the first."""
    rng, stage = np.random.default_rng(seed), Stage(name, folder)
    killer = Killer(stage, rng, Tally([]))
    for lap in ("cold", "whole"):  # the second time everything is imported
        killer.seconds.clear()
        killer.play(folder / lap)
    whole = outcome(folder / "whole")
    if found := differences(whole, outcome(folder / "cold")):
        killer.tally.add(f"{name}: twice untouched, not the same: {found}")
    tally = killer.tally
    if tally.faults:
        return tally
    tally.wholes = 0
    todo = [signal.SIGKILL] * kills + [SOFT[i % 3] for i in range(signals)]
    tally.todo = [todo[i] for i in rng.permutation(len(todo))]
    while tally.todo and len(tally.faults) < 20:
        killer.play(run := folder / "killed")
        killer.play_a_day_later(run)
        for fault in differences(whole, outcome(run)):
            tally.add(f"{name}: {fault}")
        shutil.rmtree(run, ignore_errors=True)
    for file in (folder / "tmp").iterdir():
        tally.add(f"{name}: left over in the temporary folder: {file.name}")
    return tally


def main() -> None:
    """Kill, and compare with what was left alone; ends with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--signals", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("stages", nargs="*", default=list(RECIPES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"seed {options.seed}\n| stage | kills | signals | runs compared | slowest end (s) | faults |\n|{'---|' * 6}")
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for k, name in enumerate(options.stages):
            kills, signals = (len(range(k, count, len(options.stages))) for count in (options.kills, options.signals))
            tally = kill(name, Path(temporary) / str(k), kills, signals, options.seed + k)
            print(tally.row(name), flush=True)
            faults += tally.faults
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
