"""The verbs of people who answer: label, readers, serve."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AwaitingLabels, InputError
from ..report import console

if TYPE_CHECKING:
    from ..assemble import Project

from .base import Device, Overrides, Quiet, RecipeArg, RunArg, RunDirOption, app, make_stage0, open_project


@app.command()
def label(
    recipe: RecipeArg,
    overrides: Overrides = None,
    reader: Annotated[
        str | None,
        typer.Option(
            "--reader", metavar="NAME", help="Who answers; else the page asks. Of several readers: whose part."
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Go on with the loop by itself where a query is answered.")
    ] = False,
    proposals: Annotated[
        bool, typer.Option("--proposals/--no-proposals", help="Masks begin with what the last model draws.")
    ] = True,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="0: always the same of a run and its reader, where it is free."),
    ] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="DIR", help="No page: copy the images of the query into a new folder."),
    ] = None,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """A page in the browser, of this machine alone, on which a person answers the open query; made where none is."""
    from ..page import server

    if sheet is None:
        server.check_extra("label")
    project = open_project(recipe, overrides, run_dir, device, quiet=quiet)
    _check_people(project)
    if sheet is None:
        _check_reader(project, reader)
    segmenter = server.segmenter_of(project.recipe) if sheet is None else None
    _make_query(project, quiet)
    if sheet is not None:
        from ..api.sheet import copy_query

        print(f"Images: {copy_query(project, sheet)}")
        return
    server.serve(
        project,
        reader=reader,
        port=port,
        opens=open_browser,
        trains=train,
        proposes=proposals,
        segmenter=segmenter,
        say=lambda line: print(line, flush=True),
    )


@app.command()
def readers(
    run: RunArg,
    add: Annotated[list[str] | None, typer.Option("--add", metavar="NAME", help="Somebody who reads too.")] = None,
    gone: Annotated[list[str] | None, typer.Option("--gone", metavar="NAME", help="Somebody who left.")] = None,
    adjudicator: Annotated[
        str, typer.Option("--adjudicator", metavar="NAME", help="Who judges in the place of the one until now.")
    ] = "",
) -> None:
    """Who reads a run that several share, and what they owe; or other people, from the next query on."""
    from ..api.readers import People, change, standing
    from ..core.rundir import RunDir

    people = People(tuple(add or ()), tuple(gone or ()), adjudicator)
    if people == People():
        lines = standing(run)
    else:
        disk = RunDir(run)
        disk.facts()
        with disk.lock():
            lines = change(run, people)
    print("\n".join(lines))


@app.command()
def serve(
    recipe: RecipeArg,
    overrides: Overrides = None,
    reader: Annotated[
        str | None, typer.Option("--reader", metavar="NAME", help="Who answers; else the client says (client_id).")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Go on with the loop by itself where a query is answered.")
    ] = False,
    host: Annotated[
        str, typer.Option("--host", help="Address of this machine that clients call; other than its own: a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", metavar="URL", help="A page that may call, as that of OHIF.")
    ] = None,
    asked_only: Annotated[
        bool, typer.Option("--asked-only", help="Of label volumes leave out slices that nobody asked about.")
    ] = False,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """The interface of MONAI Label: 3D Slicer, OHIF and QuPath show the open query and send the answers."""
    from ..page.server import check_extra

    check_extra("serve")
    from ..serve import server

    address = server.Address(host, port, tuple(origin or ()))
    project = open_project(recipe, overrides, run_dir, device, quiet=quiet)
    _check_people(project)
    _check_reader(project, reader)
    _make_query(project, quiet)
    server.serve(
        project,
        address,
        reader=reader,
        trains=train,
        asked_only=asked_only,
        say=lambda line: print(line, flush=True),
    )


def _check_people(project: Project) -> None:
    """InputError where no person answers."""
    if project.setting.simulated:
        raise InputError("oracle", "worklist, for a person to answer (oracle=worklist)", project.recipe.oracle.name)


def _check_reader(project: Project, reader: str | None) -> None:
    """UnknownName where several readers share the run, and this is none of them."""
    from ..components import reading_of as at_first
    from ..oracles.readers import reading_of

    if (reading := reading_of(project.run) or at_first(project.setting)) is not None:
        reading.check("--reader", reader)


def _make_query(project: Project, quiet: bool) -> None:
    """The loop up to a query that waits for answers, where none is open yet."""
    from .. import loop
    from ..api.session import session
    from ..api.sheet import write_sheet
    from ..assemble import experiment

    run, manifest = project.run, project.dataset.manifest
    picks = run.picks(r := len(run.rounds()), manifest) if run.exists() else None
    if picks is not None:
        project.check_run()
        with suppress(AwaitingLabels):  # which lays out what a person needs to answer
            project.task.open(project.setting, project.materials())[1].annotate(picks, r)
        return
    with session(project) as tracker:
        metrics = make_stage0(project, tracker, quiet)
        if not quiet:
            console.say_probe(metrics)
        try:
            loop.run(experiment(project), run, tracker, report=(lambda _: None) if quiet else console.say_round)
        except AwaitingLabels:
            write_sheet(project)
        else:
            raise InputError(run.path, "a round left to ask about", f"all {len(run.rounds())} are done")
