"""The verbs of a run: pretrain, select, query, labels, run, status, audit."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AwaitingLabels, InputError
from ..report import console

if TYPE_CHECKING:
    from ..assemble import Project
    from ..core.types import Round

from .base import (
    Device,
    Overrides,
    Quiet,
    RecipeArg,
    RunArg,
    RunDirOption,
    app,
    line_by_line,
    make_stage0,
    open_project,
)


@app.command()
def pretrain(
    recipe: RecipeArg,
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Stage 0: self-supervised pretraining on the pool; writes encoder and embeddings. Torchrun may start several."""
    from .. import stage0
    from ..api.session import session

    stage0.leave_with_launcher()
    project = open_project(recipe, overrides, run_dir, device, quiet=quiet or not stage0.leads(), alone=False)
    if not stage0.leads():
        stage0.assist(project)
        return
    with session(project) as tracker:
        metrics = make_stage0(project, tracker, quiet)
    if not quiet:
        console.say_probe(metrics)
        print(f"Stage 0: {project.run.path / 'stage0'}")


@app.command()
def select(
    target: Annotated[
        str, typer.Argument(metavar="RECIPE|DATA", help="A recipe; or a folder of images, a CSV, an NPZ or a volume.")
    ],
    overrides: Overrides = None,
    k: Annotated[int | None, typer.Option("-k", metavar="N", help="DATA: how many images to pick.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="DATA: a new folder for the picks (DATA-picks beside it).")
    ] = None,
    strategy: Annotated[str | None, typer.Option("--strategy", help="DATA: who picks (stratified).")] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option("--embeddings", help="DATA: a .npy, rows by sorted ids, or an .npz of ids and embeddings."),
    ] = None,
    already: Annotated[
        Path | None, typer.Option("--already", help="DATA: a CSV with a column id of images that have a label.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="DATA: copy the picked images too.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="DATA: of whatever is drawn (0).")] = None,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """RECIPE: one query, of the next round, and the list to fill in. DATA: the -k images to label first."""
    options = {
        "-k": k, "--output": out, "--strategy": strategy, "--embeddings": embeddings, "--already": already,
        "--copy": copy or None, "--seed": seed,
    }  # fmt: skip
    if _is_data(target) or (k is not None and not _is_recipe(target)):
        from ..api import select as api

        if run_dir is not None:
            raise InputError("--run-dir", "a recipe, which has a run; picks go to -o", f"the images of {target}")
        if k is None:
            raise InputError("-k", "how many of the images to pick", "nothing")
        with console.progress(quiet) as progress:
            selection = api.select(
                target, k, out=out, strategy=strategy or "stratified", embeddings=embeddings, already=already,
                copy=copy, seed=seed or 0, device=device, overrides=overrides or [], say=line_by_line(quiet),
                progress=progress,
            )  # fmt: skip
        print(f"Picks: {selection.folder / 'picks.csv'}, and contact_sheet.png beside it")
        return
    for name, value in options.items():
        if value is not None:
            raise InputError(name, "images (a folder, a CSV, an NPZ or a volume) to pick from", f"the recipe {target}")
    _select_round(target, overrides, run_dir, device, quiet)


def _select_round(recipe: str, overrides: list[str] | None, run_dir: Path | None, device: str, quiet: bool) -> None:
    from .. import loop
    from ..api.session import session
    from ..api.sheet import write_sheet
    from ..assemble import experiment
    from ..oracles.inbox import owed
    from ..report.overview import answers_of, go_on, list_of, readers_owe

    project = open_project(recipe, overrides, run_dir, device, quiet=quiet)
    with session(project) as tracker:
        make_stage0(project, tracker, quiet)
        setup, rounds = experiment(project), project.run.rounds()
        if loop.over(setup, project.run):
            raise InputError(project.run.path, "a round left to play", f"all {len(rounds)} are done")
        r = len(rounds)
        _say_standing_query(project, r)
        picks = loop.select(setup, project.run, r)
        if not len(picks):
            return
        if not project.setting.simulated:
            with suppress(AwaitingLabels):  # which lays out what a person needs to answer
                setup.oracle.annotate(picks, r)
            _propose(project)
            write_sheet(project)
    if shares := owed(project.run, r):
        print(f"{readers_owe(shares, r)}; the lists of each are in {project.run.path / 'worklist'}")
        return
    waiting = len(picks) - len(answers_of(project.run, r))
    query = list_of(project.run, r)
    outlook = f"{waiting} images to label in {query}" if waiting > 0 else f"all is answered; {go_on(project.run)}"
    if waiting > 0 and not project.setting.simulated:
        outlook += f", or in the browser: hybrid-al label {shlex.quote(str(project.run.path))}"
    print(f"Round {r}: {outlook}")


@app.command()
def query(
    run: RunArg,
    format: Annotated[str, typer.Option("--format", metavar="NAME", help="Of the tool; a wrong one lists all.")],
    out: Annotated[Path | None, typer.Option("-o", "--output", help="A new folder.")] = None,
    reader: Annotated[
        str | None, typer.Option("--reader", metavar="NAME", help="Whose part, where several readers share the run.")
    ] = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """The open query for an annotation tool: images, labels and the model's proposals in its format."""
    from ..api.query import write

    if out is None:
        raise InputError("-o", "a new folder", "nothing")
    with console.progress(quiet) as progress:
        readme, count = write(run, format=format, out=out, reader=reader, device=device, progress=progress)
    print(f"{count} images to answer; {readme} says how")


@app.command()
def labels(
    run: RunArg,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A CSV of labels or of boxes, a folder of masks, or what a tool exported."),
    ],
    annotator: Annotated[str, typer.Option("--annotator", help="Who answered.")] = "annotator",
    replace: Annotated[bool, typer.Option("--replace", help="In the place of other answers of other people.")] = False,
    empty: Annotated[
        bool,
        typer.Option("--empty", help="Where nothing is drawn in a tool's file nothing is to be drawn; else it waits."),
    ] = False,
    withdraw: Annotated[
        bool,
        typer.Option("--withdraw", help="FILE names ids (column id): take back the annotator's answers about them."),
    ] = False,
    unasked: Annotated[
        bool, typer.Option("--unasked", help="Also of images of the pool that nobody was asked about.")
    ] = False,
) -> None:
    """Take annotations in, corrections of earlier ones too: checked whole, then taken over at once."""
    from ..api.answers import take, take_back
    from ..core.rundir import RunDir
    from ..oracles.inbox import inbox, lists_of, owed
    from ..oracles.ledger import collect
    from ..oracles.readers import check_reader
    from ..oracles.worklist import answer_files, corrections, rows_behind
    from ..report.overview import go_on

    disk, annotator = RunDir(run), check_reader(annotator, "--annotator")
    disk.facts()
    with disk.lock():
        collect(disk)
        before = len(answer_files(disk, r := len(disk.rounds())))
        if withdraw:
            received, missing = take_back(run, file, annotator)
        else:
            received, missing = take(run, file, annotator, replace=replace, empty=empty, unasked=unasked, say=_note)
    who = ", ".join(f"{name} {len(ids)}" for name, ids in (owed(disk, r) or {}).items())
    of_whom = f" ({who}; their lists are in {disk.path / 'worklist'})" if who else ""
    outlook = f"{missing} still missing{of_whom}" if missing else f"the round is complete; {go_on(disk)}"
    rows = rows_behind(disk, before)
    if disk.query_ids(r) is None:
        over = "is the loop over, give it one (loop.budgets with a number more), so that a model learns from them"
        corrected = f"corrections of rounds that are over: round {r} trains on them, {go_on(disk)}; {over}"
        outlook = corrected if rows else "nothing is new"
    whose = ", ".join(f"{n} of {who}" for who, n in corrections(rows).items())
    took = f"{received} answer{'s' * (received != 1)} {'withdrawn' if withdraw else 'taken'}"
    if (again := received - len(rows)) > 0 and lists_of(inbox(disk)) is not None:
        took += f", {again} of them as {annotator} gave them before"
    print(f"{took}{f', in the place of other answers ({whose})' if whose else ''}, {outlook}")


@app.command()
def run(
    recipe: RecipeArg,
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """The whole loop; with a human oracle it stops at the query (exit code 3) and goes on when called again."""
    from .. import loop
    from ..api.random_runs import play_random
    from ..api.session import session
    from ..api.sheet import write_sheet
    from ..assemble import experiment
    from ..report.overview import first_notes, outcome_of, write_reports

    project = open_project(recipe, overrides, run_dir, device, quiet=quiet)
    count = project.recipe.report.random_runs
    say: Callable[[Round], None] = (lambda _: None) if quiet else console.say_round
    made, began = not project.has_stage0, time.perf_counter()
    if not quiet:
        print("".join(f"{note.lstrip()}\n" for note in first_notes(project)), end="", file=sys.stderr)
    with session(project) as tracker:
        metrics = make_stage0(project, tracker, quiet)
        seconds = time.perf_counter() - began if made else None
        if not quiet:
            console.say_probe(metrics)
        setup = experiment(project)
        for row in [] if quiet else project.run.rounds():
            console.say_round(row)
        _say_standing_query(project, len(project.run.rounds()))
        try:
            with console.progress(quiet, project.run.path) as step:
                progress: loop.Say = lambda done, stage: step(done, len(project.recipe.loop.budgets), stage)  # noqa: E731
                loop.run(setup, project.run, tracker, report=say, progress=progress)
        except AwaitingLabels:
            _propose(project)
            write_sheet(project)
            raise
        play_random(project, lambda i, rows: None if quiet else console.say_random(i, count, rows))
        page = write_reports([project.run.path], None)
    if quiet:
        print(f"Report: {page}")
        return
    console.say_table(project.run.rounds(), [random.rounds() for random in project.run.random_runs()])
    console.say_enough(setup.stopping, project.run.rounds())
    console.say_time(seconds, project.run.rounds())
    console.say_outcome(outcome := outcome_of(project.run))
    print(f"Report: {page}")
    console.say_next(outcome, project.run.path)


@app.command()
def status(
    run: RunArg,
    verify: Annotated[bool, typer.Option("--verify", help="Check every file against its commit.")] = False,
) -> None:
    """Where a run stands and what it waits for."""
    from ..core.rundir import RunDir
    from ..core.verify import verify as verify_run
    from ..report.overview import standing

    if verify:
        count, lines = verify_run(RunDir(run))
        if lines:
            expected = f"{count} files as hybrid-al wrote them"
            raise InputError(run, expected, f"{len(lines)} damaged:\n  " + "\n  ".join(lines))
        print(f"{count} files are as they were written")
    print("\n".join(standing(RunDir(run))))


@app.command()
def audit(
    run: RunArg,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A new folder for the ledger as CSV; of DICOM images as SR or SEG too."),
    ] = None,
    recheck: Annotated[
        Path | None,
        typer.Option("--recheck", metavar="FILE", help="A new CSV of the labels, those to look at again first."),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Who said what: checks the ledger of a run, and that it gives the labels of every round."""
    from ..oracles.audit import audit as check

    one = check(run)
    print("\n".join(one.lines()))
    one.refuse()
    if one.rows or one.ledger.entries():
        print(f"  the labels of {len(one.run.rounds())} rounds are those that the answers give")
    if out is not None:
        from ..api.audit import write

        print(f"Ledger: {write(one, out, say=_note)}")
    if recheck is not None:
        from ..api import doubts

        count, doubtful = doubts.write(run, recheck, device=device)
        print(f"Labels: {recheck}, {doubtful} of {count} doubtful; corrected, hybrid-al labels {run} FILE --replace")


def _propose(project: Project) -> None:
    """Give the model's proposals to tasks on a server; one that cannot be reached was named already."""
    from ..api.query import propose
    from ..oracles.label_studio import ServerProblem

    with suppress(ServerProblem):
        propose(project.run.path, str(project.device))


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _is_data(target: str) -> bool:
    """Whether the argument of `select` is images: a folder that is no run and no recipe's name, or a file of data."""
    path = Path(target)
    if path.is_dir():
        from ..recipe import is_run, shipped_recipes

        return not is_run(path) and target not in shipped_recipes()
    from ..data.tables import SUFFIXES

    return target.lower().endswith((*SUFFIXES, ".npz", ".nii", ".nii.gz"))


def _is_recipe(target: str) -> bool:
    """Whether the argument of `select` is a recipe's file or name, or a run."""
    from ..recipe import is_run, shipped_recipes

    return is_run(target) or target in shipped_recipes() or target.lower().endswith((".yaml", ".yml"))


def _say_standing_query(project: Project, r: int) -> None:
    """Say where the query of a round was made for another budget than the recipe has now; it stays as it is."""
    ids, loop = project.run.query_ids(r), project.recipe.loop
    if ids is None or r >= len(loop.budgets) or (r and loop.unit != "labels"):
        return
    asked, budget = len(ids), loop.budgets[r]
    if asked < budget or (asked > budget and r):  # in round 0 others may follow those that were skipped
        text = f"round {r} has its query, of {asked}, and keeps it; the {budget} of loop.budgets came too late for it"
        print(text, file=sys.stderr)
