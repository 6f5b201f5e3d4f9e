"""What a command says on the terminal while it works, and at the end."""

from __future__ import annotations

import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.progress import Activity, Progress, activity

if TYPE_CHECKING:
    from ..core.types import Round
    from ..query.stopping import Stopping
    from .outcome import Outcome

WIDTH = 100
UNMEASURED = "no test or val labels to measure on"


LINE_SECONDS = 30.0


@contextmanager
def progress(quiet: bool, run: Path | None = None) -> Iterator[Progress]:
    """A progress bar on a terminal, elsewhere a line every half minute; its clock starts with the first step.

    run  directory in which `status` of another terminal finds the same
    """
    with _shown(quiet) as show, activity(run, show) as step:
        yield step


@contextmanager
def _shown(quiet: bool) -> Iterator[Callable[[Activity], None]]:
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _Lines()


class _Lines:
    """A line on stderr at most every half minute, the first one after as long."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, now: Activity) -> None:
        if time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            print(f"  {now.line()}", file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[Callable[[Activity], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(BarColumn(20), TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", visible=False)

        def show(now: Activity) -> None:
            bar.update(task, completed=now.done, total=now.total, description=now.line(), visible=True)

        yield show


def say_probe(metrics: dict[str, float]) -> None:
    """How good the encoder of stage 0 is, by its probes."""
    if metrics:
        print("Stage 0: " + ", ".join(f"{name} {value:.3f}" for name, value in sorted(metrics.items())))


def headline(metrics: Mapping[str, float]) -> list[str]:
    """The names of the few metrics that tell how good a model is: of test before val, the usual ones where they are.

    Where there is a target, its own come first.
    """
    for split in ("test", "val"):
        measured = [name for name in metrics if name.startswith(f"{split}/")]
        usual = [f"{split}/{name}" for name in ("auroc", "balanced_accuracy", "dice", "hd95")]
        if measured:
            names = [name for name in usual if name in measured] or sorted(measured)[:2]
            return [name for name in (f"target/{name}" for name in names) if name in metrics] + names
    return []


def say_round(row: Round) -> None:
    """One line a round: who picked how many, and the numbers that matter."""
    numbers = ", ".join(f"{name} {row.metrics[name]:.3f}" for name in headline(row.metrics)) or UNMEASURED
    words = {"stop/agreement": "agreement with the last model", "stop/expected_gain": "expected gain of the next batch"}
    numbers += "".join(f", {label} {row.metrics[k]:.3f}" for k, label in words.items() if k in row.metrics)
    print(f"Round {row.index}: {row.strategy} picked {row.budget}, {row.labeled} labels; {numbers}", flush=True)


def say_enough(stopping: Stopping, rows: Sequence[Round]) -> None:
    """After which round the labels were enough, where they were."""
    if (r := stopping.enough_at(rows)) is not None:
        effect = (
            "ended the loop (loop.stop.enforce)" if stopping.enforce else "loop.stop.enforce would have ended it there"
        )
        print(f"Stopping signal: enough labels after round {r}; {effect}")


def say_time(stage0: float | None, rows: Sequence[Round]) -> None:
    """Seconds of stage 0, None where an earlier call made it, and of all rounds."""
    made = "made by an earlier call" if stage0 is None else f"{stage0:.1f} s"
    print(f"Time: stage 0 {made}, rounds {sum(sum(row.seconds.values()) for row in rows):.1f} s")


def say_random(run: int, count: int, rows: Sequence[Round]) -> None:
    """One line a run with random picks: its last numbers."""
    last = rows[-1]
    numbers = ", ".join(f"{name} {last.metrics[name]:.3f}" for name in headline(last.metrics)) or UNMEASURED
    print(f"Random picks, run {run + 1} of {count}: {last.labeled} labels; {numbers}", flush=True)


def say_table(rows: Sequence[Round], random: Sequence[Sequence[Round]] = ()) -> None:
    """All rounds, with the seconds of query and training or, where there are some, the means of random picks."""
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows for name in headline(row.metrics)))
    table = Table("round", "picked by", "picked", "labels", box=None)
    for name in names:
        table.add_column(name.replace("/", "\n").replace("balanced_accuracy", "bal. acc."))
        if random:
            table.add_column("random\npicks")
    stages = () if random else ("query", "train")
    for stage in stages:
        table.add_column(f"{stage}\ns")
    for row in rows:
        cells = [text for n in names for text in (_number(row, n), *[_mean(random, row, n)] * bool(random))]
        times = [f"{row.seconds[stage]:.1f}" for stage in stages]
        table.add_row(str(row.index), row.strategy, str(row.budget), str(row.labeled), *cells, *times)
    Console().print(table)


def _number(row: Round, name: str) -> str:
    return f"{row.metrics[name]:.3f}" if name in row.metrics else ""


def _mean(runs: Sequence[Sequence[Round]], row: Round, name: str) -> str:
    """Mean of a metric over the runs that have as many labels in the round."""
    peers = [rows[row.index] for rows in runs if row.index < len(rows) and rows[row.index].labeled == row.labeled]
    values = [peer.metrics[name] for peer in peers if name in peer.metrics]
    return f"{sum(values) / len(values):.3f}" if values else ""


def say_outcome(outcome: Outcome) -> None:
    """What was done and how well it went, in words."""
    print()
    _wrap(outcome.story)
    _wrap(outcome.ground)
    for score in outcome.scores:
        print(f"  {score.name:18} {score.value:.3f}" + f"   random picks: {score.beside}" * bool(score.random))
        if score.meaning:
            print(f"  {'':18} {score.meaning}")
    _wrap(outcome.verdict)


def say_next(outcome: Outcome, run: Path) -> None:
    """The commands that may come next after a run."""
    if outcome.next:
        print("Next:")
    for command, effect in outcome.next:
        print(f"  {command.replace('RUN', shlex.quote(str(run))):42}  {effect}")


def _wrap(text: str) -> None:
    for line in textwrap.wrap(text, WIDTH, break_long_words=False):
        print(line)
