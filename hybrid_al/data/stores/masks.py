"""The label maps of some samples as one memory-mapped file, built once and kept by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from ...core.files import read_seal, replacement, seal
from ...core.types import IGNORE, IntArray, LabelMap
from ...errors import HybridALError, InputError, UnreadableImages
from ..masks import MASKS_VERSION, resize_mask
from ..pixels import image_box
from ..samples import reason
from ..workers import each, jobs_of


@dataclass(frozen=True)
class MaskStore:
    """Label maps in the size of the network, row k = sample `samples[k]`.

    samples  (K,) positions in the manifest, ascending
    maps     (K, size, size) uint8, memory-mapped read-only; `IGNORE` where unknown or padding
    pixels   (256,) how many pixels each class has in all maps together; at `IGNORE` those not known, without padding
    digest   of the masks and the size
    """

    samples: IntArray
    maps: npt.NDArray[np.uint8]
    pixels: IntArray
    digest: str

    @classmethod
    def build(
        cls,
        samples: IntArray,
        read: Callable[[int], LabelMap],
        keys: Sequence[str],
        names: Sequence[str],
        *,
        size: int,
        cache: Path,
        workers: int = 1,
    ) -> MaskStore:
        """The store of ascending samples (K,), from the folder `cache` or by reading every mask once.

        keys are the digests of the masks and names their files, with `#` and the slice where they have some, both (K,).
        Maps are streamed to disk one at a time, by as many threads as `workers`.
        A cached file that is cut short or damaged is built again. Raises UnreadableImages with all masks that cannot be
        read, and then leaves nothing in the cache.
        """
        if len(samples) and (np.diff(samples) <= 0).any():
            raise InputError("masks", "samples in ascending order", "another order")
        digest = hashlib.sha256("\x1f".join([MASKS_VERSION, str(size), *keys]).encode()).hexdigest()
        file = Path(cache) / f"masks-{digest[:32]}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):  # a second process waits for the first one's work
            facts = read_seal(file)
            pixels = _write(file, samples, read, names, size, workers) if facts is None else facts["pixels"]
        return cls(samples, np.load(file, mmap_mode="r", allow_pickle=False), np.asarray(pixels), digest)

    def __len__(self) -> int:
        """Number of label maps."""
        return len(self.samples)

    def batch(self, indices: IntArray) -> LabelMap:
        """Label maps (B, size, size) of samples, in their order; InputError for a sample without one."""
        rows = np.searchsorted(self.samples, indices).clip(0, max(len(self) - 1, 0))
        missing = indices != self.samples[rows] if len(self) else np.ones(len(indices), dtype=np.bool_)
        if missing.any():
            raise InputError("masks", f"one of the {len(self)} samples with a mask", f"sample {indices[missing][0]}")
        return np.asarray(self.maps[rows])

    def check_classes(self, classes: Sequence[str]) -> None:
        """InputError where a class has no pixel in any map: it could be neither learned nor measured."""
        for number, name in enumerate(classes):
            if not self.pixels[number]:
                raise InputError("data.classes", f"at least one pixel of class {number} ({name}) in the masks", "none")


def _write(
    file: Path, samples: IntArray, read: Callable[[int], LabelMap], names: Sequence[str], size: int, workers: int
) -> list[int]:
    """Stream all maps into their file; its hash, written last, shows that it is whole. Pixels of each class (256,)."""
    problems: dict[int, str] = {}
    lock = Lock()
    pixels = np.zeros(IGNORE + 1, dtype=np.int64)
    with replacement(file) as out:
        np.lib.format.write_array_header_1_0(
            out, {"descr": "|u1", "fortran_order": False, "shape": (len(samples), size, size)}
        )
        start = out.tell()

        def write(k: int) -> None:
            nonlocal pixels
            try:
                mask = read(int(samples[k]))
                label_map = resize_mask(mask, size)
            except HybridALError:
                raise
            except Exception as error:  # noqa: BLE001 (as in the store of images)
                problems[k] = reason(error)
                return
            box = image_box(mask.shape[0], mask.shape[1], size)
            with lock:
                pixels += np.bincount(label_map[box.rows, box.columns].ravel(), minlength=len(pixels))
                out.seek(start + k * label_map.nbytes)
                out.write(label_map.tobytes())

        each(jobs_of(names), write, workers)
        if problems:
            raise UnreadableImages([(names[k], problems[k]) for k in sorted(problems)])
    seal(file, pixels=pixels.tolist())
    return list(map(int, pixels))
