"""What each method of stage 0 is worth at equal compute, beside random and ImageNet weights: probes and few labels.

    OMP_NUM_THREADS=1 python benchmarks/pretrain_methods.py [--only simclr mae] [--seconds 120]   # goes on
    python benchmarks/pretrain_methods.py --tables    # for PRETRAINING.md

Equal is the CPU time of the training, one process of one thread: about `--seconds`, as far as a measurement can say
beforehand. Milliseconds an image are measured for all arms of a set in turns (median of `TURNS`), stand in
`pretrain_methods/costs.json`, and give the epochs of each arm; the seconds that it then took stand in the CSV.

An arm is a recipe with the keys in `ARMS` changed. An encoder (seed 0) of each set and arm is trained and probed;
then TypiClust picks 10 images and 30 more, and a linear head is trained on them (learner `frozen`, `supervised`), over
`SEEDS`. Each finished cell is added to `pretrain_methods/results.csv`; what is in it is not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from hybrid_al.assemble import open_project
from hybrid_al.bench.cell import Loop, Stage0, discarding, play
from hybrid_al.bench.results import Arm
from hybrid_al.core.files import write_json
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.recipe import Recipe, load
from hybrid_al.track.base import Trackers
from pretrain import stage0
from pretrain.loop import Job, pretrain

TURNS, STEPS, ENCODER, SEEDS = 3, 3, 0, range(10)
HERE = Path(__file__).parent
OUT = HERE / "pretrain_methods"
COLUMNS = ("set", "arm", "budget", "metric", "seed", "value")
SETS = {
    "pneumoniamnist": ("chest_xray", "../shared/data/pneumoniamnist/pneumoniamnist.npz", 48),
    "malaria": ("blood_smear", "../shared/data/malaria_cells_gray/malaria.npz", 64),
}
IMAGENET = "encoder={name: tf_efficientnet_lite0, weights: pretrained}"
FINE = "encoder.options={output_stride: 8}"
VIT = "encoder={name: vit_tiny_patch16_224, options: {patch_size: 4, depth: 4}}"
ARMS: dict[str, tuple[str, ...]] = {
    "random": ("pretrain=none",),
    "imagenet": ("pretrain=none", IMAGENET),
    "simclr": ("pretrain={name: simclr}",),
    "moco_v3": ("pretrain={name: moco_v3}",),
    "byol": ("pretrain={name: byol}",),
    "dino": ("pretrain={name: dino}",),
    "densecl, stride 8": ("pretrain={name: densecl}", FINE),
    "mae, ViT": ("pretrain={name: mae}", VIT),
    "rotation": ("pretrain={name: rotation}",),
    "simclr, stride 8": ("pretrain={name: simclr}", FINE),
    "simclr, temperature 0.5": ("pretrain={name: simclr, temperature: 0.5}",),
    "simclr from imagenet": ("pretrain={name: simclr, lr: 5.0e-4}", IMAGENET),
}
"""Arm -> keys of the set's recipe; where ImageNet weights are in it, at the size of the survey (the last of `SETS`)."""


def main() -> None:
    """Play what is missing, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="arms, by the beginnings of their names; all otherwise")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--runs", type=Path, default=Path("runs/pretrain_methods"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--tables", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.tables:
        print("\n".join(tables(args.out / "results.csv")))
        return
    chosen = [name for name in ARMS if args.only is None or name.startswith(tuple(args.only))]
    for part, made in (("cpu_seconds", pretrained), ("test/auroc@40", few_labels)):  # first all encoders
        for arm in chosen:
            for name in SETS:
                who = name, arm, str(args.seconds if trained(arm) else 0)
                rows = read(args.out / "results.csv")
                if (*who, part) in {(row["set"], row["arm"], row["budget"], row["metric"]) for row in rows}:
                    continue
                count = epochs(args.out / "costs.json", name, arm, args.runs, args.seconds) if trained(arm) else 0
                found = list(made(name, arm, count, args.runs))
                add(args.out / "results.csv", [(*who, *row) for row in found])
                print(", ".join([*who, *(f"{m} {v:.3f}" for m, _, v in found)]), flush=True)


def trained(arm: str) -> bool:
    """Whether an arm has a stage 0 that costs something."""
    return "pretrain=none" not in ARMS[arm]


def recipe(name: str, arm: str, *more: str) -> Recipe:
    """The recipe of a set with the changes of an arm."""
    own, root, imagenet_size = SETS[name]
    size = (f"data.image_size={imagenet_size}",) if IMAGENET in ARMS[arm] else ()
    off = "track.wandb.mode=off"
    learn = ("learner={name: frozen, strong_views: 1}", "train=supervised", "cold_start=typiclust", "query=typiclust")
    return load(own, [f"data.root={root}", *ARMS[arm], *size, *learn, "loop.budgets=[10, 30]", off, *more])


def epochs(file: Path, name: str, arm: str, runs: Path, seconds: int) -> int:
    """Epochs that take about so many CPU seconds; costs are measured for all arms that have none yet, in turns."""
    known: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.is_file() else {}
    if arm not in known.get(name, {}):
        arms = [a for a in ARMS if trained(a) and a not in known.get(name, {})]
        costs: dict[str, list[float]] = {a: [] for a in arms}
        for _ in range(TURNS):
            for a in arms:
                costs[a].append(cost(recipe(name, a), runs))
        known[name] = known.get(name, {}) | {a: round(1000 * statistics.median(costs[a]), 3) for a in arms}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, known)
    pool = len(open_project(recipe(name, arm), run_dir=runs / "look").dataset.manifest.indices("pool"))
    return max(1, round(1000 * seconds / (known[name][arm] * pool)))


def cost(made: Recipe, runs: Path) -> float:
    """CPU seconds an image of a training, its first step left out."""
    project = open_project(made, run_dir=runs / "look")
    method = stage0.check(made)
    assert method is not None
    store, views = project.store(), project.views().pretrain
    few = ImageStore(store.images[: STEPS * method.batch], store.digest, store.keys)
    pool = project.dataset.manifest.indices("pool")[: STEPS * method.batch]
    one_epoch = replace(method, epochs=1)  # type: ignore[type-var]
    clock: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(one_epoch, stage0.start(project), few, pool, views, 0, project.device, Path(folder) / "resume.pt")
        pretrain(job, log=lambda *_: None, progress=lambda *_: clock.append(time.process_time()))
    return (clock[-1] - clock[0]) / ((STEPS - 1) * method.batch)


def stage(name: str, arm: str, count: int, runs: Path) -> Stage0:
    """The stage 0 of an arm: its recipe and its folder."""
    made = recipe(name, arm, f"seed={ENCODER}", *((f"pretrain.epochs={count}",) if count else ()))
    return Stage0(name, made, runs / re.sub(r"[ ,]+", "-", f"{name}-{arm}-{count}"), "cpu")


def pretrained(name: str, arm: str, count: int, runs: Path) -> Iterator[tuple[str, int | str, float]]:
    """(metric, "", value) of one encoder: what its training took, and its probes."""
    task = stage(name, arm, count, runs)
    shutil.rmtree(task.folder, ignore_errors=True)  # of a training that was cut off the cost is not known
    project = open_project(task.recipe, run_dir=task.folder)
    project.claim()
    project.store()
    began, clock, steps = time.process_time(), 0.0, 0

    def progress(step: int, _total: int, _message: str) -> None:
        nonlocal clock, steps
        clock, steps = time.process_time() - began, step

    probes = stage0.ensure(project, Trackers(), progress)
    for metric, value in {"epochs": count, "steps": steps, "cpu_seconds": round(clock, 1), **probes}.items():
        yield metric, "", value


def few_labels(name: str, arm: str, count: int, runs: Path) -> Iterator[tuple[str, int | str, float]]:
    """(metric@labels, seed, value) of heads on few labels."""
    task = stage(name, arm, count, runs)
    for seed in SEEDS:
        loop = Loop(
            name,
            (Arm("typiclust", "supervised", "frozen"), seed),
            task.recipe.model_copy(update={"seed": seed}),
            (False, False),
            task,
            runs / "loops" / f"{task.folder.name}-{seed}",
            ("val/auroc", "test/auroc"),
        )
        for row in play(loop):
            if row.metric in loop.metrics:
                yield f"{row.metric}@{row.labels}", seed, row.value
        with discarding(loop):
            pass


def read(path: Path) -> list[dict[str, str]]:
    """The rows of the CSV, none where there is none yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add(path: Path, rows: list[tuple[str, str, str, str, int | str, float]]) -> None:
    """Append a finished cell in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = [] if path.is_file() else [COLUMNS]
    text = "".join(",".join(f'"{x}"' if "," in str(x) else str(x) for x in row) + "\n" for row in [*head, *rows])
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def tables(path: Path) -> Iterator[str]:
    """One Markdown table a set."""
    cells: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for row in read(path):
        cell = cells.setdefault((row["set"], row["arm"], int(row["budget"])), {})
        cell.setdefault(row["metric"], []).append(float(row["value"]))
    for name in SETS:
        yield f"### {name}\n"
        heads = "arm", "epochs", "CPU s", "val kNN", "val linear", "test kNN", "test linear", "10 labels", "40 labels"
        yield f"| {' | '.join(heads)} |"
        yield "| --- " * len(heads) + "|"
        own = [(arm, budget) for own, arm, budget in cells if own == name]
        for arm, budget in sorted(own, key=lambda who: (list(ARMS).index(who[0]), who[1])):
            yield line(arm, cells[name, arm, budget])
        yield ""


def line(arm: str, found: Mapping[str, list[float]]) -> str:
    """A row of a table."""
    one = [f"{found[f'{split}/{kind}_auroc'][0]:.3f}" for split in ("val", "test") for kind in ("knn", "linear")]
    heads = [found.get(f"test/auroc@{labels}", []) for labels in (10, 40)]
    few = [f"{statistics.mean(values):.3f} +- {statistics.stdev(values):.3f}" if values else "" for values in heads]
    cost = [f"{found[name][0]:.0f}" for name in ("epochs", "cpu_seconds")] if found["epochs"][0] else ["-", "-"]
    return "| " + " | ".join([arm, *cost, *one, *few]) + " |"


if __name__ == "__main__":
    main()
