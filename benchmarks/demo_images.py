"""The images of the demo: a fixed, stratified part of PneumoniaMNIST, which the package brings along.

python benchmarks/demo_images.py ../shared/data/pneumoniamnist/pneumoniamnist.npz hybrid_al/data/demo/pneumonia.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hybrid_al.core.rng import derive

COUNTS = {"train": 550, "val": 100, "test": 300}
Images = npt.NDArray[np.uint8]


def demo_images(source: Path) -> dict[str, Images]:
    """The arrays of the file: `<split>_images` (N, 28, 28) and `<split>_labels` (N,), 0 normal and 1 pneumonia.

    Each image is one of the split it has in `source`, and an image that is there twice (as some are, in one split or
    in two) is taken once at most. The classes have the shares that they have in the split.
    """
    arrays: dict[str, Images] = {}
    known: set[bytes] = set()
    with np.load(source, allow_pickle=False) as archive:
        for split, count in COUNTS.items():
            images, labels = archive[f"{split}_images"], archive[f"{split}_labels"].reshape(-1)
            order = derive(0, f"demo {split}").permutation(len(images))
            numbers = _shares(np.bincount(labels), count)
            rows = []
            for row in order.tolist():
                if numbers[labels[row]] and (pixels := images[row].tobytes()) not in known:
                    known.add(pixels)
                    numbers[labels[row]] -= 1
                    rows.append(row)
            arrays |= {f"{split}_images": images[rows], f"{split}_labels": labels[rows].astype(np.uint8)}
    return arrays


def _shares(counts: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.int64]:
    """How many of each class, `total` in all, in the shares of `counts`; largest remainders are rounded up."""
    exact = total * counts / counts.sum()
    numbers: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    numbers[np.argsort(numbers - exact, kind="stable")[: total - numbers.sum()]] += 1
    return numbers


if __name__ == "__main__":
    np.savez_compressed(sys.argv[2], **demo_images(Path(sys.argv[1])))  # type: ignore[arg-type]
