"""The command line. Every verb is a few lines over the library; heavy imports wait until a verb runs."""

from __future__ import annotations

import errno
import io
import itertools
import os
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import __version__
from .errors import AwaitingLabels, HybridALError, InputError
from .report import console

if TYPE_CHECKING:
    from .assemble import Project
    from .core.types import Round
    from .recipe import Recipe
    from .track.base import Trackers

INTERRUPTED = 130

app = typer.Typer(
    name="hybrid-al",
    help="Make every medical annotation count: pretrain, pick, train, pick again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArg = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, the name of a shipped one, or a run to go on with.")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[key.path=value ...]", help="Values to change.")]
RunArg = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RunDirOption = Annotated[Path | None, typer.Option("--run-dir", help="Where the run lives (runs/<name>-s<seed>).")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ... or auto.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say only what went wrong.")]


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The recipe to copy.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Where to copy it (NAME.yaml).")] = None,
) -> None:
    """List the shipped recipes, or copy one."""
    from .errors import UnknownName
    from .recipe import shipped_recipes

    texts = shipped_recipes()
    if name is None:
        for key, text in texts.items():
            print(f"{key:14} {text.splitlines()[0].lstrip('# ')}")
        return
    if name not in texts:
        raise UnknownName("recipes", name, texts)
    _write_new(out or Path(f"{name}.yaml"), texts[name])


@app.command()
def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder of images or volumes, a CSV or an NPZ file.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="The recipe to write.")] = Path("recipe.yaml"),
) -> None:
    """Look at a data folder or file and write a recipe for it."""
    from .data.describe import describe
    from .data.describe.draft import draft
    from .data.describe.names import MODALITIES

    about = describe(data)
    _write_new(
        out,
        draft(
            data.resolve().name.split(".")[0],
            about.sections(),
            modality=about.modality,
            modalities=MODALITIES,
            simulated=about.labeled,
            comments=about.comments,
        ),
    )
    print("\n".join(about.lines()))
    print(f"Next: hybrid-al check {shlex.quote(str(out))} --views views.png")
    print(f"      hybrid-al run {shlex.quote(str(out))}")


@app.command()
def check(
    recipe: RecipeArg,
    overrides: Overrides = None,
    views: Annotated[Path | None, typer.Option("--views", help="Draw the views of some images as a PNG.")] = None,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Validate recipe and data, of a bench all its variants; say what would run, and its need of disk and memory."""
    from .recipe import load_variants
    from .report.overview import draw_views, summary
    from .stage0 import notes, start

    variants = load_variants(recipe, overrides or [])
    several = len(variants) > 1
    for name, variant in variants.items():
        if several and not quiet:
            print(f"Variant {name}", flush=True)
        project = _project(variant, _run_dir(recipe, run_dir), device, quiet=quiet)
        if not several:
            project.check_run()
        lines = [*summary(project, start(project)), *(f"  {note}" for note in notes(project))]
        if not quiet:
            print("\n".join(lines))
        if views is not None:
            path = views.with_stem(f"{views.stem}-{name}") if several else views
            draw_views(project, project.store(), path)
            print(f"Views: {path}")
    if several:
        _check_bench(recipe, overrides, device)


@app.command()
def pretrain(
    recipe: RecipeArg,
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Stage 0: self-supervised pretraining on the pool; writes encoder and embeddings. Torchrun may start several."""
    from . import stage0
    from .api.session import session

    project = _open(recipe, overrides, run_dir, device, quiet=quiet or not stage0.leads(), alone=False)
    if not stage0.leads():
        stage0.assist(project)
        return
    with session(project) as tracker:
        metrics = _stage0(project, tracker, quiet)
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
    """RECIPE: one query, the cold start or the next round; writes query.csv. DATA: the -k images to label first."""
    options = {
        "-k": k, "--output": out, "--strategy": strategy, "--embeddings": embeddings, "--already": already,
        "--copy": copy or None, "--seed": seed,
    }  # fmt: skip
    if _is_data(target) or (k is not None and not _is_recipe(target)):
        from .api import select as api

        if run_dir is not None:
            raise InputError("--run-dir", "a recipe, which has a run; picks go to -o", f"the images of {target}")
        if k is None:
            raise InputError("-k", "how many of the images to pick", "nothing")
        with console.progress(quiet) as progress:
            selection = api.select(
                target, k, out=out, strategy=strategy or "stratified", embeddings=embeddings, already=already,
                copy=copy, seed=seed or 0, device=device, overrides=overrides or [], say=_say(quiet), progress=progress,
            )  # fmt: skip
        print(f"Picks: {selection.folder / 'picks.csv'}, and contact_sheet.png beside it")
        return
    for name, value in options.items():
        if value is not None:
            raise InputError(name, "images (a folder, a CSV, an NPZ or a volume) to pick from", f"the recipe {target}")
    _select_round(target, overrides, run_dir, device, quiet)


def _select_round(recipe: str, overrides: list[str] | None, run_dir: Path | None, device: str, quiet: bool) -> None:
    from . import loop
    from .api.session import session
    from .assemble import experiment
    from .report.overview import answers_of, go_on

    project = _open(recipe, overrides, run_dir, device, quiet=quiet)
    with session(project) as tracker:
        _stage0(project, tracker, quiet)
        setup, rounds = experiment(project), project.run.rounds()
        if setup.over(rounds):
            raise InputError(project.run.path, "a round left to play", f"all {len(rounds)} are done")
        r = len(rounds)
        _say_standing_query(project, r)
        picks = loop.select(setup, project.run, r)
        if not project.setting.simulated:
            with suppress(AwaitingLabels):  # which lays out what a person needs to answer
                setup.oracle.annotate(picks, r)
    waiting = len(picks) - len(answers_of(project.run, r))
    query = project.run.round_path(r) / "query.csv"
    outlook = f"{waiting} images to label in {query}" if waiting > 0 else f"all is answered; {go_on(project.run)}"
    print(f"Round {r}: {outlook}")


@app.command()
def labels(
    run: RunArg,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV of labels or of boxes, or a folder of masks.")],
    annotator: Annotated[str, typer.Option("--annotator", help="Who answered.")] = "annotator",
    replace: Annotated[bool, typer.Option("--replace", help="In the place of other answers of other people.")] = False,
) -> None:
    """Take annotations in, corrections of earlier ones too: checked whole, then taken over at once."""
    from .core.rundir import RunDir
    from .oracles.inbox import inbox
    from .oracles.worklist import corrections
    from .report.overview import go_on

    disk = RunDir(run)
    disk.facts()
    with disk.lock():
        received, missing = inbox(disk).take(file, annotator, replace=replace)
    outlook = f"{missing} still missing" if missing else f"the round is complete; {go_on(disk)}"
    if disk.query_ids(r := len(disk.rounds())) is None:
        over = "is the loop over, give it one (loop.budgets with a number more), so that a model learns from them"
        outlook = f"corrections of rounds that are over: round {r} trains on them, {go_on(disk)}; {over}"
    whose = ", ".join(f"{n} of {who}" for who, n in corrections(disk).items())
    print(f"{received} answers taken{f', in the place of other answers ({whose})' if whose else ''}, {outlook}")


@app.command()
def run(
    recipe: RecipeArg,
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """The whole loop; with a human oracle it stops at the query (exit code 3) and goes on when called again."""
    from . import loop
    from .api.random_runs import play_random
    from .api.session import session
    from .assemble import experiment
    from .report.overview import first_notes, outcome_of

    project = _open(recipe, overrides, run_dir, device, quiet=quiet)
    count = project.recipe.report.random_runs
    say: Callable[[Round], None] = (lambda _: None) if quiet else console.say_round
    made, began = not project.has_stage0, time.perf_counter()
    if not quiet:
        print("".join(f"{note.lstrip()}\n" for note in first_notes(project)), end="", file=sys.stderr)
    with session(project) as tracker:
        metrics = _stage0(project, tracker, quiet)
        seconds = time.perf_counter() - began if made else None
        if not quiet:
            console.say_probe(metrics)
        setup = experiment(project)
        for row in [] if quiet else project.run.rounds():
            console.say_round(row)
        _say_standing_query(project, len(project.run.rounds()))
        loop.run(setup, project.run, tracker, report=say)
        play_random(project, lambda i, rows: None if quiet else console.say_random(i, count, rows))
        page = _report(project)
    if quiet:
        print(f"Report: {page}")
        return
    console.say_table(project.run.rounds(), [random.rounds() for random in project.run.random_runs()])
    console.say_enough(setup.stopping, project.run.rounds())
    console.say_time(seconds, project.run.rounds())
    console.say_outcome(outcome := outcome_of(project.run))
    print(f"Report: {page}")
    console.say_next(outcome)


@app.command()
def predict(
    run: RunArg,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="A folder of images, a CSV, an NPZ or a volume; else the run's pool."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="A new CSV file; of segmentation a new folder for masks.")
    ] = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """What the last model of a run says of new images, or of the pool: classes with probabilities, or masks."""
    from .api import predictions

    if out is None:
        raise InputError("-o", "a new CSV file, or of segmentation a new folder", "nothing")
    with console.progress(quiet) as progress:
        table = predictions.predict(run, data, out=out, device=device, say=_say(quiet), progress=progress)
    print(f"Predictions: {table}")


@app.command()
def export(
    run: RunArg,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="A new folder.")] = None,
    quiet: Quiet = False,
) -> None:
    """Labels, encoder and model of a run for other programs: CSV, PNG or NIfTI, safetensors, ONNX."""
    from .api import export as api

    if out is None:
        raise InputError("-o", "a new folder", "nothing")
    print(f"Export: {api.export(run, out=out, say=_say(quiet))}, described in its README.md")


@app.command()
def status(run: RunArg) -> None:
    """Where a run stands and what it waits for."""
    from .core.rundir import RunDir
    from .report.overview import standing

    print("\n".join(standing(RunDir(run))))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN [RUN ...]", help="One or more run directories.")],
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write to (RUN/report).")] = None,
) -> None:
    """HTML + CSV; several runs are compared."""
    from .report.overview import write_reports

    print(f"Report: {write_reports(runs, out)}")


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
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Compare strategies and objectives over paired seeds; killed or out of time, it goes on when called again."""
    from .bench import grid, publish, runner

    split: Callable[[str], list[str]] = lambda text: [part.strip() for part in text.split(",") if part.strip()]  # noqa: E731
    plan = grid.load_grid(
        recipe, overrides or [], strategies=split(strategies), objectives=split(objectives), seeds=seeds
    )
    paths = runner.Paths(out or work / plan.bench_recipe.name, work)
    limit = None if time_limit is None else 60 * time_limit
    say: Callable[[str], None] = (lambda _: None) if quiet else (lambda line: print(line, flush=True))
    failure = None
    try:
        runner.run(plan, paths, jobs=jobs, device=device, time_limit=limit, say=say)
    except runner.CellsFailed as error:
        failure = error
    print(f"Results: {publish.publish(plan, paths, into=into)}")
    if failure is not None:
        raise failure


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: exit code 0 done, 1 a fault of ours, 2 wrong input (one line), 3 waiting for labels, 130 stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show stops nothing
    try:
        app(args=None if argv is None else list(argv))
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("interrupted; the last commit is unchanged, and the same command goes on", file=sys.stderr)
        raise
    except HybridALError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 (the last door: whatever gets here is a fault of ours, or of the disk)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            print(f"{error.filename or 'disk'}: {error.strerror}; the last commit is unchanged", file=sys.stderr)
            sys.exit(2)
        print(_fault(error, sys.argv[1:] if argv is None else argv), file=sys.stderr)
        sys.exit(1)
    finally:
        _flush()


def _fault(error: Exception, argv: Sequence[str]) -> str:
    """Write the trace of a fault to a file, in the run directory where the command names one; what to do with it."""
    from .core.rundir import RunDir

    places = [Path(after) for before, after in itertools.pairwise(argv) if before == "--run-dir" or after == argv[1]]
    folder = next((place for place in places if RunDir(place).exists()), Path(tempfile.gettempdir()))
    file = folder / f"hybrid-al-fault-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    about = f"hybrid-al {__version__}, Python {sys.version}, {sys.platform}\ncommand: {shlex.join(argv)}\n\n"
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    text = f"a fault of hybrid-al, not of yours: {line} ({Path(last.filename).name} line {last.lineno})"
    try:
        file.write_text(about + "".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return text
    content = "the trace, the command and the versions, and of images and patients nothing but paths"
    return f"{text}; please send {file} to the authors: it holds {content}"


def _flush() -> None:
    """Write out what was printed; a reader that went away, as `head` does, is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_data(target: str) -> bool:
    """Whether the argument of `select` is images: a folder that is no run and no recipe's name, or a file of data."""
    path = Path(target)
    if path.is_dir():
        from .recipe import is_run, shipped_recipes

        return not is_run(path) and target not in shipped_recipes()
    return target.lower().endswith((".csv", ".tsv", ".npz", ".nii", ".nii.gz"))


def _is_recipe(target: str) -> bool:
    """Whether the argument of `select` is a recipe's file or name, or a run."""
    from .recipe import is_run, shipped_recipes

    return is_run(target) or target in shipped_recipes() or target.lower().endswith((".yaml", ".yml"))


def _say(quiet: bool) -> Callable[[str], None]:
    """Says a line at once, indented, or nothing."""
    return (lambda _: None) if quiet else (lambda line: print(f"  {line}", flush=True))


def _open(
    recipe: str, overrides: list[str] | None, run_dir: Path | None, device: str, *, quiet: bool, alone: bool = True
) -> Project:
    """The project of a recipe, checked; `alone` refuses to be one of several processes."""
    from .recipe import load

    return _project(load(recipe, overrides or []), _run_dir(recipe, run_dir), device, quiet=quiet, alone=alone)


def _project(recipe: Recipe, run_dir: Path | None, device: str, *, quiet: bool, alone: bool = True) -> Project:
    from .api.session import project_of

    with console.progress(quiet) as progress:
        return project_of(recipe, run_dir, device, alone=alone, progress=progress)


def _run_dir(recipe: str, run_dir: Path | None) -> Path | None:
    """The run directory of a command: a run that stands in the place of the recipe is gone on with."""
    from .recipe import is_run

    return Path(recipe) if run_dir is None and is_run(recipe) else run_dir


def _say_standing_query(project: Project, r: int) -> None:
    """Say where the query of a round was made for another budget than the recipe has now; it stays as it is."""
    ids, loop = project.run.query_ids(r), project.recipe.loop
    if ids is None or r >= len(loop.budgets) or (r and loop.unit != "labels"):
        return
    asked, budget = len(ids), loop.budgets[r]
    if asked < budget or (asked > budget and r):  # in round 0 others may follow those that were skipped
        text = f"round {r} has its query, of {asked}, and keeps it; the {budget} of loop.budgets came too late for it"
        print(text, file=sys.stderr)


def _check_bench(recipe: str, overrides: list[str] | None, device: str) -> None:
    """Refuse what a bench of all variants would, beyond what a run of each does."""
    from .bench import grid, runner

    work = Path("runs/bench")
    plan = grid.load_grid(recipe, overrides or [])
    runner.open_variants(plan, runner.Paths(work / plan.bench_recipe.name, work), device)


def _stage0(project: Project, tracker: Trackers, quiet: bool) -> dict[str, float]:
    from .api.session import stage0_of

    with console.progress(quiet) as progress:
        return stage0_of(project, tracker, progress)


def _report(project: Project) -> Path:
    from .report.overview import write_reports

    return write_reports([project.run.path], None)


def _write_new(path: Path, text: str) -> None:
    from .core.rundir import write_atomic

    if path.exists():
        raise InputError(path, "a new file", "one that exists")
    write_atomic(path, text)
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
