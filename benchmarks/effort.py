"""Seconds and clicks of masks with and without proposals, and what networks learn from either: see EFFORT.md.

OMP_NUM_THREADS=1 python benchmarks/effort.py ENCODER.onnx DECODER.onnx WORK [--data ../shared/data]

Rows that `benchmarks/effort/` has are not made again. WORK keeps the masks and, meanwhile, the runs.
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from hybrid_al import loop
from hybrid_al.api.predictions import predict
from hybrid_al.assemble import Project, experiment, open_project
from hybrid_al.core.types import BoolArray, IntArray
from hybrid_al.data.tissue import otsu
from hybrid_al.metrics.segmentation import dice
from hybrid_al.models.promptable import Embedded, Prompt, Promptable
from hybrid_al.oracles.effort import BOX_CLICKS, SECONDS_A_CLICK, clicks
from hybrid_al.recipe import load, parse
from hybrid_al.track.base import Trackers
from pretrain.stage0 import ensure

OUT = Path(__file__).with_name("effort")
DATA = {"nuclei": "dsb2018_nuclei", "lung": "cxr_lung_masks"}
IMAGES = 10  # of each data set that people are asked about
TESTED = 20
LEARNED = 5  # images that a network is trained on
SEEDS = 5
STEPS = 60
SMALLEST = 20  # pixels of a structure
LOOSE = 2  # pixels that the edge of a box may lie outside of its structure
THRESHOLDS = (0.7, 0.8, 0.9)  # of the IoU from which a person accepts
MOST_CLICKS = 45  # of an outline, where a person draws no finer: 79.2 s, the mean of COCO (Lin et al., ECCV 2014)
ACCEPTS = 0.8  # in what networks are trained on
KINDS = ("hand", "otsu", "segmenter", "checked")
ImageColumns = ("data", "image", "how", "structures", "clicks", "machine", "dice", "iou")
FitColumns = ("data", "kind", "seed", "images", "seconds", "dice")


@dataclass(frozen=True)
class Case:
    """An image: its structures, and a person's boxes around them, (left, top, right, bottom)."""

    data: str
    name: str
    pixels: np.ndarray
    structures: list[BoolArray]

    @cached_property
    def boxes(self) -> list[tuple[int, int, int, int]]:
        """Around each structure; every edge lies up to `LOOSE` pixels outside of it."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        height, width = self.pixels.shape[:2]
        boxes = []
        for structure in self.structures:
            rows, columns = np.nonzero(structure)
            left, top, right, bottom = rng.integers(0, LOOSE + 1, 4).tolist()
            box = (columns.min() - left, rows.min() - top, columns.max() + 1 + right, rows.max() + 1 + bottom)
            boxes.append((max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)))
        return boxes

    def union(self, shapes: list[BoolArray]) -> BoolArray:
        """All of them in one mask."""
        return np.any([np.zeros(self.pixels.shape[:2], dtype=np.bool_), *shapes], axis=0)


def cases(root: Path, data: str, split: str, count: int) -> list[Case]:
    """Images of a split, drawn by lot with seed 0."""
    folder = root / DATA[data]
    with (folder / "index.csv").open(newline="", encoding="utf-8") as lines:
        names = [row["id"] for row in csv.DictReader(lines) if row["split"] == split]
    return [case_of(folder, data, names[k]) for k in np.random.default_rng(0).permutation(len(names))[:count]]


def case_of(folder: Path, data: str, name: str) -> Case:
    """Nuclei have a number each; a lung is what hangs together in the mask."""
    pixels = np.asarray(Image.open(folder / "images" / f"{name}.png").convert("RGB"))
    if data == "nuclei":
        numbers = np.asarray(Image.open(folder / "instances" / f"{name}.png"))
    else:
        numbers = ndimage.label(np.asarray(Image.open(folder / "masks" / f"{name}.png")) > 0)[0]
    shapes = [numbers == k for k in np.unique(numbers).tolist() if k]
    return Case(data, name, pixels, [shape for shape in shapes if shape.sum() >= SMALLEST])


# -- proposals --------------------------------------------------------------------------------------------------------


def filled(case: Case, box: tuple[int, int, int, int]) -> BoolArray:
    """The whole box."""
    left, top, right, bottom = box
    shape = np.zeros(case.pixels.shape[:2], dtype=np.bool_)
    shape[top:bottom, left:right] = True
    return shape


def by_otsu(case: Case, box: tuple[int, int, int, int]) -> BoolArray:
    """What Otsu's threshold parts from the edge of the box: the side of which the edge has less."""
    left, top, right, bottom = box
    grey = case.pixels[top:bottom, left:right].mean(axis=2).astype(np.int64)
    bright = grey > otsu(np.bincount(grey.ravel(), minlength=256))
    edge = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    shape = np.zeros(case.pixels.shape[:2], dtype=np.bool_)
    shape[top:bottom, left:right] = ndimage.binary_fill_holes(~bright if edge.mean() > 0.5 else bright)
    return shape


def by_segmenter(segmenter: Promptable, embedded: Embedded, box: tuple[int, int, int, int]) -> BoolArray:
    """What the promptable segmenter finds in the box."""
    left, top, right, bottom = box
    return segmenter.mask(embedded, Prompt(box=(float(left), float(top), float(right), float(bottom))))


def iou(a: BoolArray, b: BoolArray) -> float:
    """Intersection over union of two structures."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def row_of(case: Case, how: str, shapes: list[BoolArray], machine: float) -> dict[str, Any]:
    """How near proposals are to the structures: the IoU of each, in its order."""
    each = [iou(shape, truth) for shape, truth in zip(shapes, case.structures, strict=True)]
    outlines = [clicks(structure.astype(np.uint8)) for structure in case.structures]
    return {
        "data": case.data,
        "image": case.name,
        "how": how,
        "structures": len(case.structures),
        "clicks": " ".join(map(str, outlines)),
        "machine": round(machine, 3),
        "dice": round(dice(case.union(shapes), case.union(case.structures)), 4),
        "iou": " ".join(f"{value:.3f}" for value in each),
    }


def proposals(case: Case, segmenter: Promptable, work: Path) -> Iterator[dict[str, Any]]:
    """A row of each way to propose, and the masks of each kind on the disk."""
    begun = time.process_time()
    embedded = segmenter.embed(case.pixels)
    shapes = {
        "hand": case.structures,
        "box": [filled(case, box) for box in case.boxes],
        "otsu": [by_otsu(case, box) for box in case.boxes],
        "segmenter": [by_segmenter(segmenter, embedded, box) for box in case.boxes],
    }
    machine = time.process_time() - begun
    pairs = list(zip(shapes["segmenter"], case.structures, strict=True))
    shapes["checked"] = [shape if iou(shape, truth) >= ACCEPTS else truth for shape, truth in pairs]
    for kind, each in shapes.items():
        file = work / "masks" / case.data / kind / f"{case.name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(case.union(each).astype(np.uint8)).save(file)
    for how in ("box", "otsu", "segmenter"):
        yield row_of(case, how, shapes[how], machine if how == "segmenter" else 0.0)


# -- networks ---------------------------------------------------------------------------------------------------------


def recipe_of(root: Path, data: str, kind: str, names: list[str], tested: list[str], work: Path, seed: int) -> Any:
    """The shipped recipe, without stage 0, over images with masks of a kind and test images with those of the data."""
    folder = work / "sets" / f"{data}-{kind}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True)
    for name in [*names, *tested]:
        shutil.copyfile(root / DATA[data] / "images" / f"{name}.png", folder / "images" / f"{name}.png")
        from_people = work / "masks" / data / kind / f"{name}.png"
        source = root / DATA[data] / "masks" / f"{name}.png" if name in tested else from_people
        shutil.copyfile(source, folder / "masks" / f"{name}.png")
    lines = ["id,split", *(f"{name},train" for name in names), *(f"{name},test" for name in tested)]
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    whole = load(data, []).plain()
    whole["data"] |= {"root": str(folder), "group": "none", "columns": COLUMNS}
    changes = {"pretrain": "none", "cold_start": "random", "query": "random", "seed": seed, "track": {}}
    train = {"name": "supervised", "steps": STEPS}
    return parse(whole | changes | {"train": train, "loop": {"budgets": [len(names)]}, "name": folder.name})


COLUMNS = {"path": "images/{id}.png", "mask": "masks/{id}.png", "split": "split"}


def trained(recipe: Any, run: Path) -> Project:
    """One round of a recipe."""
    project = open_project(recipe, run_dir=run)
    ensure(project, Trackers())
    project.claim()
    loop.run(experiment(project), project.run, Trackers())
    return project


def by_model(project: Project, unseen: list[Case], folder: Path) -> Iterator[dict[str, Any]]:
    """What a network proposes for images that it has not seen: the part nearest to each structure."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for case in unseen:
        Image.fromarray(case.pixels).save(folder / "images" / f"{case.name}.png")
    begun = time.process_time()
    predict(project.run.path, folder / "images", out=folder / "out")
    machine = (time.process_time() - begun) / len(unseen)
    for case in unseen:
        mask = np.asarray(Image.open(next((folder / "out" / "masks").glob(f"{case.name}*")))) > 0
        numbers, count = ndimage.label(mask)
        shapes, used = list[BoolArray](), set[int]()
        for truth in case.structures:
            near = [k for k in np.unique(numbers[truth]).tolist() if k]
            overlaps = {k: iou(numbers == k, truth) for k in near}
            shapes.append(numbers == max(near, key=overlaps.__getitem__) if near else np.zeros_like(truth))
            used |= set(near)
        yield row_of(case, f"model+{count - len(used)}", shapes, machine) | {"dice": round(dice_of(mask, case), 4)}


def dice_of(mask: BoolArray, case: Case) -> float:
    """Dice of a whole mask."""
    return dice(mask, case.union(case.structures))


# -- effort -----------------------------------------------------------------------------------------------------------


def effort_of(row: Mapping[str, str], threshold: float | None, most: float = math.inf) -> tuple[float, float, float]:
    """Clicks, seconds, and the share of structures that are accepted, of an image; by hand without a threshold.

    By hand: the vertices of a polygon a structure. With proposals: a box of `BOX_CLICKS` clicks a structure (none where
    the model draws first), a click to accept or refuse what is proposed, a polygon for what is refused, a click for
    what the model proposes of nothing; and the machine's time. No outline takes more than `most` clicks.
    """
    outlines = np.minimum(np.asarray(row["clicks"].split(), dtype=float), most)
    if threshold is None:
        return outlines.sum(), SECONDS_A_CLICK * outlines.sum(), math.nan
    accepted = np.asarray(row["iou"].split(), dtype=float) >= threshold
    how, _, nothing = row["how"].partition("+")
    boxes = 0 if how == "model" else BOX_CLICKS * len(outlines)
    total = boxes + len(outlines) + outlines[~accepted].sum() + float(nothing or 0)
    return total, SECONDS_A_CLICK * total + float(row["machine"]), accepted.mean()


def read(name: str) -> list[dict[str, str]]:
    """The rows of a file of results."""
    file = OUT / name
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def write(name: str, columns: tuple[str, ...], row: Mapping[str, Any]) -> None:
    """Append a row."""
    OUT.mkdir(exist_ok=True)
    is_new = not (OUT / name).is_file()
    with (OUT / name).open("a", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def images_of(data: str, kind: str, order: IntArray) -> tuple[list[str], float]:
    """The images of a seed that a network is trained on, and the seconds that their masks take."""
    rows = {row["image"]: row for row in read("images.csv") if (row["data"], row["how"]) == (data, "segmenter")}
    pool = [list(rows)[k] for k in order]
    by_hand = {name: effort_of(row, None)[1] for name, row in rows.items()}
    checked = {name: effort_of(row, ACCEPTS)[1] for name, row in rows.items()}
    boxes = {name: SECONDS_A_CLICK * BOX_CLICKS * int(row["structures"]) for name, row in rows.items()}
    drawn = {name: boxes[name] + float(row["machine"]) for name, row in rows.items()}  # and nobody looks
    chosen = pool[:LEARNED]
    seconds = {"hand": by_hand, "otsu": boxes, "segmenter": drawn, "checked": checked}[kind]
    return chosen, sum(seconds[name] for name in chosen)


def main() -> None:
    """Make what is missing, then say the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("encoder", type=Path)
    parser.add_argument("decoder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    said = parser.parse_args()
    segmenter = Promptable(said.encoder, said.decoder)
    asked = {data: cases(said.data, data, "train", IMAGES) for data in DATA}
    for case in (case for both in zip(*asked.values(), strict=True) for case in both):
        has_masks = (said.work / "masks" / case.data / "checked" / f"{case.name}.png").is_file()
        done = {row["how"] for row in read("images.csv") if row["image"] == case.name}
        if not has_masks or "segmenter" not in done:
            for row in proposals(case, segmenter, said.work):
                if row["how"] not in done:
                    write("images.csv", ImageColumns, row)
    for seed in range(SEEDS):
        for data in DATA:
            learn(said.data, data, asked[data], seed, said.work)
    print(tables())


def learn(root: Path, data: str, asked: list[Case], seed: int, work: Path) -> None:
    """The networks of a seed; the first of those by hand also proposes for the images that it has not seen."""
    tested = [case.name for case in cases(root, data, "test", TESTED)]
    done = {row["kind"] for row in read("networks.csv") if (row["data"], row["seed"]) == (data, str(seed))}
    for kind in KINDS:
        if kind in done:
            continue
        names, seconds = images_of(data, kind, np.random.default_rng(seed).permutation(IMAGES))
        run = work / "runs" / f"{data}-{seed}-{KINDS.index(kind)}"
        shutil.rmtree(run, ignore_errors=True)
        project = trained(recipe_of(root, data, kind, names, tested, work, seed), run)
        if kind == "hand" and not seed:
            had = {row["image"] for row in read("images.csv") if row["how"].startswith("model")}
            unseen = [case for case in asked if case.name not in {*names, *had}]
            for row in by_model(project, unseen, work / "unseen") if unseen else ():
                write("images.csv", ImageColumns, row)
        (last,) = project.run.rounds()
        found = {"data": data, "kind": kind, "seed": seed, "images": len(names), "seconds": round(seconds, 1)}
        write("networks.csv", FitColumns, found | {"dice": round(last.metrics["test/dice"], 4)})
        shutil.rmtree(run)


# -- tables -----------------------------------------------------------------------------------------------------------


def tables() -> str:
    """What EFFORT.md shows."""
    lines = [
        "| data | how | accepted from IoU | accepted | clicks | seconds | seconds, rough outlines | Dice |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = read("images.csv")
    for data in DATA:
        own = [row for row in rows if row["data"] == data]
        hand = [row for row in own if row["how"] == "segmenter"]
        lines.append(f"| {data}, {len(hand)} images | by hand | | | {spent(hand, None)} | 1 |")
        for how in ("box", "otsu", "segmenter", "model"):
            of = [row for row in own if row["how"].partition("+")[0] == how]
            for threshold in THRESHOLDS if of else ():
                each = np.concatenate([np.asarray(row["iou"].split(), dtype=float) for row in of])
                near = np.nanmean([float(row["dice"]) for row in of])
                share = f"{threshold} | {(each >= threshold).mean():.0%}"
                lines.append(f"| {data}, {len(of)} | {how} | {share} | {spent(of, threshold)} | {near:.3f} |")
    lines += ["", "| data | masks | images | seconds | test Dice |", "|---|---|---|---|---|"]
    fits = read("networks.csv")
    for data in DATA:
        for kind in KINDS:
            own = [row for row in fits if (row["data"], row["kind"]) == (data, kind)]
            if own:
                scores = [float(row["dice"]) for row in own]
                seconds, images = (np.mean([float(row[key]) for row in own]) for key in ("seconds", "images"))
                each = ", ".join(f"{score:.3f}" for score in scores)
                lines.append(f"| {data} | {kind} | {images:.0f} | {seconds:.0f} | {np.mean(scores):.3f} ({each}) |")
    return "\n".join(lines)


def spent(rows: list[dict[str, str]], threshold: float | None) -> str:
    """Mean clicks and seconds of an image, and seconds where outlines have `MOST_CLICKS` at most."""
    exact = np.mean([effort_of(row, threshold)[:2] for row in rows], axis=0)
    rough = np.mean([effort_of(row, threshold, MOST_CLICKS)[1] for row in rows])
    return f"{exact[0]:.0f} | {exact[1]:.0f} | {rough:.0f}"


if __name__ == "__main__":
    main()
