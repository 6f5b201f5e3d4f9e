"""Dashboards as values: which panels a run, a recipe over seeds and strategies, and a bench have, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..core.files import read_arrays
from ..core.rundir import RunDir
from ..core.types import FloatArray
from ..recipe import of_run
from ..track import jsonl
from ..track.base import run_id, shareable
from ..track.names import BENCH, NAMES, SECTIONS, Section, name_of

Kind = Literal["line", "bar", "table", "images", "points", "reliability", "confusion", "curves"]
HEADLINE = ("auroc", "balanced_accuracy", "average_precision", "dice", "hd95", "ece")


@dataclass(frozen=True)
class Panel:
    """A panel: what it draws, under names of `NAMES`, or those that were logged in their place.

    x      the horizontal axis of lines
    each   a panel for every metric of `HEADLINE`, in the place of one for all
    """

    title: str
    names: tuple[str, ...]
    kind: Kind = "line"
    x: str = "round"
    each: bool = False


PANELS: Mapping[str, tuple[Panel, ...]] = {
    "Stage 0": (
        Panel("Self-supervised loss", ("stage0/loss",), x="stage0/step"),
        Panel("Probes of the encoder", ("stage0/<split>/knn_auroc", "stage0/<split>/linear_auroc"), "bar"),
        Panel("Embedding sets", ("stage0/set/<set>",), "bar"),
        Panel("Quality without labels: shares", ("stage0/spread", "stage0/neighbour_stability"), "bar"),
        Panel("Alignment and uniformity", ("stage0/alignment", "stage0/uniformity"), "bar"),
        Panel("Directions in use", ("stage0/effective_rank",), "bar"),
        Panel("Images a second", ("stage0/images_per_second",), x="stage0/step"),
        Panel("Waiting for images", ("stage0/data_share",), x="stage0/step"),
    ),
    "Training": (
        Panel(
            "Loss and its terms",
            ("train/loss", "train/loss_labeled", "train/loss_unlabeled", "train/loss_<term>"),
            x="train/step",
        ),
        Panel("Unlabeled samples that took part", ("train/mask_rate",), x="train/step"),
        Panel("Further numbers of the objective", ("train/<term>",), x="train/step"),
        Panel("Penalty of the head", ("train/strength",)),
        Panel("Classes among the labels", ("train/classes_seen",)),
    ),
    "Rounds": (
        Panel("Test {metric} against labels", ("curve/<metric>",), x="labels", each=True),
        Panel("Test and val {metric}", ("test/<metric>", "val/<metric>"), x="labels", each=True),
        Panel("Test {metric} by label", ("test/<metric>/<label>", "curve/<metric>/<label>"), x="labels", each=True),
        Panel(
            "{metric} by domain", ("<part>/<split>/<metric>", "<part>/<split>/<metric>/<label>"), x="labels", each=True
        ),
        Panel("Agreement with the last model", ("stop/agreement",), x="labels"),
        Panel("Expected gain of the next batch", ("stop/expected_gain",), x="labels"),
        Panel("Confusion matrix", ("table/confusion_<split>",), "confusion"),
    ),
    "Picks": (
        Panel("Class balance of the picks", ("picks/share/<class>",)),
        Panel("Proposals that people took", ("people/accepted", "people/edited", "people/discarded")),
        Panel("Agreement of readers, and of the model with them", ("people/kappa", "people/model_kappa")),
        Panel("Dice of readers, and of the model with them", ("people/dice", "people/model_dice")),
        Panel("Agreement of readers by class", ("people/kappa/<class>", "people/model_kappa/<class>")),
        Panel("Dice of readers by class", ("people/dice/<class>", "people/model_dice/<class>")),
        Panel("Images that several read, share that differ", ("people/double", "people/differ")),
        Panel("Rank of the picks in the score", ("query/mean_rank",), x="labels"),
        Panel("Distance of the picks to the labels", ("query/distance_to_labeled",), x="labels"),
        Panel("Score of the candidates", ("histogram/score",)),
        Panel("Map of the embedding", ("table/embedding",), "points"),
        Panel("Picks", ("table/picks",), "table"),
        Panel("Pictures of the picks", ("images/picks",), "images"),
    ),
    "Consistency": (
        Panel("Pseudo-labels that are right", ("pseudo/accuracy",), x="labels"),
        Panel("Pseudo-labels that are right, by class", ("pseudo/accuracy/<class>",), x="labels"),
        Panel("Inconsistency of the pool", ("histogram/consistency",)),
        Panel("Flips of the pool", ("histogram/flips",)),
        Panel("Looked at once more", ("train/top_up_passes",)),
    ),
    "Calibration": (
        Panel("Calibrated {metric}", ("test/<metric>_calibrated",), x="labels", each=True),
        Panel("Reliability", ("table/reliability_<split>",), "reliability"),
    ),
    "Cost": (
        Panel("Labels", ("labels",)),
        Panel("Cost of all labels", ("cost/<unit>",), x="labels"),
        Panel("Seconds of query and fit", ("query/seconds", "train/seconds")),
        Panel("Samples through the model for a query", ("query/passes",)),
        Panel("Memory of a query (MiB)", ("query/memory",)),
        Panel("Seconds an answer of people", ("people/seconds",)),
        Panel("Speed of the fit", ("train/steps_per_second", "train/images_per_second")),
        Panel("Waiting for batches", ("train/data_share",)),
    ),
}
WORDS = {"auroc": "AUROC", "dice": "Dice", "hd95": "HD95", "ece": "ECE"}
OF_RECIPE: tuple[Section, ...] = ("Rounds", "Picks", "Consistency", "Calibration", "Cost")  # what runs are compared on
OF_ONE_RUN = ("table", "images", "points", "reliability", "confusion")  # kinds that show one run


@dataclass(frozen=True)
class Board:
    """A dashboard: its sections of panels with the names that are there, and which runs it shows.

    runs     config, `ID` or `JobType` -> value
    grouped  lines are the mean over the seeds of a group, with a band
    """

    title: str
    project: str
    sections: Mapping[str, tuple[Panel, ...]]
    runs: Mapping[str, str]
    grouped: bool = False
    about: str = ""
    entity: str = field(default="")


def boards_of(run_dir: Path) -> list[Board]:
    """The dashboards of a run and of its recipe over seeds and strategies, with what was logged so far.

    A run without a round has the panels of what every run logs. Error: no run directory.
    """
    disk = RunDir(run_dir)
    facts = disk.facts()
    recipe, rounds = of_run(run_dir), disk.rounds()
    logged = _logged(run_dir) if rounds else _promised()
    settings = _mapping(_mapping(recipe.get("track")).get("wandb"))
    project, entity = str(settings.get("project") or "hybrid-al"), str(settings.get("entity") or "")
    if not settings.get("log_images"):
        logged = [name for name in logged if NAMES[name_of(name) or name].kind != "images"]
    id, name = run_id(run_dir, shareable(recipe), str(facts.get("recipe_digest", ""))), str(facts["name"])
    sections = {str(title): filled(PANELS[title], logged) for title in SECTIONS}
    one = Board(f"{name}, seed {facts['seed']}", project, _full(sections), {"ID": id}, about=ABOUT_RUN, entity=entity)
    compared = {str(title): tuple(one_name_each(filter(_is_compared, sections[title]))) for title in OF_RECIPE}
    compared["Rounds"] += _against_costs(compared["Rounds"], logged)
    title, runs = f"{name}: seeds and strategies", {"recipe": name}
    return [one, Board(title, project, _full(compared), runs, grouped=True, about=ABOUT_RECIPE, entity=entity)]


def one_name_each(panels: Iterable[Panel]) -> Iterable[Panel]:
    """A panel a name: with a line a group in each, several names would hide one another."""
    for panel in panels:
        for name in panel.names:
            title = panel.title if len(panel.names) == 1 else f"{panel.title}: {name}"
            yield Panel(title, (name,), panel.kind, panel.x)


def _against_costs(panels: Sequence[Panel], logged: Sequence[str]) -> tuple[Panel, ...]:
    """The curves once more, against each cost that was measured."""
    curves = [panel for panel in panels if panel.names[0].startswith("curve/")]
    costs = [name for name in logged if name.startswith("cost/")]
    return tuple(
        Panel(f"{panel.title.partition(' against')[0]} against {cost}", panel.names, x=cost)
        for cost in costs
        for panel in curves
    )


ABOUT_RUN = "One run from stage 0 to its last round. Axes and meanings of all names: docs/tracking.md."
ABOUT_RECIPE = (
    "All runs of the recipe, grouped by cold start, query and objective: mean over seeds, band of a standard deviation."
    " Runs with random picks are the group to compare with; a bench has paired differences to random with intervals."
)
ABOUT_BENCH = (
    "A bench: AUBC of each arm, paired differences to random picks, curves with 95 % intervals, and its tables."
)


def bench_board(name: str, summary: Iterable[str], tables: Sequence[str], *, project: str, entity: str = "") -> Board:
    """The dashboard of a bench by the names in its summary and of its tables."""
    endings = {entry.rpartition("/")[2]: entry for entry in BENCH if entry.startswith("<variant>/")}
    by_ending: dict[str, list[str]] = {ending: [] for ending in endings}
    for number in summary:
        by_ending[number.rpartition("/")[2]].append(number)
    titles = {
        "aubc": "AUBC",
        "aubc_minus_random": "AUBC, difference to random picks",
        "aubc_minus_random_linear": "Random picks, difference to the linear baseline",
    }
    bars = tuple(Panel(titles[e], tuple(names), "bar") for e, names in by_ending.items() if names)
    sections = {
        "Areas": bars,
        "Curves": (Panel("Curves", ("curves",), "curves", x="labels"),),
        "Tables": tuple(Panel(table, (f"tables/{table}",), "table") for table in tables),
    }
    runs = {"JobType": "bench", "Name": name}
    return Board(f"{name} (bench)", project, _full(sections), runs, about=ABOUT_BENCH, entity=entity)


def filled(panels: Sequence[Panel], logged: Sequence[str]) -> tuple[Panel, ...]:
    """The panels with the names that were logged in the place of entries; those without any are left out."""
    result = []
    for panel in panels:
        names = [name for name in logged if name_of(name) in panel.names]
        if panel.each:
            for metric in HEADLINE:
                of_metric = tuple(n for n in names if n.split("/")[1].removesuffix("_calibrated") == metric)
                result += [
                    Panel(
                        panel.title.format(metric=WORDS.get(metric, metric.replace("_", " "))),
                        of_metric,
                        panel.kind,
                        panel.x,
                    )
                ] * bool(of_metric)
        elif panel.kind in OF_ONE_RUN:
            result += [
                Panel(
                    f"{panel.title} ({name.partition('_')[2]})" if len(names) > 1 else panel.title, (name,), panel.kind
                )
                for name in names
            ]
        elif names:
            result.append(Panel(panel.title, tuple(names), panel.kind, panel.x))
    return tuple(result)


def _is_compared(panel: Panel) -> bool:
    return panel.kind not in OF_ONE_RUN and not panel.names[0].startswith("histogram/")


def _logged(run_dir: Path) -> list[str]:
    """The names that a run logged, and those of what is shown beside numbers."""
    rows = jsonl.lines(run_dir / "metrics.jsonl")
    names = dict.fromkeys(name for row in rows for name in row if name not in jsonl.COLUMNS and name_of(name))
    last = RunDir(run_dir).round_path(len(RunDir(run_dir).rounds()) - 1)
    shown = [entry for entry, name in NAMES.items() if name.kind != "number" and "<" not in entry]
    answers = _arrays(last / "holdout.npz")
    counted = [split for split in ("val", "test") if {f"{split}/confusion", f"{split}/truth"} & answers.keys()]
    splits = {"confusion": counted, "reliability": [*_arrays(last / "reliability.npz")]}
    return [*names, *shown, *(f"table/{kind}_{split}" for kind in splits for split in splits[kind])]


def _arrays(path: Path) -> dict[str, FloatArray]:
    return read_arrays(path) if path.is_file() else {}


def _promised() -> list[str]:
    """The names that every run logs."""
    return [entry for entry, name in NAMES.items() if not name.optional and "<" not in entry]


def _full(sections: Mapping[str, tuple[Panel, ...]]) -> dict[str, tuple[Panel, ...]]:
    return {title: panels for title, panels in sections.items() if panels}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
