"""The verbs after a run, and over many: predict, export, report, dashboard, bench."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ..report import console

if TYPE_CHECKING:
    pass

from .base import Device, Overrides, Quiet, RecipeArg, RunArg, app, line_by_line


@app.command()
def predict(
    run: RunArg,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA", help="A folder of images, a CSV, an NPZ, a volume or a slide; else the run's pool."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="A new CSV file; of segmentation a new folder for masks.")
    ] = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """What the last model of a run says of new images, or of the pool: classes with probabilities, or masks."""
    from ..api import predictions

    if out is None:
        raise InputError("-o", "a new CSV file, or of segmentation a new folder", "nothing")
    with console.progress(quiet) as progress:
        table = predictions.predict(run, data, out=out, device=device, say=line_by_line(quiet), progress=progress)
    print(f"Predictions: {table}")


@app.command()
def export(
    run: RunArg,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="A new folder.")] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Plain ids where the run has hashed ones; needs the data and the salt.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Labels, encoder and model of a run for other programs: CSV, PNG or NIfTI, safetensors, ONNX."""
    from ..api import export as api

    if out is None:
        raise InputError("-o", "a new folder", "nothing")
    print(f"Export: {api.export(run, out=out, names=names, say=line_by_line(quiet))}, described in its README.md")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="One or more run directories.")],
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write to (RUN/report).")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it anew while the runs go on; the page loads itself anew.")
    ] = False,
) -> None:
    """HTML + CSV; several runs are compared."""
    from ..bench.verdict import verdict
    from ..report.overview import write_reports
    from ..report.watch import keep_writing

    if watch:
        keep_writing(runs, out, verdict=verdict, say=lambda line: print(line, flush=True))
    else:
        print(f"Report: {write_reports(runs, out, verdict=verdict)}")


@app.command()
def dashboard(
    target: Annotated[Path, typer.Argument(metavar="RUN|BENCH", help="A run directory, or the folder of a bench.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write (RUN/report/dashboard.json).")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Send it to the W&B server that you are logged in to.")] = False,
    sync: Annotated[
        bool, typer.Option("--sync", help="Send the offline files of the run, then the dashboard.")
    ] = False,
) -> None:
    """W&B dashboards of a run and its recipe, or of a bench: workspaces and reports as a file, or pushed."""
    from ..bench.board import board_of, is_bench
    from ..report import boards
    from ..report import dashboard as page

    several = [board_of(target)] if is_bench(target) else boards.boards_of(target)
    file = page.write(several, out or (target if is_bench(target) else target / "report") / "dashboard.json")
    print(f"Dashboards: {file}")
    if sync:
        page.sync(target)
    if push or sync:
        print("\n".join(page.push(several, file)))


@app.command()
def bench(
    recipe: RecipeArg,
    overrides: Overrides = None,
    strategies: Annotated[
        str,
        typer.Option(
            "--strategies", metavar="A,B+C", help="B+C: cold start B, queries by C; else those of the recipe."
        ),
    ] = "",
    objectives: Annotated[str, typer.Option("--objectives", metavar="X,Y", help="Else those of the recipe.")] = "",
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="N", help="How many, or which, as in 60-79,100; else those of the recipe."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Loops at once, each with one thread.")] = 1,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="MINUTES", min=0, help="Start no loop after that.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where the results go; else runs/bench/<name>.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="A Markdown file whose block `<!-- bench: <name> -->` is filled in.")
    ] = None,
    work: Annotated[
        Path, typer.Option("--run-dir", help="Stage 0, caches and loops in progress; benches may share it.")
    ] = Path("runs/bench"),
    again: Annotated[
        bool,
        typer.Option("--recheck", help="Of each arm of an earlier version play a cell again; the same: note today's."),
    ] = False,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Compare strategies and objectives over paired seeds; killed or out of time, it goes on when called again."""
    from ..bench import grid, publish, recheck, runner, tuning

    split: Callable[[str], list[str]] = lambda text: [part.strip() for part in text.split(",") if part.strip()]  # noqa: E731
    plan = grid.load_grid(
        recipe, overrides or [], strategies=split(strategies), objectives=split(objectives), seeds=seeds
    )
    paths = runner.Paths(out or work / plan.bench_recipe.name, work)
    limit = None if time_limit is None else 60 * time_limit
    say: Callable[[str], None] = (lambda _: None) if quiet else (lambda line: print(line, flush=True))
    failure, began = None, time.monotonic()
    tuned = tuning.tuned(plan, paths, jobs=jobs, device=device, time_limit=limit, say=say)
    if tuned is None:
        return
    plan, limit = tuned, None if limit is None else max(limit - (time.monotonic() - began), 0)
    if again:
        recheck.recheck(plan, paths, jobs=jobs, device=device, say=say)
        return
    try:
        runner.run(plan, paths, jobs=jobs, device=device, time_limit=limit, say=say)
    except runner.CellsFailed as error:
        failure = error
    print(f"Results: {publish.publish(plan, paths, into=into)}")
    if failure is not None:
        raise failure
