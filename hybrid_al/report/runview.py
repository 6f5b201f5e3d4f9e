"""What the report shows of a run: a frozen value, read from the run directory alone."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.consistency import Consistency
from ..core.files import read_arrays
from ..core.labels import LabelStore
from ..core.manifest import Manifest
from ..core.rundir import RunDir
from ..core.seals import sealed, whole
from ..core.types import Annotation, FloatArray, IntArray, Round, Scores, Target
from ..errors import InputError
from ..metrics.classification import aubc
from ..query.stopping import Stopping
from ..recipe import of_run
from ..track import jsonl
from ..track.base import shareable

# keys of a recipe in which runs of one group may differ: the seed, and what has no influence on the numbers
DRAWN = ("mask", "point", "scribble", "box")
"""Kinds of answers that are label maps."""

_NOT_THE_METHOD = ("seed", "track", "report", "label")


@dataclass(frozen=True)
class Pick:
    """A picked sample; label None = not answered yet.

    unit       the number of what was asked about: of the sample, or of a part of it
    annotator  who gave the answer in force
    corrected  the answers before it, each in words with who gave it, where they say something else
    mask       the path of its label map in the run directory, where the answer is drawn
    """

    index: int
    unit: int
    id: str
    rank: int
    score: float | None
    reason: str
    label: str | None
    annotator: str = ""
    corrected: tuple[str, ...] = ()
    mask: str = ""


@dataclass(frozen=True)
class RoundView:
    """A round; `round` is None while it waits for labels or trains.

    reliability (3, bins) and holdout, the answers about val and test: `holdout.Evaluation`; empty where not written.
    """

    index: int
    round: Round | None
    picks: tuple[Pick, ...]
    scores: Scores | None
    consistency: Consistency | None
    reliability: Mapping[str, FloatArray] = field(default_factory=dict)
    holdout: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the committed round by name; none while it is open."""
        return self.round.metrics if self.round else {}

    @property
    def units(self) -> IntArray:
        """Units of the picks (K,): their positions, or those of parts of images."""
        return np.asarray([p.unit for p in self.picks], dtype=np.int64)


@dataclass(frozen=True)
class RunView:
    """A run as the report draws it.

    recipe: as resolved, paths cut to their last part. log: rows of metrics.jsonl. labels: all annotations so far.
    drawable: answers are drawn on images, so picks have no class, and reliability is of pixels.
    stage0_seconds: None where it was not written. path: of the run directory, None of a value made by hand.
    """

    name: str
    seed: int
    classes: tuple[str, ...]
    recipe: Mapping[str, object]
    manifest: Manifest
    labels: LabelStore
    rounds: tuple[RoundView, ...]
    log: tuple[Mapping[str, object], ...]
    digest: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    drawable: bool = False
    stage0_seconds: float | None = None
    path: Path | None = None

    @classmethod
    def read(cls, run_dir: Path) -> RunView:
        """The run in `run_dir` as it stands; error where a file is missing or is not what it should be."""
        disk = RunDir(run_dir)
        facts, manifest, commits = disk.facts(), disk.manifest(), disk.rounds()
        recipe = of_run(run_dir)
        labels = disk.labels(len(manifest))
        classes = tuple(str(c) for c in _list(facts.get("classes")))
        given: dict[int, list[Annotation]] = {}
        for annotation in labels.annotations:
            given.setdefault(annotation.index, []).append(annotation)
        rounds: list[RoundView] = []
        while (rows := disk.query_rows(r := len(rounds))) is not None:
            commit, folder = commits[r] if r < len(commits) else None, disk.round_path(r)
            rounds.append(_round(folder, rows, r, commit, manifest, given, classes))
        return cls(
            name=str(facts["name"]),
            seed=int(str(facts["seed"])),
            classes=classes,
            recipe=shareable(recipe),
            manifest=manifest,
            labels=labels,
            rounds=tuple(rounds),
            log=tuple(jsonl.read(run_dir / "metrics.jsonl")),
            digest=str(facts.get("recipe_digest", "")),
            drawable=bool(facts.get("drawable", facts.get("task") == "segmentation")),  # layout 1 does not say it
            stage0_seconds=_seconds(run_dir / "stage0" / "seconds.json"),
            path=run_dir,
            versions={k: str(v) for k, v in _mapping(facts.get("versions")).items()},
        )

    def component(self, key: str) -> str:
        """Name of a recipe's component, such as query or train; empty where it has none."""
        value = self.recipe.get(key)
        return str(value.get("name", "") if isinstance(value, Mapping) else value or "")

    @property
    def of_bags(self) -> bool:
        """Whether a label is of a bag of images."""
        return self.component("task") == "bags"

    @property
    def strategy(self) -> str:
        """Cold start and query, as a bench names them: A+B."""
        return "+".join(n for n in (self.component("cold_start"), self.component("query")) if n)

    @property
    def method(self) -> str:
        """The recipe as text without what may differ between seeds; runs with equal text are averaged."""
        return json.dumps({k: v for k, v in self.recipe.items() if k not in _NOT_THE_METHOD}, sort_keys=True)

    @property
    def committed(self) -> tuple[RoundView, ...]:
        """The committed rounds."""
        return tuple(r for r in self.rounds if r.round)

    @property
    def labeled(self) -> int:
        """Labels that the committed rounds have: samples, or parts of images where those were asked about."""
        return self.committed[-1].round.labeled if self.committed and self.committed[-1].round else 0

    @property
    def enough_at(self) -> int | None:
        """The first round after which the stopping signal said that the labels are enough."""
        stop = _mapping(_mapping(self.recipe.get("loop")).get("stop"))
        return Stopping(**stop).enough_at([r.round for r in self.rounds if r.round])  # type: ignore[arg-type]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics of the committed rounds, test before val."""
        return sort_metrics({name for r in self.rounds for name in r.metrics if not name.startswith("cost/")})

    @property
    def costs(self) -> tuple[str, ...]:
        """Names of the costs that every committed round has."""
        names = [{n for n in r.metrics if n.startswith("cost/")} for r in self.committed]
        return tuple(sorted(set.intersection(*names))) if names else ()

    def curve(self, metric: str, cost: str = "") -> tuple[FloatArray, FloatArray]:
        """Labels (R,), or their cost by its name, and metric (R,) of the committed rounds that have it, a number."""
        points = [
            (r.metrics[cost] if cost else r.round.labeled, r.metrics[metric])
            for r in self.rounds
            if r.round and math.isfinite(r.metrics.get(metric, math.nan))
        ]
        x, y = np.asarray(points, dtype=float).reshape(-1, 2).T
        return x, y

    def area(self, metric: str) -> float | None:
        """AUBC of a metric; None where there are less than two points, or labels did not grow from one to the next."""
        x, y = self.curve(metric)
        growing = len(x) > 1 and x[0] > 0 and bool((np.diff(x) > 0).all())
        return aubc(x.tolist(), y.tolist()) if growing else None


_FIRST = ("auroc", "balanced_accuracy", "macro_recall", "dice", "hd95", "macro_f1", "accuracy")


def sort_metrics(names: set[str]) -> tuple[str, ...]:
    """Test before val before the rest, of a target before of all, the usual headline metrics first."""

    def key(name: str) -> tuple[int, int, str]:
        split, _, metric = name.rpartition("/")
        place = {"target/test": 0, "test": 1, "val": 2}.get(split, 3)
        return place, _FIRST.index(metric) if metric in _FIRST else len(_FIRST), name

    return tuple(sorted(names, key=key))


def leading(names: Sequence[str]) -> list[str]:
    """Three of sorted names that stand for a model: of test, or where there are none of val; two of a target first."""
    for split in ("test/", "val/"):
        if plain := [name for name in names if name.startswith(split) and name.count("/") == 1]:
            target = [name for name in (f"target/{name}" for name in plain[:2]) if name in names]
            return (target + plain)[:3]
    return []


def once(names: Sequence[str]) -> tuple[str, ...]:
    """The names without those of a single structure or label, `test/dice/nucleus`, whose mean has the same numbers."""
    parts = Counter(name.rpartition("/")[0] for name in names if name.count("/") > 1)
    return tuple(name for name in names if not (parts[above := name.rpartition("/")[0]] == 1 and above in names))


def label_text(kind: str, target: Target, classes: tuple[str, ...]) -> str:
    """An annotation in words: class names where they are known, else the kind."""
    if kind == "class" and isinstance(target, int):
        return classes[target] if target < len(classes) else str(target)
    if kind == "classes" and isinstance(target, tuple):
        return ", ".join(label_text("class", t, classes) for t in target) or "none"
    if kind == "not" and isinstance(target, tuple):
        return f"not {' or '.join(label_text('class', t, classes) for t in target)}"
    return "skipped" if kind == "skip" else kind


def _round(
    folder: Path,
    rows: Sequence[Mapping[str, str]],
    index: int,
    commit: Round | None,
    manifest: Manifest,
    given: Mapping[int, Sequence[Annotation]],
    classes: tuple[str, ...],
) -> RoundView:
    """The round in a folder by the rows of its query; given: the answers about each sample, oldest first."""
    picks = []
    for row in rows:
        position = manifest.position.get(row["id"])
        if position is None:
            raise InputError(folder / "query.csv", "ids of the manifest", repr(row["id"]))
        answers = given.get(position, ())
        words = [label_text(a.kind, a.target, classes) for a in answers]
        differ = [f"{w} ({a.annotator})" for a, w in zip(answers[:-1], words, strict=False) if w != words[-1]]
        mask = answers[-1].target if answers and answers[-1].kind in DRAWN else ""
        picks.append(
            Pick(
                position,
                int(row.get("unit", position)),
                row["id"],
                int(row["rank"]),
                float(row["score"]) if row["score"] else None,
                row["reason"],
                words[-1] if words else None,
                answers[-1].annotator if answers else "",
                tuple(differ),
                mask if isinstance(mask, str) else "",
            )
        )
    consistency = folder / "consistency.npz"
    return RoundView(
        index=index,
        round=commit,
        picks=tuple(picks),
        scores=_scores(folder / "scores.npz"),
        consistency=Consistency.load(consistency).of(len(manifest)) if commit and consistency.is_file() else None,
        reliability=_arrays(folder / "reliability.npz") if commit else {},
        holdout=_arrays(folder / "holdout.npz") if commit else {},
    )


def _seconds(path: Path) -> float | None:
    if not path.is_file():
        return None
    with whole(path):
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])


def _arrays(path: Path) -> dict[str, FloatArray]:
    return read_arrays(path) if sealed(path).is_file() else {}


def _scores(path: Path) -> Scores | None:
    """The scores of a round; None where there are none, or none that are whole: they are for reports alone."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path)
        with whole(path):
            parts = {name.removeprefix("part/"): a for name, a in arrays.items() if name.startswith("part/")}
            return Scores(arrays["indices"], arrays["values"], parts)
    except InputError as error:
        print(f"{error}; the report goes without them", file=sys.stderr)
        return None


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
