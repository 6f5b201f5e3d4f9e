"""What stage 0 hands on: `encoder.safetensors` and memory-mapped embeddings, each saying what it was made from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from hybrid_al.core.embeddings import PLAIN, Embeddings
from hybrid_al.core.rundir import sha256_of, write_json
from hybrid_al.core.types import FloatArray, IntArray
from hybrid_al.data.loaders import blocks
from hybrid_al.data.stores.images import ImageStore
from hybrid_al.data.stores.rows import RowCache
from hybrid_al.learners.predict import embed
from hybrid_al.models.checkpoint import digest_of, save_weights
from hybrid_al.models.encoder import Encoder

BATCH = 512


def export(
    encoder: Encoder, store: ImageStore, manifest: str, folder: Path, device: torch.device, *, cache: Path
) -> Embeddings:
    """Write the encoder's weights, and the set `plain` by it, into a stage-0 folder."""
    digest = digest_of(encoder)
    save_weights(folder / "encoder.safetensors", encoder.state_dict(), {"digest": digest})
    return embed_all(encoder, digest, store, manifest, folder / "embeddings" / f"{PLAIN}.npy", device, cache=cache)


def embed_all(
    encoder: Encoder,
    digest: str,
    store: ImageStore,
    manifest: str,
    path: Path,
    device: torch.device,
    *,
    cache: Path,
) -> Embeddings:
    """Write the raw embeddings of every sample (N, D) as one memory-mapped set.

    Images that `cache` has embeddings of, by this encoder, are not embedded again; a damaged part of it is, and said.
    The JSON beside the embeddings is written last: its presence says that the set is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)

    def compute(rows: IntArray) -> FloatArray:
        return np.concatenate([embed(encoder, store.batch(block).to(device)) for block in blocks(rows, BATCH)])

    def memmap(shape: tuple[int, ...]) -> FloatArray:
        array: FloatArray = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        return array

    known = RowCache(cache / "embeddings" / digest[:32])
    known.fill(store.keys, compute, memmap)
    for shard in known.damaged:
        print(f"{shard}: damaged; its images were embedded again", file=sys.stderr)
    shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    made = {"manifest": manifest, "encoder": digest, "shape": list(shape), "sha256": sha256_of(path)}
    write_json(path.with_suffix(".json"), made)
    return Embeddings.load(path, manifest=manifest, encoder=digest)


def damaged(folder: Path) -> list[Path]:
    """Sets of embeddings in a folder that are not, byte for byte, what was written; older ones do not say."""
    found = []
    for note in sorted(folder.glob("*.json")):
        wanted, path = json.loads(note.read_text(encoding="utf-8")).get("sha256"), note.with_suffix(".npy")
        if wanted is not None and not (path.is_file() and sha256_of(path) == wanted):
            found.append(path)
    return found
