"""Two pairs of domains with classes, and the table of what the bench over them found (benchmarks/DOMAINS.md).

python benchmarks/domains.py make ../shared/data DIR    writes DIR/nuclei.csv and DIR/malaria.npz
python benchmarks/domains.py table benchmarks/domain_shift   prints the table from the bench's CSV files
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.ndimage import gaussian_filter

FEW, MANY = 20, 40  # nuclei in an image: fewer are few, as many or more are many
SIZES = {"train": {"a": 200, "b": 400}, "val": {"a": 20, "b": 20}, "test": {"a": 200, "b": 400}}


def nuclei(data: Path, out: Path) -> None:
    """The images of dsb2018 with their real stains as domains; class: how many nuclei each has."""
    rows = list(csv.DictReader((data / "dsb2018_nuclei" / "index.csv").open(encoding="utf-8", newline="")))
    with (out / "nuclei.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "stain", "label"))
        for row in rows:
            count = int(row["nuclei"])
            writer.writerow(
                (f"{row['id']}.png", row["kind"], "few" if count < FEW else "some" if count < MANY else "many")
            )


def malaria(data: Path, out: Path) -> None:
    """Cells of two periods (a: June to September 2015, b: later), those of b through a simulated other microscope.

    The periods alone are no shift (a classifier of one is as good on the other). The simulated one: blur of 1.2 px,
    gamma 0.5, contrast 0.6, a shade from left to right and noise of 0.03.
    """
    archive, rng = np.load(data / "malaria_cells_gray" / "malaria.npz", allow_pickle=False), np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        files = [str(name) for name in archive[f"{split}_files"]]
        months = np.asarray([int(re.search(r"IMG_2015(\d\d)", name)[1]) for name in files])  # type: ignore[index]
        domain = np.where(months >= 10, "b", "a")
        rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(domain == d))[: SIZES[split][d]] for d in "ab"]))
        pictures = archive[f"{split}_images"][rows]
        for i in np.flatnonzero(domain[rows] == "b"):
            pictures[i] = other_microscope(pictures[i], rng)
        arrays |= {f"{split}_images": pictures, f"{split}_domain": domain[rows]}
        arrays |= {f"{split}_{key}": archive[f"{split}_{key}"][rows] for key in ("labels", "files", "patient")}
    np.savez_compressed(out / "malaria.npz", **arrays)  # type: ignore[arg-type]


def other_microscope(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image (H, W) uint8 as another device would show it."""
    light = np.sqrt(gaussian_filter(picture / 255.0, 1.2)) * 0.6 + 0.1 + np.linspace(-0.1, 0.1, picture.shape[1])
    return (255 * np.clip(light + rng.normal(0, 0.03, picture.shape), 0, 1)).round().astype(np.uint8)


def table(folder: Path) -> None:
    """Mean of each arm's metric on the target at each number of labels, and its paired difference to plain random."""
    for file in sorted(folder.glob("*.csv")):
        values: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        for row in csv.DictReader(file.open(encoding="utf-8", newline="")):
            if row["metric"] == "target/test/auroc":
                values[f"{row['strategy']} / {row['objective']}"][int(row["seed"])][int(row["labels"])] = float(
                    row["value"]
                )
        print(f"\n{file.stem}")
        base = values["random / supervised"]
        for arm, seeds in values.items():
            longest = max(map(len, seeds.values()))
            played = sorted(s for s in seeds if len(seeds[s]) == longest and s in base)
            curve, random = (np.asarray([[of[s][n] for n in sorted(of[s])] for s in played]) for of in (seeds, base))
            gain = (curve - random).mean(axis=1)
            half = (
                stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
            )
            means = " | ".join(f"{value:.3f}" for value in curve.mean(axis=0))
            print(f"| {arm} | {len(played)} | {means} | {gain.mean():+.3f} +- {half:.3f} |")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        target = Path(sys.argv[3])
        target.mkdir(parents=True, exist_ok=True)
        nuclei(Path(sys.argv[2]), target)
        malaria(Path(sys.argv[2]), target)
    else:
        table(Path(sys.argv[2]))
