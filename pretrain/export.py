"""What stage 0 hands on: `encoder.safetensors` and memory-mapped embeddings, each saying what it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hybrid_al.data.loaders import blocks
from hybrid_al.data.store import ImageStore
from hybrid_al.embeddings import Embeddings
from hybrid_al.models.checkpoint import digest_of, save_weights
from hybrid_al.models.encoder import Encoder
from hybrid_al.predict import embed
from hybrid_al.rundir import write_json


def export(encoder: Encoder, store: ImageStore, manifest: str, folder: Path, device: torch.device) -> Embeddings:
    """Write the encoder's weights and the raw embeddings of every sample (N, D) into a stage-0 folder.

    The JSON beside the embeddings is written last: its presence says that the set is whole.
    """
    digest = digest_of(encoder)
    save_weights(folder / "encoder.safetensors", encoder.state_dict(), {"digest": digest})
    path = folder / "embeddings" / "plain.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    out = None
    for block in blocks(np.arange(len(store), dtype=np.int64), 512):
        vectors = embed(encoder, store.batch(block).to(device))
        if out is None:
            shape = (len(store), vectors.shape[1])
            out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        out[block] = vectors
    assert out is not None
    out.flush()
    write_json(path.with_suffix(".json"), {"manifest": manifest, "encoder": digest, "shape": list(out.shape)})
    return Embeddings.load(path, manifest=manifest, encoder=digest)
