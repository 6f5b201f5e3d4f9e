"""Frozen-learner studies on the real sets: a grid of (set, variant, seed) cells, resumable, one long CSV.

    python benchmarks/study.py GRID [--sets A,B] [--seeds 0-19] [--jobs 2] [--out FILE.csv]

GRID names an entry of GRIDS below. Each cell is the loop of `hybrid-al run`, in process, on a stage 0 that three
encoders a set provide: seed s uses encoder s mod 3 (seeds from 100 up, which are for tuning, use encoders of their
own). Seeds are paired: the same seed means the same encoder, cold start and random numbers in every variant.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import filelock

DATA = Path(os.environ.get("HYBRID_AL_DATA", "../shared/data"))
RUNS = Path("runs/study")
COLUMNS = ("set", "variant", "encoder", "seed", "round", "labels", "metric", "value")
COMMON = ["learner=frozen", "track.wandb.mode=off", "report.images=false"]

# stage 0 is a run of its own, which the loop's settings must not touch
STAGE0 = ["train=supervised", "query=random", "cold_start=random"]

SETS = {
    "pneumoniamnist": ("chest_xray", f"data.root={DATA}/pneumoniamnist/pneumoniamnist.npz"),
    "malaria": ("blood_smear", f"data.root={DATA}/malaria_cells_gray/malaria.npz"),
    "isic2017": ("dermoscopy", f"data.root={DATA}/isic2017_melanoma/labels.csv"),
}
BOTH = "{entropy: 1.0, consistency: 1.0}"
QUERIES = {
    "random": "query=random",
    "uncertainty": "query={name: hybrid, score: {entropy: 1.0}, batch: {name: topk}}",
    "consistency": "query={name: hybrid, score: {consistency: 1.0}, batch: {name: topk}}",
    "both": f"query={{name: hybrid, score: {BOTH}, batch: {{name: topk}}}}",
    "both+diversity": f"query={{name: hybrid, score: {BOTH}, batch: {{name: kmeans, shortlist: 5}}}}",
}
GRIDS: dict[str, dict[str, list[str]]] = {
    # the first ablation of the README: the same cold start, then five ways to query
    "ablation": {name: [query] for name, query in QUERIES.items()},
    # what the cold start is worth: 10 and 40 labels bought at once
    "coldstart": {
        f"{start}-{n}": [f"cold_start={start}", f"loop.budgets=[{n}]"]
        for start in ("random", "typiclust")
        for n in (10, 40)
    },
}


def main() -> None:
    """Run the cells that the CSV does not hold yet, in `--jobs` processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=GRIDS)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0-19")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--variants", default="")
    parser.add_argument("--set", dest="extra", action="append", default=[], metavar="key=value", help="for every cell")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    out = args.out or Path(f"benchmarks/{args.grid}.csv")
    if args.worker is None and args.jobs > 1:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *sys.argv, "--worker"]
        workers = [subprocess.Popen([*command, str(i)], env=env) for i in range(args.jobs)]
        sys.exit(max(w.wait() for w in workers))
    seeds = [seed for part in args.seeds.split(",") for seed in _range(part)]
    chosen = args.variants.split(",") if args.variants else list(GRIDS[args.grid])
    cells = [(name, variant, seed) for seed in seeds for name in args.sets.split(",") for variant in chosen]
    for i, (name, variant, seed) in enumerate(cells):
        if args.worker is None or i % args.jobs == args.worker:
            run_cell(out, name, variant, [*GRIDS[args.grid][variant], *args.extra], seed)


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def run_cell(out: Path, name: str, variant: str, overrides: list[str], seed: int) -> None:
    """One loop, appended to the CSV as a whole; nothing where the CSV has it."""
    from hybrid_al import loop
    from hybrid_al.assemble import experiment
    from hybrid_al.rundir import RunDir
    from hybrid_al.track.base import Trackers

    if (name, variant, str(seed)) in done(out):
        return
    number = seed % 3 if seed < 100 else 100 + seed % 3
    base = stage0(name, number)
    weights = base.run.path / "stage0" / "encoder.safetensors"
    recipe, root = SETS[name]
    from hybrid_al.recipe import load

    settings = [*COMMON, root, "pretrain=none", f"encoder.weights={weights}", f"seed={seed}", *overrides]
    path = RUNS / name / f"cell-{variant}-s{seed}-{os.getpid()}"
    project = replace(base, recipe=load(f"recipes/{recipe}.yaml", settings), run=RunDir(path))
    began = time.perf_counter()
    with project.run.locked():
        project.claim()
        shutil.copytree(base.run.path / "stage0", path / "stage0")
        rounds = loop.run(experiment(project), project.run, Trackers())
    seconds = time.perf_counter() - began
    rows = [
        (name, variant, number, seed, r.index, r.labeled, metric, f"{value:.6g}")
        for r in rounds
        for metric, value in {
            **r.metrics,
            "seconds/query": r.seconds["query"],
            "seconds/train": r.seconds["train"],
        }.items()
    ]
    append(out, [*rows, (name, variant, number, seed, -1, rounds[-1].labeled, "seconds/loop", f"{seconds:.3g}")])
    shutil.rmtree(path)
    print(
        f"{name} {variant} s{seed}: {rounds[-1].metrics.get('test/auroc', float('nan')):.3f} in {seconds:.0f} s",
        flush=True,
    )


_projects: dict[tuple[str, int], object] = {}


def stage0(name: str, number: int):  # type: ignore[no-untyped-def]
    """The project whose run directory holds encoder `number` of a set; pretrained on first use, by one process."""
    from hybrid_al.assemble import open_project
    from hybrid_al.recipe import load
    from hybrid_al.track.base import Trackers
    from pretrain.stage0 import ensure

    if (name, number) not in _projects:
        recipe, root = SETS[name]
        path = RUNS / name / f"encoder-{number}"
        project = open_project(load(f"recipes/{recipe}.yaml", [*COMMON, *STAGE0, root, f"seed={number}"]), run_dir=path)
        path.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path / ".study.lock"):
            project.claim()
            began = time.perf_counter()
            fresh = not (path / "stage0" / "probe.json").is_file()
            metrics = ensure(project, Trackers())
            if fresh:
                spent = time.perf_counter() - began
                rows = [(name, "stage0", number, number, -1, 0, k, f"{v:.6g}") for k, v in metrics.items()]
                append(
                    Path("benchmarks/stage0.csv"),
                    [*rows, (name, "stage0", number, number, -1, 0, "seconds", f"{spent:.4g}")],
                )
                print(f"{name} encoder {number}: {metrics} in {spent:.0f} s", flush=True)
        _projects[name, number] = project
    return _projects[name, number]


def done(out: Path) -> set[tuple[str, str, str]]:
    """The (set, variant, seed) that a CSV holds."""
    if not out.is_file():
        return set()
    with out.open(newline="") as file:
        return {(row["set"], row["variant"], row["seed"]) for row in csv.DictReader(file)}


def append(out: Path, rows: list[tuple[object, ...]]) -> None:
    """Add rows to a CSV that several processes write."""
    with filelock.FileLock(RUNS / f".{out.name}.lock"):
        fresh = not out.is_file()
        with out.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                writer.writerow(COLUMNS)
            writer.writerows(rows)


if __name__ == "__main__":
    main()
