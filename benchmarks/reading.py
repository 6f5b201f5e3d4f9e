"""Reading images against a bare loop over the same library, both by w threads, then from the decoded cache.

python benchmarks/reading.py [--files 40] [--side 512] [--workers 1 2]

Seconds of the processor, of all threads together, so that other programs count for little: the least of some turns of
each loop, in turns. Beside it the share by the clock. The library gives the numbers that it would show: of DICOM those
behind modality and window, of a volume the scaled ones.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from hybrid_al.data.sources.folder import Folder
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.workers import each, jobs_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.helpers import dicom

TURNS = 5


def grey(seed: int, side: int, top: int) -> np.ndarray:
    """A picture (side, side) with soft shapes and some noise, as scans have them, from 0 to `top`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = sum(np.sin(2 * np.pi * (a * x + b * y)) for a, b in rng.uniform(0, 4, (6, 2)))
    return np.clip(top * (0.5 + waves / 12 + rng.normal(0, 0.01, (side, side))), 0, top)


def write(folder: Path, kind: str, files: int, side: int) -> list[Path]:
    """Files of a kind."""
    paths = [folder / f"{i:03d}{kind}" for i in range(files)]
    for i, path in enumerate(paths):
        if kind in (".png", ".jpg"):
            Image.fromarray(np.repeat(grey(i, side, 255)[:, :, None], 3, axis=2).astype(np.uint8)).save(path)
        elif kind == ".tif":
            tifffile.imwrite(path, grey(i, side, 65535).astype(np.uint16), compression="zlib")
        elif kind == ".dcm":
            tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 500, "WindowWidth": 2000}
            dicom.write(path, grey(i, side, 4095).astype(np.int16), **tags)
        else:
            voxels = np.stack([grey(100 * i + z, side // 4, 4095) for z in range(16)], axis=2).astype(np.int16)
            nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(path)
    return paths


def bare(path: Path) -> Any:
    """The numbers of a file by its library alone."""
    if path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            return np.asarray(image)
    if path.suffix == ".tif":
        return tifffile.imread(path)
    if path.suffix == ".dcm":
        data = pydicom.dcmread(path)
        return apply_voi_lut(apply_modality_lut(data.pixel_array, data), data)
    return np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]


def by_library(paths: list[Path], workers: int) -> None:
    """The bare loop, which keeps nothing."""

    def loop(part: list[Path]) -> None:
        for path in part:
            bare(path)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(loop, [paths[k::workers] for k in range(workers)]))


def seconds(*loops: Callable[[], object]) -> list[tuple[float, float]]:
    """The least time of each loop, of the processor and by the clock."""
    times = [[(0.0, 0.0)] * TURNS for _ in loops]
    for turn in range(TURNS):
        for k, loop in enumerate(loops):
            begin, clock = time.process_time(), time.perf_counter()
            loop()
            times[k][turn] = time.process_time() - begin, time.perf_counter() - clock
    return [(min(cpu for cpu, _ in row), min(clock for _, clock in row)) for row in times]


def main() -> None:
    """A row of the table for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    import torch  # noqa: F401  (a second of its own, which is no reading)

    columns = ("file", "workers", "library", "reader", "share", "share by the clock", "into the cache", "from it")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for kind in (".png", ".jpg", ".tif", ".dcm", ".nii.gz"):
        for workers in options.workers:
            with tempfile.TemporaryDirectory() as temporary:
                (root := Path(temporary) / "data").mkdir()
                row = measured(root, write(root, kind, options.files, options.side), workers)
            print(f"| {kind} | {workers} | {' | '.join(f'{value:.2f}' for value in row)} |", flush=True)


def measured(root: Path, paths: list[Path], workers: int) -> list[float]:
    """Milliseconds and shares of one row."""
    dataset = replace(Folder(root, group="none", labels="none").load(), workers=workers)
    (plain, plain_clock), (read, read_clock) = seconds(
        lambda: by_library(paths, workers),
        lambda: each(jobs_of(dataset.manifest.paths), lambda i: dataset.read(i) is None, workers),
    )
    cache, count, begin = root.parent / "cache", len(dataset.manifest), time.process_time()
    ImageStore.build(dataset, image_size=224, channels=None, cache=cache)
    first, begin = time.process_time() - begin, time.process_time()
    store = ImageStore.build(dataset, image_size=224, channels=None, cache=cache)
    for i in range(0, count, 16):
        store.batch(np.arange(i, min(i + 16, count)))
    second, files = time.process_time() - begin, len(paths)
    shares = [plain / read, plain_clock / read_clock]
    return [1000 * plain / files, 1000 * read / files, *shares, 1000 * first / count, 1000 * second / count]


if __name__ == "__main__":
    main()
