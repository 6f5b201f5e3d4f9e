"""What a command says on the terminal while it works, and at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.types import Round
    from ..query.stopping import Stopping


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on a terminal, nothing elsewhere; it appears, and its clock starts, with the first step."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", start=False, visible=False)

        def show(step: int, total: int, message: str) -> None:
            if not bar.tasks[0].started:  # what an interrupted run had done says nothing of this one's speed
                bar.reset(task, completed=step, total=total)
            bar.update(task, completed=step, total=total, description=message, visible=True)

        yield show


def say_probe(metrics: dict[str, float]) -> None:
    """How good the encoder of stage 0 is, by its probes."""
    if metrics:
        print("Stage 0: " + ", ".join(f"{name} {value:.3f}" for name, value in sorted(metrics.items())))


def headline(metrics: Mapping[str, float]) -> list[str]:
    """The names of the few metrics that tell how good a model is: of test before val, the usual ones where they are."""
    for split in ("test", "val"):
        measured = [name for name in metrics if name.startswith(f"{split}/")]
        usual = [f"{split}/{name}" for name in ("auroc", "balanced_accuracy", "dice", "hd95")]
        if measured:
            return [name for name in usual if name in measured] or sorted(measured)[:2]
    return []


def say_round(row: Round) -> None:
    """One line a round: who picked how many, and the numbers that matter."""
    numbers = ", ".join(f"{name} {row.metrics[name]:.3f}" for name in headline(row.metrics))
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


def say_table(rows: Sequence[Round]) -> None:
    """All rounds, with the seconds of query and training."""
    from rich.console import Console
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows for name in headline(row.metrics)))
    headers = [name.replace("/", "\n").replace("balanced_accuracy", "bal. acc.") for name in names]
    table = Table("round", "strategy", "picked", "labels", *headers, "query\ns", "train\ns", box=None)
    for row in rows:
        cells = [f"{row.metrics[n]:.3f}" if n in row.metrics else "" for n in names]
        times = [f"{row.seconds[k]:.1f}" for k in ("query", "train")]
        table.add_row(str(row.index), row.strategy, str(row.budget), str(row.labeled), *cells, *times)
    Console().print(table)
