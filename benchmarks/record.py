"""How the consistency record is best made and read: how well each way of it finds the images that the model gets wrong.

    OMP_NUM_THREADS=1 python benchmarks/record.py [mean_teacher fixmatch ...] [--seeds 100-109] [-o benchmarks/record]

For choices, so on the pool, never on test, and on seeds and encoders from 100 up. A seed draws 80 images of the pool at
random and has 10, 20, 40 and 80 of them labeled in turn; the frozen learner of the shipped recipes is trained on each
set. All ways of recording watch the same training, which none of them changes. Written, one row a training and way:
`auroc`, the area under the ROC curve of a score for the unlabeled images that the model (its teacher) gets wrong;
`fused`, the same of the mid-rank mean of score and entropy, as `hybrid` fuses them; `rank`, Spearman's correlation with
entropy; `rare`, the share of the rarest class in the top tenth over its share in the pool. The first row of a training
is entropy itself. What the CSV lacks is played, then the block `<!-- bench: record -->` of EARLIER.md is filled.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import scipy.stats
from sklearn.metrics import roc_auc_score

from hybrid_al import train
from hybrid_al.assemble import experiment
from hybrid_al.bench.cell import make_stage0
from hybrid_al.bench.grid import load_grid, parse_seeds
from hybrid_al.bench.publish import fill
from hybrid_al.bench.runner import Paths, Variant, _stage0, open_variants
from hybrid_al.bench.tables import Table, markdown
from hybrid_al.core.consistency import ALL_PARTS, Consistency, Recording
from hybrid_al.core.labels import LabelStore
from hybrid_al.core.rng import derive
from hybrid_al.core.rundir import RunDir
from hybrid_al.core.types import Annotation, FloatArray, IntArray
from hybrid_al.scores.recorder import ConsistencyRecorder
from hybrid_al.scores.samples import entropy, mid_ranks
from hybrid_al.semi.base import Evidence, Models, Unlabeled
from hybrid_al.semi.evidence import Evidences, testify

HERE = Path(__file__).parent
SIZES = (10, 20, 40, 80)
WAYS = {
    "default": Recording(),
    "decay 0.5": Recording(decay=0.5),
    "decay 1": Recording(decay=1.0),
    "last third": Recording(decay=1.0, skip=2 / 3),
    "student": Recording(witness="student"),
    "teacher": Recording(witness="teacher"),
    "teacher and student": Recording(witness="both"),
    "shrink 3": Recording(shrink=3.0),
    "within the class": Recording(within="class"),
    "carry 0.5": Recording(carry=0.5),
}
FIELDS = ("variant", "objective", "seed", "labels", "way", "auroc", "fused", "rank", "rare")
Row = tuple[str, str, int, int, str, float, float, float, float]


class Watch:
    """Every way of recording, told of the same steps."""

    def __init__(self, n: int) -> None:
        self.evidences = {name: Evidences(ConsistencyRecorder(n, way)) for name, way in WAYS.items()}
        self.step, self.steps = 0, 1

    def testify(self, _: str, models: Models, unlabeled: Unlabeled | None, said: Evidence | None) -> Evidence | None:
        """In the place of `recording.testify`: let every way see the step."""
        seen = {w: testify(w, models, unlabeled, said) for w in ("objective", "student", "teacher", "both")}
        for name, way in WAYS.items():
            if self.step >= way.skip * self.steps:
                self.evidences[name].add(seen[way.witness])
        self.step += 1
        return said

    def records(self, before: dict[str, Consistency]) -> dict[str, Consistency]:
        """What each way has, with its share of the last round's."""
        made = {}
        for name, way in WAYS.items():
            self.evidences[name].write()
            made[name] = self.evidences[name].recorder.record()
            if way.carry > 0 and before:
                made[name] = made[name].blend(before[name])
        return made


def main() -> None:
    """Play what is missing in the CSV, then fill the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objectives", nargs="*", default=["mean_teacher", "fixmatch"])
    parser.add_argument("--seeds", default="100-109")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "record")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "record.csv"
    rows = read(file)
    grid = load_grid(HERE / "defaults.yaml", ["bench.encoders=1"], objectives=args.objectives, seeds=args.seeds)
    paths = Paths(args.out, Path("runs/bench"))
    for variant in open_variants(grid, paths, "cpu"):
        for objective in args.objectives:
            for seed in parse_seeds(args.seeds):
                if (variant.name, objective, seed) not in {row[:3] for row in rows}:
                    arm = next(a for a in grid.arms(variant.name) if a.objective == objective)
                    stage = _stage0(grid, variant, seed, paths, "cpu")
                    base = make_stage0(stage)
                    recipe = grid.recipe(variant.name, (arm, seed), variant.pool)
                    run = RunDir(paths.work / "loops" / "record")
                    project = replace(base, recipe=recipe, run=run, base=stage.folder)
                    rows += play(replace(variant, project=project), objective, seed)
                    write(file, rows)
    fill(HERE / "EARLIER.md", "record", markdown(tables(rows)))


def play(variant: Variant, objective: str, seed: int) -> Iterator[Row]:
    """The rows of one seed."""
    setup = experiment(variant.project)
    truth, pool = variant.project.dataset.truth, setup.manifest.indices("pool")
    order, before = derive(seed, "record").permutation(pool), dict[str, Consistency]()
    for round, size in enumerate(SIZES):
        labeled = order[:size]
        named = [Annotation(i, "class", int(truth[i]), "simulated", 0) for i in labeled.tolist()]
        watch = Watch(len(truth))
        _, schedule = train_of(variant)
        watch.steps = schedule.length(size)
        with patch.object(train, "testify", watch.testify):
            setup.learner.fit(LabelStore(len(truth), tuple(named)), round=round, seed=seed, log=lambda *_: None)
        rest = np.setdiff1d(pool, labeled)
        probs = np.concatenate([batch.probs for batch in setup.learner.predict(rest)])
        before = watch.records(before)
        yield from compared((variant.name, objective, seed, size), probs, truth[rest], rest, before)


def train_of(variant: Variant) -> tuple[object, train.Schedule]:
    """Objective and schedule of a variant."""
    from hybrid_al.assemble import training

    return training(variant.project.recipe)


def compared(
    where: tuple[str, str, int, int],
    probs: FloatArray,
    truth: IntArray,
    rest: IntArray,
    records: dict[str, Consistency],
) -> Iterator[Row]:
    """A row for entropy and for each way of the record and part of the default one."""
    wrong = probs.mean(axis=1).argmax(axis=1) != truth
    unsure = entropy(probs)
    rarest = truth == np.bincount(truth).argmin()
    scores = {"entropy": unsure}
    scores |= {name: record.uncertainty()[rest] for name, record in records.items()}
    scores |= {f"only {p}": records["default"].uncertainty((p,))[rest] for p in ALL_PARTS}
    for name, score in scores.items():
        fused = mid_ranks(score) + mid_ranks(unsure)
        top = np.argsort(-mid_ranks(score), kind="stable")[: len(score) // 10]
        yield (
            *where,
            name,
            float(roc_auc_score(wrong, score)),
            float(roc_auc_score(wrong, fused)),
            float(scipy.stats.spearmanr(score, unsure).statistic),
            float(rarest[top].mean() / rarest.mean()),
        )


def read(file: Path) -> list[Row]:
    """The rows that are there."""
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        return [
            (
                r["variant"],
                r["objective"],
                int(r["seed"]),
                int(r["labels"]),
                r["way"],
                *(float(r[k]) for k in FIELDS[5:]),
            )
            for r in csv.DictReader(lines)
        ]


def write(file: Path, rows: list[Row]) -> None:
    """All rows, over what was there."""
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows([*row[:5], *(f"{v:.4f}" for v in row[5:])] for row in rows)


def tables(rows: list[Row]) -> list[Table]:
    """A row a way, a column a variant and objective: what each finds, and what that differs from the default's."""
    columns = list(dict.fromkeys(row[:2] for row in rows))
    ways = list(dict.fromkeys(row[4] for row in rows))
    found = {(column, way): _of_seeds(rows, column, way) for column in columns for way in ways}
    names = tuple(f"{variant}, {objective}" for variant, objective in columns)
    seeds = len({row[2] for row in rows})
    means = [(w, *(" / ".join(f"{v:.3f}" for v in found[c, w].mean(axis=0)[:2]) for c in columns)) for w in ways]
    less = [(w, *(_difference(found[c, w] - found[c, "default"]) for c in columns)) for w in ways]
    rest = [(w, *("{2:.2f} / {3:.2f}".format(*found[c, w].mean(axis=0)) for c in columns)) for w in ways]
    note = f"Means over {SIZES} labels and {seeds} seeds"
    return [
        Table(
            "Which images the model gets wrong: the record alone / with entropy",
            f"Area under the ROC curve for errors at unlabeled images. {note}.",
            ("way", *names),
            tuple(means),
        ),
        Table(
            "With entropy, minus the default record with entropy",
            f"The same in points, with the standard error over seeds. {note}.",
            ("way", *names),
            tuple(less),
        ),
        Table(
            "Rank correlation with entropy / the rarest class in the top tenth over its share",
            f"{note}.",
            ("way", *names),
            tuple(rest),
        ),
    ]


def _of_seeds(rows: list[Row], column: tuple[str, ...], way: str) -> FloatArray:
    """auroc, fused, rank and rare of each seed (S, 4), the mean over the numbers of labels."""
    own = [row for row in rows if row[:2] == column and row[4] == way]
    seeds = sorted({row[2] for row in own})
    return np.array([np.mean([row[5:] for row in own if row[2] == seed], axis=0) for seed in seeds])


def _difference(less_S4: FloatArray) -> str:
    points = 100 * less_S4[:, 1]
    return f"{points.mean():+.2f} ± {points.std(ddof=1) / np.sqrt(len(points)):.2f}"


if __name__ == "__main__":
    main()
