"""Images for benchmarks/FIRST_HOUR.md: coloured discs on noise, 256 x 256 pixels.

python benchmarks/first_hour.py FOLDER COUNT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 256


def main(folder: Path, count: int) -> None:
    """Write the images."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for i in range(count):
        image = np.zeros((SIDE, SIDE, 3)) + rng.integers(40, 200, 3)
        for _ in range(rng.integers(3, 30)):
            (top, left), radius = rng.integers(0, SIDE, 2), rng.integers(4, 40)
            image[(y - top) ** 2 + (x - left) ** 2 < radius * radius] = rng.integers(0, 255, 3)
        noisy = image + rng.normal(0, 12, image.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"scan_{i:04d}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
