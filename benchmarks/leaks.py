"""Near-identical images on real sets: how many variants are found, how many others are taken for them, and the time.

    OMP_NUM_THREADS=1 python benchmarks/leaks.py ../shared/data [--images 600] [--pairing 10000 1000000]

Each image is joined by variants of itself; right is a pair of an image and its own variant. "Others" counts the pairs
among the originals alone. Sides of 128 pixels, or those of the array. `--pairing`: time to pair random hashes, of which
1,000 have a near one.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from hybrid_al.data.alike import close_pairs, near_identical

FOLDERS = {
    "chest X-rays": "cxr_lung_masks/images",
    "dermoscopy": "isic2017_melanoma/train",
    "nuclei": "dsb2018_nuclei/images",
}
ARRAYS = {
    "pneumonia": ("pneumoniamnist/pneumoniamnist.npz", "train_images"),
    "malaria": ("malaria_cells_gray/malaria.npz", ""),
}


def variants(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """The image and its variants, made at its own size."""
    width, height = image.size
    values = np.asarray(image).astype(float)
    yield "original", image
    for quality in (60, 30):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        yield f"JPEG {quality}", Image.open(out)
    yield "half size", image.resize((width // 2, height // 2))
    yield "brighter", Image.fromarray(np.clip(values * 1.15 + 15, 0, 255).astype(np.uint8))
    yield "darker", Image.fromarray(np.clip(values * 0.85 - 10, 0, 255).astype(np.uint8))
    yield "shift 1 px", Image.fromarray(np.roll(values, 1, axis=1).astype(np.uint8))
    yield "crop 2 %", image.crop((width // 50, height // 50, width - width // 50, height - height // 50))


def sets(root: Path, count: int) -> Iterator[tuple[str, int, Iterator[Image.Image], int]]:
    """Name, side, images and their number."""
    for name, folder in FOLDERS.items():
        files = sorted((root / folder).glob("*.*"))[:count]
        yield name, 128, (Image.open(file).convert("L") for file in files), len(files)
    for name, (file, key) in ARRAYS.items():
        with np.load(root / file, allow_pickle=False) as arrays:
            images = arrays[key or next(k for k in arrays if arrays[k].ndim >= 3)]
        images = images.reshape(images.shape[:3])[: 4 * count]
        yield name, images.shape[1], map(Image.fromarray, images), len(images)


def pairs_of(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Near-identical pairs where each image is a group."""
    return near_identical(lambda rows: images[rows], np.arange(len(images)))


def measure(root: Path, count: int) -> None:
    """A line a set: pairs among the originals, then the share found of each variant and the wrong pairs beside."""
    for name, side, images, n in sets(root, count):
        made: dict[str, npt.NDArray[np.uint8]] = {}
        for i, image in enumerate(images):
            for kind, variant in variants(image):
                stack = made.setdefault(kind, np.zeros((n, side, side), dtype=np.uint8))
                stack[i] = np.asarray(variant.resize((side, side), Image.Resampling.BILINEAR))
        originals = made.pop("original")
        others = {(i, j) for i, j in pairs_of(originals).tolist()}
        cells = []
        for kind, stack in made.items():
            pairs = pairs_of(np.concatenate([originals, stack])) % n
            right = pairs[:, 0] == pairs[:, 1]
            wrong = {(min(p), max(p)) for p in pairs[~right].tolist()} - others
            cells.append(f"{kind} {right.sum() / n:.3f}" + f" ({len(wrong)} wrong)" * bool(wrong))
        print(
            f"{name}, {n} of {side} x {side}; others {len(others)} {sorted(others)[:3]}; {', '.join(cells)}", flush=True
        )


def pairing(sizes: list[int]) -> None:
    """Seconds to pair random hashes, and to hash and pair images where they are few."""
    rng = np.random.default_rng(0)
    for n in sizes:
        codes = rng.integers(0, 1 << 63, n, dtype=np.uint64)
        codes[n // 2 : n // 2 + 1000] = codes[:1000] ^ (np.uint64(1) << rng.integers(0, 63, 1000, dtype=np.uint64))
        begin = time.perf_counter()
        found = len(close_pairs(codes, np.arange(n)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{n} hashes: {found} pairs in {time.perf_counter() - begin:.1f} s, peak {peak:.0f} MiB")
    images = rng.integers(0, 256, (10_000, 128, 128), dtype=np.uint8)
    begin = time.perf_counter()
    pairs_of(images)
    print(f"10000 images of 128 x 128, hashed and paired: {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--pairing", type=int, nargs="*", default=[10_000, 1_000_000])
    options = parser.parse_args()
    pairing(options.pairing)
    measure(options.root, options.images)
