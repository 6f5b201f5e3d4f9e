"""Results of stage 0: `encoder.safetensors` and memory-mapped embeddings, each with a note of its origin."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hybrid_al.core.embeddings import PLAIN, Embeddings
from hybrid_al.core.files import memory_mapped, read_seal, write_json
from hybrid_al.core.seals import sha256_of
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
    """Write the encoder's weights and its embeddings, the set `plain`, into a stage-0 folder."""
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

    Images whose embeddings by this encoder are in `cache` are not embedded again, except from damaged shards, with a
    line to stderr. The JSON beside the embeddings is written last: its presence means that the set is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)

    def compute(rows: IntArray) -> FloatArray:
        return np.concatenate([embed(encoder, store.batch(block).to(device)) for block in blocks(rows, BATCH)])

    row_cache = RowCache(cache / "embeddings" / digest[:32])
    row_cache.fill(store.keys, compute, partial(memory_mapped, path, np.float32))
    for shard in row_cache.damaged:
        print(f"{shard}: damaged; its images were embedded again", file=sys.stderr)
    shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    note = {"manifest": manifest, "encoder": digest, "images": store.digest, "shape": list(shape)}
    note["sha256"] = sha256_of(path)
    write_json(path.with_suffix(".json"), note)
    return Embeddings.load(path, manifest=manifest, encoder=digest)


def damaged(folder: Path) -> list[Path]:
    """Sets of embeddings in a folder whose bytes have changed; older sets, without a hash, are left out."""
    paths = []
    for note in sorted(folder.glob("*.json")):
        path = note.with_suffix(".npy")
        try:
            sealed = "sha256" in json.loads(note.read_text(encoding="utf-8"))
        except (ValueError, TypeError):
            sealed = True
        if sealed and read_seal(path) is None:
            paths.append(path)
    return paths
