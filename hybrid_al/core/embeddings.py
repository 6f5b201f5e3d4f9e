"""Embeddings of the samples, memory-mapped, with a JSON beside them that names their encoder and manifest."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from .seals import read_json, whole
from .types import FloatArray, IntArray

BLOCK = 4096  # rows at a time
LONGEST = 1e37  # squared length of a vector: squared distances, up to four times that, must fit float32
LARGE = 2**28  # bytes; after a copy of this size the pages of the file leave memory
Metric = Literal["l2", "cosine"]
PLAIN = "plain"
"""Name of the set that the encoder of stage 0 gives."""
USED = "used"
"""Name of the set that strategies read, where it is not `plain`: `stage0/embeddings/used.npy`."""


@dataclass(frozen=True)
class Embeddings:
    """Raw vectors (N, D) float32, one row per manifest row, with the digests of the encoder and the manifest.

    parts  how many parts of an image each row stands for, where a query asks about regions (`regions.base`)
    """

    vectors: FloatArray
    encoder: str
    manifest: str
    parts: int = 1

    def __post_init__(self) -> None:
        """Refuse anything but a matrix."""
        if self.vectors.ndim != 2:
            raise InputError("embeddings", "shape (N, D)", str(self.vectors.shape))

    def take(self, indices: IntArray, metric: Metric = "l2") -> FloatArray:
        """A copy of rows in float32 (K, D); scaled to unit length for the cosine metric (zero rows stay zero).

        Memory: the copy and a block of rows. After a large copy the pages of the mapped file leave memory.
        """
        rows: FloatArray = np.asarray(self.vectors[indices // self.parts], dtype=np.float32)
        if rows.nbytes >= LARGE:
            _release(self.vectors)
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            with np.errstate(over="ignore"):
                bad = np.flatnonzero(~(np.einsum("kd,kd->k", part, part) < LONGEST))  # False for nan too
            if bad.size:
                came = "nan or inf" if not np.isfinite(part[bad[0]]).all() else f"up to {abs(part[bad[0]]).max():.2g}"
                expected = "finite numbers" if came == "nan or inf" else "numbers whose squares float32 holds"
                raise InputError(f"embedding of sample {indices[start + bad[0]]}", expected, came)
            if metric == "cosine":
                part[:] = unit_rows(part)
        return rows

    @staticmethod
    def load(path: Path, *, manifest: str, encoder: str | None = None, images: str | None = None) -> Embeddings:
        """Memory-map `path` (.npy); error where the JSON beside it names another manifest, encoder or image store.

        A set made from other sets names them and their encoders, which must be those of the sets beside it.
        """
        note = _note(path)
        for name, source_encoder in note.get("sets", {}).items():
            current = _note(path.with_name(f"{name}.npy"))["encoder"]
            if current != source_encoder:
                raise InputError(path, f"made from {name} by encoder {current[:12]}", f"by {source_encoder[:12]}")
        if note["manifest"] != manifest:
            raise InputError(path, f"embeddings of manifest {manifest[:12]}", f"of {note['manifest'][:12]}")
        if encoder is not None and note["encoder"] != encoder:
            raise InputError(path, f"embeddings by encoder {encoder[:12]}", f"by {note['encoder'][:12]}")
        if images is not None and note.get("images", images) != images:
            expected = "embeddings of the images as they are decoded today: go on with the version of the reader that"
            raise InputError(path, f"{expected} the run began with, or begin another run", "those of another decoding")
        with whole(path):
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        if list(vectors.shape) != note["shape"]:
            raise InputError(path, f"shape {tuple(note['shape'])}", str(vectors.shape))
        return Embeddings(vectors, note["encoder"], note["manifest"])


def unit_rows(rows_KD: FloatArray) -> FloatArray:
    """Rows at unit length; those whose length is 0 in their precision are 0."""
    norm = np.linalg.norm(rows_KD, axis=-1, keepdims=True)
    unit: FloatArray = np.divide(rows_KD, norm, out=np.zeros_like(rows_KD), where=norm > 0)
    return unit


def _release(vectors: FloatArray) -> None:
    """Drop the pages of a read-only mapped file from the process's memory; the next access reads them again."""
    owner = vectors
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    pages, has_advice = owner.base, hasattr(mmap, "MADV_DONTNEED")  # not on every system
    if has_advice and isinstance(owner, np.memmap) and owner.mode == "r" and isinstance(pages, mmap.mmap):
        pages.madvise(mmap.MADV_DONTNEED)


def _note(path: Path) -> dict[str, Any]:
    if not path.with_suffix(".json").is_file():
        raise InputError(path, "embeddings with a JSON beside them", "none; stage 0 makes them")
    return read_json(path.with_suffix(".json"))
