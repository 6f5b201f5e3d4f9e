"""No step holds the pool: its pixels lie on disk, and what a step takes of them is a batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# what a process holds itself, which pages of memory-mapped files are not, is polled while stage 0 and the frozen
# learner's cache of views go over a pool
SCRIPT = """
import sys, threading, time
from pathlib import Path
import numpy as np, torch
from torch import nn
from hybrid_al.data.base import Dataset
from hybrid_al.data.loaders import blocks
from hybrid_al.data.store import ImageStore
from hybrid_al.data.views import VIEWS
from hybrid_al.frozen_learner import cached_views
from hybrid_al.manifest import Manifest
from hybrid_al.models.checkpoint import seeded
from hybrid_al.models.encoder import Encoder
from hybrid_al.network_learner import Foundation
from hybrid_al.predict import embed
from pretrain.combine import SideBySide
from pretrain.export import export
from pretrain.probe import probe
from pretrain.quality import quality

folder, n = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)

def held():
    line = next(l for l in open("/proc/self/status") if l.startswith("RssAnon"))
    return int(line.split()[1]) / 1024

peak, over = 0.0, False
def watch():
    global peak
    while not over:
        peak = max(peak, held())
        time.sleep(0.002)

def read(i):
    return np.full((64, 64, 3), i % 251, dtype=np.uint8)

names = tuple(map(str, range(n)))
dataset = Dataset(Manifest(names, names, names, ("pool",) * n, names), ("a", "b"), np.arange(n) % 2, read, 3)
device, weak = torch.device("cpu"), VIEWS["microscopy"].weak
encoder = Encoder(nn.Sequential(nn.AvgPool2d(16), nn.Flatten()), 3)
embed(encoder, weak(torch.rand(64, 3, 64, 64), seeded(0)))  # what torch keeps from the first use on
before = held()
watcher = threading.Thread(target=watch)
watcher.start()
store = ImageStore.build(dataset, image_size=64, channels=None, cache=folder / "cache")
found = export(encoder, store, "m", folder / "stage0", device, cache=folder / "cache")
pool = np.arange(n)
views = cached_views(Foundation(encoder, found, store, VIEWS["microscopy"], 2, pool, device, folder / "cache"), weak, 1)
joined = SideBySide({"a": found.vectors, "b": found.vectors}, pool)
joined.write(folder / "used.npy", joined.whitening(8))
rows = pool[:1024]
twice = [np.concatenate([embed(encoder, weak(store.batch(b), seeded(0))) for b in blocks(rows, 512)]) for _ in "ab"]
quality(found.take(rows), *twice)
probe(found, 2, (pool, dataset.truth), {"val": (rows, dataset.truth[rows])})
over = True
watcher.join()
print(len(views[0]), store.images.nbytes / 2**20, peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_pool_is_never_held(tmp_path: Path) -> None:
    held = {}
    # freed memory goes back at once: what malloc keeps for later differs from run to run
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    for n in (8_000, 20_000):  # both more than any block
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / str(n)), str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
        rows, pixels, held[n] = map(float, done.stdout.split())
        assert rows == n
    assert held[20_000] < 200 < pixels
    assert held[20_000] < held[8_000] + 40  # MiB; the other 12,000 are 141 as bytes and 562 as numbers
