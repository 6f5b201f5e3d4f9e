"""The verbs before a run: recipes, strategies, init, check."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..assemble import Project
    from ..data.describe import Description

from .base import Device, Overrides, Quiet, RecipeArg, RunDirOption, app, checked_project, run_dir_of, write_new

OWN_PLACES = ("runs", "views.png")  # what the commands that `init` names next write


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The recipe to copy.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Where to copy it (NAME.yaml).")] = None,
) -> None:
    """List the shipped recipes, or copy one."""
    from ..errors import UnknownName
    from ..recipe import shipped_recipes

    texts = shipped_recipes()
    if name is None:
        for key, text in texts.items():
            print(f"{key:14} {text.splitlines()[0].lstrip('# ')}")
        return
    if name not in texts:
        raise UnknownName("recipes", name, texts)
    write_new(out or Path(f"{name}.yaml"), texts[name])


@app.command()
def strategies(
    word: Annotated[
        str | None, typer.Argument(metavar="WORD", help="Part of a name or of a paper: clue, 'Core-Set', MICCAI.")
    ] = None,
) -> None:
    """List query strategies and batch makers with their papers; those and trainings of a WORD as lines of a recipe."""
    from ..query.catalogue import listed

    if word is None:
        print("\n".join(listed("", full=False)))
        return
    from ..semi import OBJECTIVES
    from ..semi.dense import DENSE_OBJECTIVES

    trainings: dict[str, Mapping[str, type]] = {"classification": OBJECTIVES, "segmentation": DENSE_OBJECTIVES}
    print("\n".join(listed(word, full=True, trainings=trainings)))


@app.command()
def init(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder of images, volumes or slides, a CSV or NPZ file.")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="The recipe to write.")] = Path("recipe.yaml"),
) -> None:
    """Look at a data folder or file and write a recipe for it."""
    from ..data.describe import describe
    from ..data.describe.draft import draft
    from ..data.describe.names import MODALITIES
    from ..errors import InputError

    about = describe(data)
    _leave_out_own_places(about)
    name = data.resolve().name if data.is_dir() else data.name.partition(".")[0]

    def text() -> str:
        return draft(
            name,
            about.sections(),
            modality=about.modality,
            modalities=MODALITIES,
            simulated=about.labeled,
            comments=about.comments,
        )

    with suppress(InputError):  # of a draft that a person has to change first, as `check` will say
        span = _span(text(), about)
        about.took.append(("time", span))
        about.note("loop.budgets", span)
    write_new(out, text())
    print("\n".join(about.lines()))
    print(f"Next: hybrid-al check {shlex.quote(str(out))} --views {OWN_PLACES[1]}")
    print(f"      hybrid-al run {shlex.quote(str(out))}")


def _leave_out_own_places(about: Description) -> None:
    """Leave out of the images what the next commands write into this folder, where it is one of images."""
    from ..assemble import LISTED

    places = [place for place in OWN_PLACES if not Path(place).exists()]
    if about.data["source"] in LISTED and Path.cwd().is_relative_to(Path(str(about.data["root"])).resolve()):
        about.data["ignore"] = [*about.data.get("ignore", ()), *places]


def _span(text: str, about: Description) -> str:
    """How long the networks of a drafted recipe would take here; InputError where it cannot run as it is."""
    import yaml

    from ..core.progress import in_words
    from ..recipe import parse
    from ..report.needs import guess
    from ..stage0 import check

    recipe = parse(yaml.safe_load(text))
    minutes = guess(recipe, check(recipe), about.counts, about.channels or 3)
    return f"about {in_words(60 * minutes)} for stage 0 and all rounds, on this machine's CPU (rough)"


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
    from ..assemble import check_place
    from ..recipe import load_variants
    from ..recipe.plain import outside
    from ..report.overview import draw_views, summary
    from ..stage0 import check as stage0_check
    from ..stage0 import notes, start

    variants = load_variants(recipe, overrides or [])
    several = len(variants) > 1
    if views is not None:
        for variant in variants.values():
            check_place(variant, views, "--views")
    for name, variant in variants.items():
        if several and not quiet:
            print(f"Variant {name}", flush=True)
        for component in outside(variant.plain()):
            print(f"  from outside the package, whose code this recipe runs: {component}", file=sys.stderr, flush=True)
        project = checked_project(variant, run_dir_of(recipe, run_dir), device, quiet=quiet)
        if not several:
            project.check_run()
        segmenter = _segmenter(project)
        lines = [*summary(project, start(project), stage0_check(variant)), *(f"  {note}" for note in notes(project))]
        lines += segmenter
        if not quiet:
            print("\n".join(lines))
        if views is not None:
            path = views.with_stem(f"{views.stem}-{name}") if several else views
            scaled = draw_views(project, project.store(), path)
            print("\n".join([f"Views: {path}", *([] if quiet else scaled)]))
    if several or any(variant.bench.tune.keys for variant in variants.values()):
        _check_bench(recipe, overrides, device)


def _segmenter(project: Project) -> list[str]:
    """A line on the segmenter of the page, which has drawn once; none without one."""
    from ..page.server import segmenter_of

    if (segmenter := segmenter_of(project.recipe)) is None:
        return []
    text = f"  segmenter of hybrid-al label: {segmenter.try_out()}"
    draws = project.task.drawable and project.setting.answer in (None, "mask")
    return [text if draws else f"{text}; of no use here, as answers are no masks"]


def _check_bench(recipe: str, overrides: list[str] | None, device: str) -> None:
    """Refuse what a bench of all variants would, beyond what a run of each does."""
    from ..bench import grid, runner, tuning

    work = Path("runs/bench")
    plan = grid.load_grid(recipe, overrides or [])
    for each in (plan, tuning.trials(plan)):
        if each is not None:
            runner.open_variants(each, runner.Paths(work / plan.bench_recipe.name, work), device)
