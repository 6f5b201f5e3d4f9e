"""The decoded, resized images of a whole manifest as one memory-mapped file, built once and kept by content."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image

from ...core.files import read_seal, replacement, seal
from ...core.manifest import SPLITS, Manifest
from ...core.types import IntArray
from ...errors import HybridALError, InputError, UnreadableImages, reason
from .. import alike
from ..base import Dataset
from ..pixels import BULK, PIXELS_VERSION, Levels, few_levels, resize, to_channels, to_uint8
from ..workers import each, jobs_of

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


@dataclass(frozen=True)
class ImageStore:
    """Images of a manifest, row i = sample i.

    images  (N, size, size, C) uint8, memory-mapped read-only; float pixels were rounded to 256 levels
    stack   slices of a volume in the channels, the sample in the middle; 1: the channels are grey or colours
    digest  of the origin of the images: manifest, size, channels, reader
    keys    digest for each image alone (N,): its content, size, channels, reader
    notes   remarks about the grey levels that float pixels use
    folder  where its files are in the cache; None where it has none
    """

    images: npt.NDArray[np.uint8]
    digest: str
    keys: tuple[str, ...]
    stack: int = 1
    notes: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def build(
        cls, dataset: Dataset, *, image_size: int, channels: int | None, cache: Path, progress: Progress | None = None
    ) -> ImageStore:
        """Open the store of a dataset in the folder `cache`, after decoding all images where it is not there yet.

        `channels` is 1, 3 or None for those of the dataset, which a stack keeps. The images are streamed to disk one at
        a time, by `dataset.workers` threads, whose number changes nothing of the store. A cached file is checked
        against its hash; one that is cut short or damaged is built again.
        Raises UnreadableImages with all images that cannot be read, and InputError where 256 grey levels keep next to
        nothing of deeper ones; both leave nothing in the cache.
        """
        if image_size < 1:
            raise InputError("data.image_size", "at least 1 pixel", str(image_size))
        channels = dataset.channels if channels is None else channels
        if dataset.stack > 1 and channels != dataset.stack:
            raise InputError(
                "data.channels", f"null: the channels are the {dataset.stack} of data.stack", str(channels)
            )
        if dataset.stack == 1 and channels not in (1, 3):
            raise InputError("data.channels", "1 or 3", str(channels))
        shape = (len(dataset.manifest), image_size, image_size, channels)
        how = [*map(str, shape[1:]), PIXELS_VERSION, dataset.reader]
        digest = _digest(dataset.manifest.fingerprint, *how)
        folder = Path(cache) / digest[:32]
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):  # a second process waits for the first one's work
            facts = read_seal(folder / "images.npy")
            if facts is None and (folder / "images.npy").exists():
                print(f"{folder}: cut short or damaged; its images are decoded again", file=sys.stderr)
            note = _write(folder, dataset, shape, progress) if facts is None or "note" not in facts else facts["note"]
        keys = tuple(_digest(content, *how) for content in dataset.manifest.digests)
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        return cls(images, digest, keys, dataset.stack, (note,) if note else (), folder)

    def __len__(self) -> int:
        """Number of images."""
        return int(self.images.shape[0])

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return int(self.images.shape[1])

    @property
    def channels(self) -> int:
        """Channels: 1, 3, or the slices of a stack."""
        return int(self.images.shape[3])

    def batch(self, indices: IntArray) -> torch.Tensor:
        """Images (B, C, H, W) as float32 in [0, 1], in the order of `indices`."""
        import torch

        images = np.ascontiguousarray(np.asarray(self.images[indices]).transpose(0, 3, 1, 2))
        return torch.from_numpy(images).to(torch.float32).div_(255.0)

    def leaks(self, manifest: Manifest) -> list[tuple[str, str]]:
        """Pairs of ids in different splits whose stored pixels are the same, but not their files, as after compression.

        Images of one grey alone, as the first and last slices of volumes are, count for nothing.
        """
        first: dict[int, int] = {}
        pairs = []
        for split in SPLITS:
            for i in np.flatnonzero(np.asarray(manifest.splits) == split).tolist():
                image = np.asarray(self.images[i])
                if image.min() == image.max():
                    continue
                sample = first.setdefault(hash(image.tobytes()), i)
                if manifest.splits[sample] != split and manifest.digests[sample] != manifest.digests[i]:
                    pairs.append((manifest.ids[sample], manifest.ids[i]))
        return pairs

    def near_identical(self, manifest: Manifest) -> IntArray:
        """Pairs of rows (M, 2) of two groups and two files whose images are near-identical, see `data.alike`.

        Looked for once: the pairs are kept beside the images. Pairs of the same content are not among them, nor are the
        same pixels in two splits, which `leaks` names.
        """
        file = None if self.folder is None else self.folder / "alike.npy"
        if file is None or (read_seal(file) or {}).get("version") != alike.VERSION:
            paths = np.unique(np.asarray(manifest.paths), return_inverse=True)[1]
            pairs = alike.near_identical(self._grey, manifest.group_codes)
            pairs = pairs[paths[pairs[:, 0]] != paths[pairs[:, 1]]]
            pairs = pairs[[self._are_two(manifest, i, j) for i, j in pairs.tolist()]] if len(pairs) else pairs
            if file is None:
                return np.asarray(pairs, dtype=np.int64)
            with replacement(file) as out:
                np.save(out, pairs, allow_pickle=False)
            seal(file, version=alike.VERSION)
        return np.asarray(np.load(file, allow_pickle=False), dtype=np.int64)

    def _are_two(self, manifest: Manifest, i: int, j: int) -> bool:
        if manifest.digests[i] == manifest.digests[j]:
            return False
        return manifest.splits[i] == manifest.splits[j] or not np.array_equal(self.images[i], self.images[j])

    def _grey(self, rows: IntArray) -> npt.NDArray[np.uint8]:
        """Grey images (B, H, W): the mean of colours, of a stack the slice in the middle."""
        images = np.asarray(self.images[rows])
        if self.stack > 1:
            return images[..., self.stack // 2]
        return (
            images[..., 0] if self.channels == 1 else np.asarray(images.mean(axis=-1, dtype=np.float32), dtype=np.uint8)
        )

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        """One image for display (size, size, 1 or 3): of a stack the slice in the middle."""
        middle = self.stack // 2
        return np.asarray(self.images[index, :, :, middle : middle + 1] if self.stack > 1 else self.images[index])

    def thumbnail(self, index: int, side: int = 64) -> bytes:
        """One image as JPEG, at most `side` pixels wide and high."""
        pixels = self.picture(index)
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        image.thumbnail((side, side))
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=80)
        return out.getvalue()


def _digest(*origin: str) -> str:
    return hashlib.sha256("\x1f".join(origin).encode()).hexdigest()


def _write(folder: Path, dataset: Dataset, shape: tuple[int, int, int, int], progress: Progress | None) -> str:
    """Stream all images into their file; its hash, written last, shows that it is whole. A remark on grey levels."""
    n, size, _, channels = shape
    pool, levels = frozenset(dataset.manifest.indices("pool").tolist()), Levels()
    problems: dict[int, str] = {}
    lock, done = Lock(), count(1)
    with replacement(folder / "images.npy") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        start = out.tell()

        def write(i: int) -> None:
            try:
                image = dataset.read(i)
                if i in pool:
                    levels.add(image)
                pixels = to_uint8(resize(image if dataset.stack > 1 else to_channels(image, channels), size))
            except HybridALError:
                raise
            except Exception as error:  # noqa: BLE001 (libraries raise whatever they like, see `errors.reading`)
                problems[i] = reason(error)
            with lock:
                if i not in problems:
                    out.seek(start + i * pixels.nbytes)
                    out.write(pixels.tobytes())
                if progress is not None:
                    progress(next(done), n)

        each(jobs_of(dataset.plain.paths), write, dataset.workers)
        if problems:
            raise UnreadableImages([(dataset.plain.paths[i], problems[i]) for i in sorted(problems)])
        refusal, note = few_levels(levels.used(), levels.used(BULK), dataset.span)
        if refusal:
            raise InputError("data.window", "the range of the values of the images", refusal)
    seal(folder / "images.npy", note=note)
    return note
