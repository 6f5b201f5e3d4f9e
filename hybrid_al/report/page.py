"""One self-contained HTML page about a run, or a comparison of several, with the learning curve as CSV beside it.

The page answers what was asked and why, what it bought, what is wrong, what may come next and how it was made. It loads
nothing from anywhere (`html.py`).
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from ..core.files import write_atomic
from ..core.rundir import RunDir
from ..errors import HybridALError, InputError
from ..metrics.domains import parted
from ..oracles.acceptance import taken_proposals
from ..oracles.ledger import PROPOSALS, Ledger, is_shared
from . import figures, figures_model
from . import html as page
from .comparison import Verdict, comparison, group_runs, rows_of
from .embedding_map import embedding_map
from .gallery import NO_ANSWER, Gallery, gallery
from .held_out import Errors, errors_of
from .outcome import Outcome
from .outlook import outlook_of
from .pictures import Pictures
from .runview import RoundView, RunView, leading, once, sort_metrics

__all__ = ["Pictures", "RunView", "group_runs", "write_report"]

ROUNDS_A_TABLE = 8
MOST_CORRECTIONS = 20
EVALUATED = ("test/", "val/")


def write_report(
    runs: Sequence[RunView],
    out: Path,
    *,
    pictures: Sequence[Pictures] = (),
    random: Sequence[RunView] = (),
    standing: str = "",
    verdict: Verdict | None = None,
    refresh: int = 0,
) -> Path:
    """Write out/index.html and out/curve.csv; returns the path of the page.

    Runs that differ in nothing but the seed are averaged; their details are those of the first. Runs of several
    methods are compared, and `verdict` says in a sentence what their seeds allow.
    pictures: one per run or none at all (`pictures.pictures_of`). random: runs with random picks, whose mean stands
    beside a single run. standing: where the run stands, in words. refresh: seconds after which the page loads itself
    anew, 0 for never. Errors: `runs` is empty, the counts differ, `out` cannot be written to.
    """
    if not runs:
        raise InputError("report", "at least one run", "none")
    if pictures and len(pictures) != len(runs):
        raise InputError("report", f"{len(runs)} values of pictures, one per run", str(len(pictures)))
    groups = group_runs(runs)
    by_run = dict(zip(map(id, runs), pictures, strict=False))
    if len(groups) == 1:
        (members,) = groups.values()
        text = _one_method(members, [by_run.get(id(run), Pictures()) for run in members], random, standing, refresh)
    else:
        values = comparison(groups, verdict)
        text = page.render("comparison.html.j2", values, filters=FILTERS, refresh=refresh)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HybridALError(f"{out}: no folder can be made here ({error.strerror}); -o FOLDER names another") from error
    write_atomic(out / "curve.csv", curve_csv([*runs, *random]))
    write_atomic(out / "index.html", text)
    return out / "index.html"


def curve_csv(runs: Sequence[RunView]) -> str:
    """One row per run and committed round: what it is, labels, their cost, every metric (empty where missing)."""
    metrics = sort_metrics({m for run in runs for m in run.metrics})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "strategy", "objective", "learner", "seed", "round", "labels", "cost", *metrics])
    for run in runs:
        facts = [run.name, run.strategy, run.component("train"), run.component("learner"), run.seed]
        for r in run.committed:
            assert r.round is not None
            cost = run.labels.as_of(r.index).cost
            values = [r.metrics.get(m, "") for m in metrics]
            writer.writerow([*facts, r.index, r.round.labeled, f"{cost:g}", *values])
    return out.getvalue()


def _one_method(
    runs: Sequence[RunView], pictures: Sequence[Pictures], random: Sequence[RunView], standing: str, refresh: int
) -> str:
    """The page of the runs of one method, seeds ascending."""
    run = runs[0]
    errors = [e for r in run.committed if (e := errors_of(run, r))]
    errors = [e for e in errors if e.split == errors[-1].split]
    picks = gallery(runs, [p.thumbnail for p in pictures], pictures[0].predicted)
    values: dict[str, object] = {
        "run": run,
        "runs": runs,
        "random": len(random),
        "standing": standing,
        "outcome": Outcome.of(run, random),
        **_asked(run, picks),
        **_bought(runs, random, errors),
        **_wrong(run, errors, pictures[0]),
        **_made(run),
        "outlook": outlook_of(runs, errors),
        "gallery": picks,
        "map": embedding_map(run),
    }
    return page.render("report.html.j2", values, filters=FILTERS, scripts=("gallery.js", "map.js"), refresh=refresh)


def _asked(run: RunView, picks: Gallery) -> dict[str, object]:
    influence = {r.index: terms for r in run.rounds if (terms := figures.influence(r))}
    names = list(dict.fromkeys(name for row in influence.values() for name in row))
    whole = [c for c in picks.classes if run.component("task") != "multilabel" or c in (*run.classes, NO_ANSWER)]
    named = [c for c in run.classes if any(c in answer.split(", ") for answer in picks.classes)]
    return {
        "balance": None if run.drawable else figures.balance_figure(run),
        "parts": figures.parts_figure(run),
        "people": _people(run),
        "agreement": _agreement(run),
        "proposals": [] if run.path is None else taken_proposals(RunDir(run.path), len(run.classes)),
        "influence": influence,
        "terms": [*(n for n in names if n != "score"), *(n for n in names if n == "score")],
        "consistency": figures_model.map_figures(run),
        "class_choices": list(dict.fromkeys([*named, *whole])),
        "class_columns": picks.classes[: figures.MOST_CLASSES],
    }


def _people(run: RunView) -> dict[object, Mapping[str, object]]:
    """Round -> how people answered it, by its logged names; rounds of other answers are left out."""
    names = {f"people/{what}" for what in (*PROPOSALS, "seconds")}
    return {row["round"]: row for row in run.log if names & row.keys()}


def _agreement(run: RunView) -> dict[str, object] | None:
    """Round -> how far several readers agree, by its logged names, and the names of the measure; None without them."""
    rounds = {row["round"]: row for row in run.log if "people/double" in row}
    if not rounds:
        return None
    kind = "dice" if any("people/dice" in row for row in rounds.values()) else "kappa"
    name = "Dice" if kind == "dice" else "Cohen's kappa"
    return {"name": name, "readers": f"people/{kind}", "model": f"people/model_{kind}", "rounds": rounds}


def _bought(runs: Sequence[RunView], random: Sequence[RunView], errors: Sequence[Errors]) -> dict[str, object]:
    run = runs[0]
    metrics = once(sort_metrics({m for each in runs for m in each.metrics}))
    lines = _beside_random(runs, random) if random else {runs[0].name: runs}
    rows = rows_of(lines, metrics)
    return {
        "metrics": metrics,
        "headline": leading([m for m in metrics if m in rows[0].metrics]),
        "rows": rows,
        "measured": not metrics or any(m.startswith(EVALUATED) for m in metrics),
        "curve": figures.curve_figure(lines, metrics),
        "domains": by_domain(run, metrics),
        "operating": figures_model.operating_figure(errors),
        "tables": [run.rounds[k : k + ROUNDS_A_TABLE] for k in range(0, len(run.rounds), ROUNDS_A_TABLE)],
        "spent": run.labels.cost,
    }


def by_domain(run: RunView, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Part -> test metric -> its value after the last round, for the parts of data that have domains."""
    last = run.committed[-1].metrics if run.committed else {}
    parts: dict[str, dict[str, float]] = {}
    for metric in metrics:
        plain = parted(metric)[1]
        if plain != metric and figures.drawn(metric) and metric in last:
            parts.setdefault(metric.removesuffix(f"/{plain}").removeprefix("domain/"), {})[plain] = last[metric]
    return parts


def _beside_random(runs: Sequence[RunView], random: Sequence[RunView]) -> dict[str, Sequence[RunView]]:
    """The lines of a run and of random picks, which say how many runs they hold."""
    counts = ["one run" if len(group) == 1 else f"mean of {len(group)} runs" for group in (runs, random)]
    return {f"{runs[0].strategy.replace('+', ', then ')}: {counts[0]}": runs, f"random picks: {counts[1]}": random}


def _wrong(run: RunView, errors: Sequence[Errors], pictures: Pictures) -> dict[str, object]:
    picks = [(r.index, pick) for r in run.rounds for pick in r.picks]
    corrections = [(r, pick) for r, pick in picks if pick.corrected]
    disagree = [
        (r, pick, said)
        for r, pick in picks
        if (said := pictures.predicted.get(pick.index)) and pick.label not in (None, "skipped", said)
    ]
    digests = Counter(run.manifest.digests)
    return {
        "errors": errors[-1] if errors else None,
        "reliability": figures_model.reliability_figures(run),
        "worst": pictures.worst,
        "examples": pictures.examples,
        "bags": pictures.bags,
        "readers": _readers(run),
        "corrections": corrections[:MOST_CORRECTIONS],
        "corrected": len(corrections),
        "disagree": len(disagree),
        "answered": sum(pick.label is not None for _, pick in picks),
        "leaks": run.manifest.leaks(),
        "copies": sum(n - 1 for digest, n in digests.items() if digest and n > 1),
    }


def _readers(run: RunView) -> dict[str, Counter[str]]:
    """Answers, skips and corrections by reader; where several share the run, what each said, not what they came to."""
    if run.path is not None and is_shared(disk := RunDir(run.path)):
        entries = [entry for entry in Ledger(disk).entries() if entry.kind != "withdrawn"]
        said = [(entry.reader, entry.kind, entry.supersedes is not None) for entry in entries]
    else:
        said = [(a.annotator, a.kind, a.supersedes is not None) for a in run.labels.annotations]
    readers: dict[str, Counter[str]] = {}
    for name, kind, corrects in said:
        counts = readers.setdefault(name, Counter())
        counts["answers"] += 1
        counts["skipped"] += kind == "skip"
        counts["corrections"] += corrects
    return readers


def _made(run: RunView) -> dict[str, object]:
    stages = list(dict.fromkeys(stage for r in run.committed if r.round for stage in r.round.seconds))
    totals = {s: sum(r.round.seconds.get(s, 0.0) for r in run.committed if r.round) for s in stages}
    return {
        "stages": stages,
        "stage_totals": totals,
        "query_costs": {row["round"]: row for row in run.log if "query/passes" in row},
        "whole_seconds": sum(totals.values()) + (run.stage0_seconds or 0.0),
        "training": figures_model.training_figure(run),
        "recipe": yaml.safe_dump(dict(run.recipe), sort_keys=False, allow_unicode=True),
        "splits": {split: len(run.manifest.indices(split)) for split in ("pool", "val", "test")},
    }


def _number(value: float | None, form: str = "%.3f") -> str:
    """A number for a table; a dash where there is none."""
    return "–" if not isinstance(value, int | float) or not math.isfinite(value) else form % value


def _seconds(value: float) -> str:
    """A duration as people say it."""
    if value < 60:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def _total_seconds(rounds: Sequence[RoundView]) -> float:
    return sum(s for r in rounds if r.round for s in r.round.seconds.values())


FILTERS: Mapping[str, Callable[..., object]] = {
    "seconds": _seconds,
    "once": once,
    "number": _number,
    "total_seconds": _total_seconds,
}
