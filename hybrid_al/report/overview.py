"""What the command line says about a recipe, a run, and its views; reads, never changes."""

from __future__ import annotations

import csv
import shlex
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.hidden import in_clear
from ..core.manifest import SPLITS
from ..core.progress import Activity, current
from ..core.registry import component, parse_spec
from ..core.rundir import RunDir
from ..core.seals import whole
from ..data import domains
from ..data.copies import near_notes
from ..oracles import ORACLES
from ..oracles.base import SKIP
from ..oracles.inbox import inbox, lists_of, owed
from ..oracles.label_studio import LabelStudio
from ..oracles.ledger import WITHDRAWN, waiting_of
from ..oracles.masks import IMAGES
from ..oracles.readers import reading_of
from ..oracles.readings import agreement
from ..oracles.worklist import answer_files
from ..query.spending import spent_out
from ..query.stopping import Stopping
from ..recipe import of_run
from .console import UNMEASURED, headline
from .needs import Pretraining, needs

if TYPE_CHECKING:
    from ..assemble import Project
    from ..core.types import BoolArray, Round
    from ..data.base import Dataset
    from ..data.stores.images import ImageStore
    from ..models.encoder import Encoder
    from .comparison import Verdict
    from .outcome import Outcome
    from .pictures import Pictures

CAPTION = 28  # pixels above the sheet of views
VIEW_KINDS = ("pretrain", "weak", "strong")
OWN = "own"  # the source of a run around a model of one's own (`api.Loop`)


def summary(project: Project, encoder: Encoder, method: Pretraining | None = None) -> list[str]:
    """What would run from an encoder, by a method of stage 0: samples, rounds, disk, memory, ...; one line each.

    InputError: what the machine does not have, see `needs`.
    """
    recipe, dataset, store = project.recipe, project.dataset, project.store()
    manifest = dataset.manifest
    lines = [f"Recipe {recipe.name}: {recipe.pretrain.name} -> {recipe.cold_start.name} -> {recipe.query.name}"]
    lines[0] += f", trained by {recipe.train.name} ({recipe.learner.name})"
    weights = "random weights" if recipe.encoder.weights is None else f"weights: {recipe.encoder.weights}"
    options = "".join(f", {key}={value}" for key, value in recipe.encoder.options.items())
    if recipe.encoder.input_size:
        options += f", images scaled to {recipe.encoder.input_size}"
    options += f", pooled: {recipe.encoder.pool}" if recipe.encoder.pool else ""
    lines.append(f"  encoder {recipe.encoder.name}{options}, {weights}")
    for split in SPLITS:
        if not len(rows := manifest.indices(split)):
            continue
        counts = Counter(dataset.truth[rows].tolist())
        names = [f"{dataset.classes[c]} {counts[c]}" for c in sorted(counts) if c >= 0]
        if (labels := dataset.labels) is not None:
            names = [f"{name} {(labels[rows, k] == 1).sum()}" for k, name in enumerate(dataset.classes)]
        if dataset.masks is not None:
            names = [f"{int(dataset.masks.labeled[rows].sum())} masks"]
        groups = len(np.unique(manifest.group_codes[rows]))
        lines.append(f"  {split:5} {len(rows):7} images, {groups} groups; {', '.join(names) or 'no labels'}")
    if dataset.stack > 1:
        lines.append(_stacks(dataset))
    project.views()
    if pipelines := recipe.views.pipelines:
        lines.append(f"  views by albumentations: {', '.join(pipelines)}; the others are those of {recipe.modality}")
    lines += project.task.summary(project.setting, dataset, project.cache)
    lines += data_notes(project)
    if not len(manifest.indices("test")):
        way = "data.holdout={test: 0.2} would hold one out" if answered(dataset).any() else "the data has no labels"
        lines.append(f"  no test split: rounds report no test metrics ({way})")
    lines += [f"  left out (on_error=skip): {path}: {why}" for path, why in dataset.skipped]
    first, *later = recipe.loop.budgets
    spending = f"{sum(recipe.loop.budgets)} labels"
    if recipe.loop.unit != "labels":
        spending = f"{first} labels, then {sum(later)} of {recipe.loop.unit}"
    answers = "".join(f", {key}={value}" for key, value in recipe.oracle.params.items())
    lines += _given(dataset, recipe.domains.source)
    pool = domains.asked(manifest, recipe.domains.source)
    if project.setting.simulated and (known := int(project.task.answered(dataset)[pool].sum())) < len(pool):
        answers += f", for {known} of the {len(pool)} images of the pool; the others are skipped"
    rounds = "1 round" if not later else f"{1 + len(later)} rounds"
    lines.append(f"  {rounds}, {spending}: {', '.join(map(str, recipe.loop.budgets))}")
    who = "the data" if project.setting.simulated else "a person"
    lines.append(f"  answers of {who} (oracle {recipe.oracle.name}){answers}")
    lines.append((need := needs(project, store, encoder, method)).line())
    need.check()
    kept = in_clear(recipe.data.params) if dataset.names is not None else []
    return [*lines, f"  run directory {project.run.path}", *kept]


def _given(dataset: Dataset, sources: Sequence[str]) -> list[str]:
    """How many labels of the source are given."""
    if not sources:
        return []
    rows = domains.given(dataset.manifest, sources)
    known = int(answered(dataset)[rows].sum())
    return [f"  given: {known} labels of the {len(rows)} images of {', '.join(sources)} in the pool"]


def data_notes(project: Project) -> list[str]:
    """What a person should know of the data before a loop starts on them: splits, copies, ignored files, levels."""
    dataset = project.dataset
    drawn = project.recipe.data.params.get("holdout")
    lines = holdout_notes(dataset, drawn if isinstance(drawn, dict) else ())
    if leaks := dataset.manifest.leaks():
        lines.append(f"  warning: {len(leaks)} images are in two splits, the first is {' = '.join(leaks[0])}")
    if alike := project.store().leaks(dataset.manifest):
        text = f"{len(alike)} images have the pixels of one in another split, in another file: the first is"
        lines.append(f"  warning: {text} {' = '.join(alike[0])}")
    near, others = near_notes(dataset, project.store().near_identical(dataset.manifest))
    lines += [f"  warning: {near}"] * bool(near)
    of_domains = domains.notes(dataset, project.recipe.domains.source)
    return [*lines, *(f"  note: {note}" for note in (*of_domains, *dataset.notes, *others, *project.store().notes))]


def first_notes(project: Project) -> list[str]:
    """`data_notes` and the meaning of the values of masks, for a run that has no round yet; else nothing.

    Where names are hashed, remarks on files, which name them, are left to `check`: what a run says ends up in logs.
    """
    if project.run.rounds():
        return []
    masks = project.dataset.masks
    values = [f"  values of masks: {masks.values}"] if masks is not None and masks.values else []
    if (dataset := project.dataset).names is not None:
        project = replace(project, dataset=replace(dataset, notes=()))
    return [*values, *data_notes(project)]


def holdout_notes(dataset: Dataset, drawn: Collection[str] = ()) -> list[str]:
    """What val and test cannot measure: without any label, or with samples of one kind alone.

    drawn  the splits that the recipe holds out, which it may leave in the pool
    """
    lines = []
    for split in SPLITS[1:]:
        rows = dataset.manifest.indices(split)
        if not len(rows):
            continue
        if not answered(dataset)[rows].any():
            lines.append(
                f"  note: no {split} image has a label and nobody is asked about one, so they measure nothing"
                + " (data.holdout={} leaves them in the pool)" * (split in drawn)
            )
        elif dataset.labels is not None:
            labels = dataset.labels[rows]
            lacking = [name for name, column in zip(dataset.classes, labels.T, strict=True) if not (column == 1).any()]
            lines += [f"  note: no {split} image has the label {', '.join(lacking)}, which is not measured"] * bool(
                lacking
            )
        elif dataset.masks is None:
            lacking = [name for c, name in enumerate(dataset.classes) if not (dataset.truth[rows] == c).any()]
            lines += [f"  note: no {split} image is of class {', '.join(lacking)}, which is not measured"] * bool(
                lacking
            )
    return lines


def answered(dataset: Dataset) -> BoolArray:
    """Whether the data has a label of a sample (N,), of whatever kind."""
    if dataset.masks is not None:
        return dataset.masks.labeled
    known = dataset.truth if dataset.labels is None else dataset.labels.max(axis=1)
    return known >= 0


def _stacks(dataset: Dataset) -> str:
    """How slices are stacked, and how many volumes are shorter than a stack."""
    slices, stack = Counter(dataset.manifest.paths), dataset.stack
    short = sum(n < stack for n in slices.values())
    text = f"  each slice is seen with {stack // 2} before and {stack // 2} behind it; at the ends the last is repeated"
    return f"{text}, as {short} of {len(slices)} volumes have fewer than {stack} slices" if short else text


def draw_views(project: Project, store: ImageStore, out: Path, *, count: int = 8) -> list[str]:
    """A PNG sheet: a column an image; rows plain, then two views of each kind.

    Above each column stands which values of the image became 0 and 1; so do the lines that come back, with its name.
    """
    import torch
    from PIL import Image, ImageDraw

    from ..core.rng import derive
    from ..models.checkpoint import seeded

    pool = project.dataset.manifest.indices("pool")
    picks = np.sort(derive(project.recipe.seed, "view-sheet").choice(pool, min(count, len(pool)), replace=False))
    images, generator = store.batch(picks), seeded(project.recipe.seed)
    policies = [getattr(project.views(), kind) for kind in VIEW_KINDS for _ in range(2)]
    rows = [images, *(policy(images, generator) for policy in policies)]
    if store.stack > 1:
        rows = [row[:, store.stack // 2, None] for row in rows]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pixels = (sheet.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    scale = max(1, 96 // store.size)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    page = Image.new(picture.mode, (picture.width, picture.height + CAPTION), 255 if picture.mode == "L" else "white")
    page.paste(picture, (0, CAPTION))
    draw, scaled = ImageDraw.Draw(page), [project.dataset.scaled(i) for i in picks.tolist()]
    for k, text in enumerate(scaled):
        draw.text((k * picture.width // len(scaled) + 2, 1), f"{k + 1}\n{text.partition(' (')[0]}", fill=0)
    page.save(out, format="PNG")
    if len(set(scaled)) == 1:
        return [f"  values that became 0 and 1: {scaled[0]}"] * bool(scaled[0])
    names = project.dataset.plain.ids
    return [
        f"  {k}: {names[i]}: values that became 0 and 1: {text}"
        for k, (i, text) in enumerate(zip(picks.tolist(), scaled, strict=True), 1)
    ]


def standing(run: RunDir) -> list[str]:
    """Where a run stands, what it waits for, and the command that goes on; one line each."""
    facts, rounds = run.facts(), run.rounds()
    recipe = _recipe(run)
    budgets, r = recipe["loop"]["budgets"], len(rounds)
    lines = [f"{facts['name']} (seed {facts['seed']}): {r} of {max(len(budgets), r)} rounds done"]
    if rounds:
        last = rounds[-1].metrics
        numbers = ", ".join(f"{name} {last[name]:.3f}" for name in headline(last))
        lines.append(f"  {rounds[-1].labeled} labels; {numbers or UNMEASURED}")
    if (now := current(run.path)) is not None and now[1]:
        return [*lines, f"  at work: {now[0].line()}{_expected_end(now[0])}"]
    if now is not None:
        when = time.strftime("%d %B, %H:%M", time.localtime(now[0].time))
        lines.append(f"  interrupted on {when}: {now[0].stage} ({now[0].done} of {now[0].total})")
    lines += readers_agree(run, r)
    return [*lines, f"  {_end(run, recipe, rounds) or _next(run, facts, recipe, r)}"]


def _expected_end(now: Activity) -> str:
    """When the stage under way ends at its pace; the loop is the last one."""
    if now.left is None:
        return ""
    form = "%H:%M" if now.left < 12 * 3600 else "%d %B, %H:%M"
    return f", until about {time.strftime(form, time.localtime(now.time + now.left))}"


def _end(run: RunDir, recipe: Mapping[str, Any], rounds: Sequence[Round]) -> str:
    """That no round follows, and why; empty where one does."""
    budgets, unit = recipe["loop"]["budgets"], recipe["loop"].get("unit", "labels")
    stopping = Stopping(**recipe["loop"].get("stop", {}))
    if len(rounds) >= len(budgets):
        return "finished"
    if run.is_exhausted(len(rounds)):
        return "finished: nothing is left to ask about"
    if spent_out(unit, budgets, rounds):
        return f"finished: all that was to be spent of {unit} is (loop.unit)"
    enough = stopping.enforce and stopping.enough(rounds)
    return "finished: the stopping signal says that these labels are enough (loop.stop)" if enough else ""


def _next(run: RunDir, facts: Mapping[str, object], recipe: Mapping[str, Any], r: int) -> str:
    """What round r waits for, and the command that goes on."""
    ids = run.query_ids(r)
    if ids is None:
        has_stage0 = recipe["data"].get("source") == OWN or run.has_stage0
        step = f"the query of round {r}" if has_stage0 else "stage 0"
        return f"next: {step}; {go_on(run)}"
    ids, answers = tuple(dict.fromkeys(ids)), answers_of(run, r)  # several parts of an image are one answer
    waiting = sum(i not in answers for i in ids)
    if shares := owed(run, r):
        return f"{readers_owe(shares, r)}: {_ways(run)}"
    oracle = component(ORACLES, "oracle", *parse_spec(recipe["oracle"]))
    people = not oracle.holds_truth
    if waiting and isinstance(oracle, LabelStudio):
        return f"waits for {waiting} of {len(ids)} labels in Label Studio at {oracle.url}; {go_on(run)}"
    if waiting and people:
        query = list_of(run, r)
        how = "" if (kind := _inbox_name(facts)) == "words" else f" ({kind}; {command_of(run)} says how)"
        where = shlex.quote(str(run.path))
        file = "FILE" if query.is_dir() else shlex.quote(str(query))
        take = f"hybrid-al label {where} (in the browser), or: hybrid-al labels {where} {file}"
        return f"waits for {waiting} of {len(ids)} labels in {query}{how}: {take}"
    if people and not r and all(answers[i] == SKIP for i in ids):
        return f"next: other images, as all {len(ids)} were skipped; {go_on(run)}"
    return f"next: the training of round {r}; {go_on(run)}"


def readers_owe(shares: Mapping[str, Sequence[str]], r: int) -> str:
    """What several readers still have to answer, in words."""
    return f"round {r} waits for readings: {', '.join(f'{name} {len(ids)}' for name, ids in shares.items())}"


def _ways(run: RunDir) -> str:
    """How a reader answers."""
    where = shlex.quote(str(run.path))
    return f"hybrid-al label {where} --reader NAME (in the browser), or: hybrid-al labels {where} FILE --annotator NAME"


def readers_agree(run: RunDir, r: int) -> list[str]:
    """A line on how far several readers agree by a round; none where no two read the same."""
    lists = None if reading_of(run) is None else lists_of(inbox(run))
    readings = None if lists is None else lists.readings(r)
    values = {} if readings is None else agreement(readings)
    if not values:
        return []
    name = "Dice" if "people/dice" in values else "kappa"
    between = values.get("people/dice", values.get("people/kappa"))
    shown = f"{name} {between:.2f}, " if between is not None else ""
    return [f"  readers: {shown}{values['people/differ']:.0%} of {values['people/double']:.0f} read by several differ"]


def list_of(run: RunDir, r: int) -> Path:
    """What people answer by: the copy of the query that they fill in, the images that they draw on; else the query."""
    places = run.worklist(r), run.round_path(r) / IMAGES
    return next((place for place in places if place.exists()), run.round_path(r) / "query.csv")


def answers_of(run: RunDir, r: int) -> dict[str, str]:
    """The last answer about each sample in the files of a round and the ledger: id -> text."""
    answers: dict[str, str] = {}
    for file in answer_files(run, r):
        with whole(file), file.open(newline="", encoding="utf-8") as lines:
            answers |= {row["id"]: row["label"] for row in csv.DictReader(lines)}
    answers = {sample: text for sample, text in answers.items() if text != WITHDRAWN}
    return answers | {entry.sample: entry.text for entry in waiting_of(run) if entry.round == r}


def go_on(run: RunDir) -> str:
    """What to do next, where that is to call the run again."""
    return f"go on with: {command_of(run)}"


def command_of(run: RunDir) -> str:
    """The command that goes on with a run, or the script around a model of one's own."""
    own = _recipe(run)["data"].get("source") == OWN
    return "the script that began it" if own else f"hybrid-al run {shlex.quote(str(run.path))}"


def _recipe(run: RunDir) -> dict[str, Any]:
    """The recipe that a run was last called with."""
    return of_run(run.path)


def _inbox_name(facts: Mapping[str, object]) -> str:
    """In what form answers come in: words, masks, boxes."""
    inbox = facts.get("inbox")
    return str(inbox.get("name")) if isinstance(inbox, Mapping) else "words"


def write_reports(
    runs: Sequence[Path],
    out: Path | None,
    *,
    verdict: Verdict | None = None,
    refresh: int = 0,
    drawn: dict[Path, Pictures] | None = None,
) -> Path:
    """Write the report of one run, beside its runs with random picks, or of several compared; the path of the page.

    verdict  says what the statistics allow of several methods; refresh: seconds after which the page loads itself anew
    drawn    pictures of runs that an earlier call made, which are taken again; it gets those that are made now
    """
    from .page import group_runs, write_report
    from .pictures import pictures_of
    from .runview import RunView

    if len(runs) > 1 and out is None:
        out = Path("report")
    views = [RunView.read(path) for path in runs]
    pictures = {} if drawn is None else drawn
    if one := len(group_runs(views)) == 1:
        pictures |= {path: pictures_of(view) for path, view in zip(runs, views, strict=True) if path not in pictures}
    return write_report(
        views,
        out or runs[0] / "report",
        pictures=[pictures[path] for path in runs] if one else (),
        random=[RunView.read(run.path) for run in RunDir(runs[0]).random_runs()] if len(runs) == 1 else (),
        standing=standing(RunDir(runs[0]))[-1].strip() if len(runs) == 1 else "",
        verdict=verdict,
        refresh=refresh,
    )


def outcome_of(run: RunDir) -> Outcome:
    """What a run came to, beside its runs with random picks."""
    from .outcome import Outcome
    from .runview import RunView

    return Outcome.of(RunView.read(run.path), [RunView.read(random.path) for random in run.random_runs()])
